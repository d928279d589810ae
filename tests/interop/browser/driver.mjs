// Drives headless Chromium for the tests: commands come as lines of JSON on standard input, answers
// and events leave as lines of JSON on standard output. Serves the tests' page on loopback.
import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const port = Number(process.argv[2]);
const executablePath = process.argv[3] ?? "/usr/bin/chromium";
const tabs = new Map();

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

const script = await readFile(new URL("dist/page.js", import.meta.url));
createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.writeHead(200, { "content-type": isScript ? "text/javascript" : "text/html; charset=utf-8" });
  response.end(isScript ? script : '<!doctype html><title>tab</title><pre id="log"></pre><script src="/page.js"></script>');
}).listen(port, "127.0.0.1");

const browser = await chromium.launch({
  executablePath,
  args: [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    // Background tabs must keep their timers and their sound.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
  ],
});

const commands = {
  async open({ tab, url, ...options }) {
    const context = await browser.newContext({ viewport: { width: 480, height: 640 } });
    const page = await context.newPage();
    tabs.set(tab, page);
    page.on("console", (message) => say({ tab, event: "console", text: message.text() }));
    page.on("pageerror", (error) => say({ tab, event: "pageError", text: String(error) }));
    await page.exposeFunction("report", (event) => {
      say({ tab, ...event });
      return page
        .evaluate((line) => document.getElementById("log")?.append(`${line}\n`), JSON.stringify(event))
        .catch(() => {});
    });
    await page.goto(url ?? `http://127.0.0.1:${port}/`);
    if (options.client) await page.evaluate((start) => window.tab.start(start), options);
  },
  async close({ tab }) {
    const page = tabs.get(tab);
    tabs.delete(tab);
    await page.context().close();
  },
  async closeAll() {
    for (const [tab, page] of tabs) {
      tabs.delete(tab);
      await page.context().close();
    }
  },
  async screenshot({ tab, path }) {
    await tabs.get(tab).screenshot({ path, timeout: 5000 });
  },
};

say({ event: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: name, ...rest } = JSON.parse(line);
  const run = commands[name]
    ? commands[name](rest)
    : tabs.get(rest.tab)?.evaluate(async ([verb, given]) => {
        const result = await window.tab[verb](given);
        // The clients' own objects stay in the page.
        return ["hear", "stats", "descriptions", "trace", "ticket"].includes(verb) ? result : null;
      }, [name, rest]);
  Promise.resolve(run ?? Promise.reject(new Error(`no tab ${rest.tab}`))).then(
    (result) => say({ id, result: result ?? null }),
    (error) => say({ id, error: String(error.message ?? error) }),
  );
}
await browser.close();
process.exit(0);

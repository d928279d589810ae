// Two browsers on the page of a box in a lab network, which log in by name and password and call:
// node box.mjs FOLDER_FOR_SCREENSHOTS ADDRESS
// Prints "ok" or "FAILED" for each step; exits with 1 if one failed. The box may be emulated, so it is
// given much time.
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { chromium } from "playwright-core";

const [folder, address] = process.argv.slice(2);
if (!folder || !address) {
  console.error("usage: node box.mjs FOLDER_FOR_SCREENSHOTS ADDRESS");
  process.exit(2);
}

const PATIENCE = 90_000;
const ALICE_HZ = 620;
const LAB_TONE_HZ = 440;

await mkdir(folder, { recursive: true });
const browser = await chromium.launch({
  executablePath: process.env.GATEHOUSE_CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
let failures = 0;
let page;

try {
  await step("the box serves its page", async () => {
    const context = await browser.newContext({ viewport: { width: 460, height: 900 }, ignoreHTTPSErrors: true });
    page = await context.newPage();
    page.on("pageerror", (error) => console.log(`  ${error}`));
    await page.addInitScript((hertz) => {
      // The microphone sings one tone, so that it is known again when it comes back.
      navigator.mediaDevices.getUserMedia = async () => {
        const audio = new AudioContext();
        const oscillator = audio.createOscillator();
        const gain = audio.createGain();
        const out = audio.createMediaStreamDestination();
        oscillator.frequency.value = hertz;
        gain.gain.value = 0.5;
        oscillator.connect(gain).connect(out);
        oscillator.start();
        return out.stream;
      };
    }, ALICE_HZ);
    await page.goto(address, { timeout: PATIENCE });
  });
  await step("a browser registers through the box", async () => {
    await page.fill("#user", "alice");
    await page.fill("#password", "alice-secret");
    await page.click("#sign-in");
    await page.locator("#state[data-state=ready]").waitFor({ timeout: PATIENCE });
  });
  await step(`it calls, and hears the core's tone at ${LAB_TONE_HZ} Hz`, async () => {
    await call("601");
    await hears(LAB_TONE_HZ);
    await page.screenshot({ path: path.join(folder, "call.png") });
    await hangUp();
  });
  await step(`it calls the echo, and hears itself at ${ALICE_HZ} Hz`, async () => {
    await call("600");
    await hears(ALICE_HZ);
    await hangUp();
  });
} finally {
  await browser.close();
}
process.exit(failures === 0 ? 0 : 1);

async function call(number) {
  await page.fill("#target", number);
  await page.click("#call");
  await page.locator("#call-state", { hasText: "Connected" }).waitFor({ timeout: PATIENCE });
}

async function hangUp() {
  await page.click("#hang-up");
  await page.locator("#phone").waitFor({ timeout: PATIENCE });
}

async function hears(hertz) {
  const deadline = Date.now() + PATIENCE;
  let heard = 0;
  for (let inARow = 0; inARow < 3; ) {
    heard = await page.evaluate(() => globalThis.gatehouse.farTone());
    inARow = Math.abs(heard - hertz) < 15 ? inARow + 1 : 0;
    if (Date.now() > deadline) throw new Error(`expected ${hertz} Hz, heard ${heard.toFixed(0)} Hz`);
    await page.waitForTimeout(150);
  }
}

async function step(name, run) {
  const start = Date.now();
  try {
    await run();
    console.log(`ok     ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED ${name}: ${error.message.split("\n")[0]}`);
    await page?.screenshot({ path: path.join(folder, `failed-${failures}.png`) }).catch(() => {});
  }
}

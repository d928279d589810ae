// The newcomer's first minutes with `cargo xtask demo`, done by a scripted Chromium on the
// product's own page: node demo.mjs ADDRESS FOLDER_FOR_SCREENSHOTS
// Prints "ok" or "FAILED" for each step; exits with 1 if one failed.
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { chromium } from "playwright-core";

const [address, folder] = process.argv.slice(2);
if (!address || !folder) {
  console.error("usage: node demo.mjs ADDRESS FOLDER_FOR_SCREENSHOTS");
  process.exit(2);
}

const ALICE_HZ = 620;
const BOB_HZ = 880;
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

try {
  const alice = await openPage(ALICE_HZ, "alice");
  await step("alice signs in", async () => {
    await shot(alice, "1-sign-in");
    await signIn(alice, "alice");
    await shot(alice, "2-ready");
  });
  await step("a wrong password is refused in plain words", async () => {
    const stranger = await openPage(BOB_HZ, "stranger");
    await stranger.fill("#user", "bob");
    await stranger.fill("#password", "not the password");
    await stranger.click("#sign-in");
    await stranger.getByText("User or password is wrong").waitFor({ timeout: 15_000 });
    await stranger.close();
  });
  await step(`the tone number is heard at ${LAB_TONE_HZ} Hz`, async () => {
    await call(alice, "601");
    await hears(alice, LAB_TONE_HZ);
    await alice.locator("#quality[data-grade=good]").waitFor({ timeout: 10_000 });
    await shot(alice, "3-tone-call");
    await hangUp(alice);
  });
  await step("the echo number returns alice's own voice", async () => {
    await call(alice, "600");
    await hears(alice, ALICE_HZ);
    await hangUp(alice);
  });
  await step("a busy number is told in plain words", async () => {
    await alice.fill("#target", "603");
    await alice.click("#call");
    await alice.locator("#notice", { hasText: /busy/i }).waitFor({ timeout: 15_000 });
  });

  const bob = await openPage(BOB_HZ, "bob");
  await step("bob signs in and alice calls him in the second tab", async () => {
    await signIn(bob, "bob");
    await alice.fill("#target", "bob");
    await alice.click("#call");
    await bob.locator("#incoming").waitFor({ timeout: 15_000 });
    await shot(bob, "4-incoming");
    await bob.click("#answer");
    await state(alice, "Connected");
    await state(bob, "Connected");
  });
  await step("both hear each other", async () => {
    await hears(alice, BOB_HZ);
    await hears(bob, ALICE_HZ);
    await shot(alice, "5-call");
  });
  await step("alice holds and resumes", async () => {
    await alice.click("#hold");
    await state(alice, "On hold");
    await state(bob, "The far end holds the call");
    await silent(bob);
    await shot(bob, "6-held");
    await alice.click("#hold");
    await state(alice, "Connected");
    await state(bob, "Connected");
    await hears(alice, BOB_HZ);
    await hears(bob, ALICE_HZ);
  });
  await step("bob holds and resumes", async () => {
    await bob.click("#hold");
    await state(alice, "The far end holds the call");
    await bob.click("#hold");
    await state(alice, "Connected");
    await hears(alice, BOB_HZ);
  });
  await step("bob hangs up and alice is told", async () => {
    await hangUp(bob);
    await alice.locator("#notice", { hasText: "The far end hung up" }).waitFor({ timeout: 10_000 });
  });
  await step("keys reach the far end as tones", async () => {
    await call(alice, "606");
    await alice.click("#show-keys");
    for (const key of ["1", "5", "9"]) await alice.click(`#call-keypad button[data-key="${key}"]`);
    await shot(alice, "7-keypad");
    await alice.click('#call-keypad button[data-key="#"]');
    // The number hangs up by itself when it hears the hash key: proof that it was heard.
    await alice.locator("#notice", { hasText: "The far end hung up" }).waitFor({ timeout: 15_000 });
  });
  await step("the page fits a phone's screen", async () => {
    const small = await openPage(ALICE_HZ, "small", { width: 360, height: 640 });
    await signIn(small, "alice");
    const width = await small.evaluate(() => document.documentElement.scrollWidth);
    if (width > 360) throw new Error(`the page is ${width} pixels wide on a screen of 360`);
    await shot(small, "8-phone-screen");
    await small.close();
  });
  await step("everything works by keyboard alone", async () => {
    await alice.focus("#target");
    await alice.keyboard.press("Control+A");
    await alice.keyboard.type("601");
    await alice.keyboard.press("Enter");
    await state(alice, "Connected");
    await alice.keyboard.press("m");
    await alice.locator("#mute[aria-pressed=true]").waitFor();
    await alice.keyboard.press("Escape");
    await alice.locator("#phone").waitFor({ timeout: 10_000 });
  });
  await step("signing out de-registers", async () => {
    await alice.click("#sign-out");
    await alice.locator("#login").waitFor();
  });
} finally {
  await browser.close();
}
console.log(failures === 0 ? "demo: all steps passed" : `demo: ${failures} steps FAILED`);
process.exit(failures === 0 ? 0 : 1);

async function openPage(frequency, name, viewport = { width: 460, height: 900 }) {
  const context = await browser.newContext({ viewport, ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.on("console", (message) => message.type() === "error" && console.log(`  [${name}] ${message.text()}`));
  page.on("pageerror", (error) => console.log(`  [${name}] ${error}`));
  await page.addInitScript((hertz) => {
    // The microphone of this page sings one tone, so that who hears whom can be told apart.
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
  }, frequency);
  await page.goto(address);
  return page;
}

async function signIn(page, user) {
  await page.getByRole("button", { name: `Sign in as ${user}` }).click();
  await page.locator("#state[data-state=ready]").waitFor({ timeout: 15_000 });
}

async function call(page, number) {
  await page.fill("#target", number);
  await page.click("#call");
  await state(page, "Connected");
}

async function hangUp(page) {
  await page.click("#hang-up");
  await page.locator("#phone").waitFor({ timeout: 10_000 });
}

async function state(page, text) {
  await page.locator("#call-state", { hasText: text }).waitFor({ timeout: 15_000 });
}

async function hears(page, hertz) {
  const deadline = Date.now() + 15_000;
  let heard = 0;
  for (let inARow = 0; inARow < 3; ) {
    heard = await page.evaluate(() => globalThis.gatehouse.farTone());
    inARow = Math.abs(heard - hertz) < 15 ? inARow + 1 : 0;
    if (Date.now() > deadline) throw new Error(`expected ${hertz} Hz, heard ${heard.toFixed(0)} Hz`);
    await page.waitForTimeout(150);
  }
}

async function silent(page) {
  const deadline = Date.now() + 10_000;
  while ((await page.evaluate(() => globalThis.gatehouse.farTone())) !== 0) {
    if (Date.now() > deadline) throw new Error("audio goes on although the call is held");
    await page.waitForTimeout(150);
  }
}

async function step(name, run) {
  const start = Date.now();
  try {
    await run();
    console.log(`ok     ${name} (${Date.now() - start} ms)`);
  } catch (error) {
    failures += 1;
    console.log(`FAILED ${name}: ${error.message.split("\n")[0]}`);
    for (const [n, context] of browser.contexts().entries()) {
      for (const page of context.pages()) await shot(page, `failed-${failures}-${n}`).catch(() => {});
    }
  }
}

async function shot(page, name) {
  await page.screenshot({ path: path.join(folder, `${name}.png`) });
}

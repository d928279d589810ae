// The softphone's page: what a person sees and presses.
import { Level, audioContext, playKey, ring, ringback } from "./audio.js";
import { Phone } from "./phone.js";
import { Quality } from "./quality.js";

const $ = (id) => document.getElementById(id);
const KEYS = [
  ["1", ""], ["2", "ABC"], ["3", "DEF"],
  ["4", "GHI"], ["5", "JKL"], ["6", "MNO"],
  ["7", "PQRS"], ["8", "TUV"], ["9", "WXYZ"],
  ["*", ""], ["0", "+"], ["#", ""],
];

let settings;
let phone;
let call;
let awaited;

start();

async function start() {
  buildKeypad($("keypad"), (key) => typeDigit(key));
  buildKeypad($("call-keypad"), (key) => sendKey(key));
  wireForms();
  document.addEventListener("keydown", onKey);
  addEventListener("pagehide", () => phone?.signOut());
  try {
    const answer = await fetch("config.json", { cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}`);
    settings = await answer.json();
  } catch {
    notice("The gateway gave no settings for this page. Reload it, or tell your administrator.");
    $("sign-in").disabled = true;
    return;
  }
  if (!navigator.mediaDevices) {
    notice("This address is not secure, so the browser hides the microphone. Open the page by https.");
  }
  showChips(settings.logins ?? []);
  showNumbers($("numbers"), (settings.numbers ?? []).map(({ number, text }) => ({ target: number, text })));
  $("user").focus();
}

// --- signing in ---

function wireForms() {
  $("login-form").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn($("user").value.trim(), $("password").value);
  });
  $("sign-out").addEventListener("click", () => signOut());
  $("dial-form").addEventListener("submit", (event) => {
    event.preventDefault();
    dial($("target").value.trim());
  });
  $("erase").addEventListener("click", () => {
    $("target").value = $("target").value.slice(0, -1);
    $("target").focus();
  });
  $("answer").addEventListener("click", () => {
    audioContext();
    phone.answer();
  });
  $("decline").addEventListener("click", () => phone.hangUp());
  $("hang-up").addEventListener("click", () => phone.hangUp());
  $("mute").addEventListener("click", () => toggleMute());
  $("hold").addEventListener("click", () => toggleHold());
  $("show-keys").addEventListener("click", () => {
    const shown = $("call-keypad").hidden;
    $("call-keypad").hidden = !shown;
    $("show-keys").setAttribute("aria-expanded", String(shown));
  });
}

function signIn(user, password) {
  loginError();
  if (!user || !password) {
    loginError("Enter the user and the password.");
    return;
  }
  phone?.signOut();
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  phone = new Phone({
    domain: settings.domain,
    webSocketUrl: new URL(settings.webSocketUrl ?? `${scheme}://${location.host}${settings.webSocketPath ?? "/sip"}`).href,
    iceServers: settings.iceServers,
    registerExpires: settings.registerExpires,
  });
  phone.addEventListener("account", ({ detail }) => onAccount(detail));
  phone.addEventListener("incoming", ({ detail }) => onIncoming(detail));
  phone.addEventListener("call", ({ detail }) => onCall(detail));
  phone.addEventListener("hold", ({ detail }) => onHold(detail));
  phone.addEventListener("streams", ({ detail }) => onStreams(detail));
  $("sign-in").disabled = true;
  phone.signIn(user, password);
}

function signOut() {
  phone?.signOut();
  phone = undefined;
  endCall();
  show("login");
  $("sign-out").hidden = true;
  $("password").value = "";
  $("user").focus();
}

function onAccount({ state, text }) {
  const mark = { registered: "ready", connecting: "busy", offline: "offline", refused: "failed" }[state];
  $("state").dataset.state = mark;
  $("state").textContent = text;
  if (state === "registered") {
    $("sign-in").disabled = false;
    $("sign-out").hidden = false;
    if (!$("login").hidden) {
      show("phone");
      showRecent();
      $("target").focus();
    }
  } else if (state === "refused") {
    $("sign-in").disabled = false;
    if ($("login").hidden) {
      notice(`Signing in again failed: ${text}.`);
    } else {
      loginError(text);
      phone.signOut();
      phone = undefined;
      $("state").dataset.state = "failed";
      $("state").textContent = "Not signed in";
    }
  }
}

// --- calls ---

function dial(target) {
  if (!target || !phone) return;
  audioContext();
  notice();
  try {
    phone.call(target);
  } catch {
    notice("This is not a number or name that can be called.");
  }
}

function onIncoming({ peer }) {
  $("incoming-peer").textContent = peer;
  document.title = `${peer} is calling`;
  notice();
  show("incoming");
  ring.start();
  $("answer").focus();
}

function onCall({ state, text, peer, incoming }) {
  if (state === "over") {
    remember({ target: peer, text: `${incoming ? "From" : "To"} · ${text}` });
    endCall();
    show("phone");
    showRecent();
    notice(`${peer}: ${text}`, "info");
    $("target").focus();
    return;
  }
  ring.stop();
  if (!call) {
    call = { peer };
    $("call-peer").textContent = peer;
    $("call-time").textContent = "";
    $("sent-tones").textContent = "";
    $("sent-tones").hidden = true;
    setQuality({ grade: "wait", text: "Waiting for audio" });
    show("in-call");
    $("hang-up").focus();
    if (awaited) onStreams(awaited);
    awaited = undefined;
  }
  $("call-state").textContent = text;
  if (state === "ringing") ringback.start();
  else ringback.stop();
  if (state === "up" && !call.since) {
    call.since = Date.now();
    call.clock = setInterval(tick, 500);
    tick();
  }
}

function onStreams(streams) {
  if (!call) {
    awaited = streams; // An answered call's audio is there before the call is up.
    return;
  }
  const { local, remote, connection } = streams;
  $("far-audio").srcObject = remote;
  $("far-audio").play?.().catch(() => {});
  stopMeasuring();
  call.levels = { mic: local.getAudioTracks().length ? new Level(local) : undefined, far: new Level(remote) };
  call.connection = connection;
  call.meter = setInterval(() => {
    setLevel("level-mic", call.levels.mic?.loudness() ?? 0);
    setLevel("level-far", call.levels.far.loudness());
  }, 100);
  call.quality = new Quality(connection, (verdict) => {
    const paused = call.hold && (call.hold.local || call.hold.remote);
    setQuality(paused ? { grade: "wait", text: "On hold" } : verdict);
  });
}

function setLevel(id, percent) {
  $(id).setAttribute("aria-valuenow", String(Math.round(percent)));
  $(id).firstElementChild.style.width = `${percent}%`;
}

function onHold(hold) {
  if (!call) return;
  call.hold = hold;
  $("hold").setAttribute("aria-pressed", String(Boolean(hold.local)));
  $("hold").textContent = hold.local ? "Resume" : "Hold";
  $("call-state").textContent = hold.local ? "On hold" : hold.remote ? "The far end holds the call" : "Connected";
}

function toggleMute() {
  const on = $("mute").getAttribute("aria-pressed") !== "true";
  phone.mute(on);
  $("mute").setAttribute("aria-pressed", String(on));
  $("mute").textContent = on ? "Unmute" : "Mute";
}

function toggleHold() {
  if (phone.hold($("hold").getAttribute("aria-pressed") !== "true") === false) {
    notice("Hold is not possible at this moment. Try again.");
  }
}

function sendKey(key) {
  playKey(key);
  phone.sendKey(key);
  $("sent-tones").hidden = false;
  $("sent-tones").textContent += key;
}

function endCall() {
  ring.stop();
  ringback.stop();
  document.title = "Gatehouse softphone";
  awaited = undefined;
  if (!call) return;
  stopMeasuring();
  clearInterval(call.clock);
  call = undefined;
  $("far-audio").srcObject = null;
  $("call-keypad").hidden = true;
  $("show-keys").setAttribute("aria-expanded", "false");
  for (const id of ["mute", "hold"]) $(id).setAttribute("aria-pressed", "false");
  $("mute").textContent = "Mute";
  $("hold").textContent = "Hold";
  setLevel("level-mic", 0);
  setLevel("level-far", 0);
}

function stopMeasuring() {
  clearInterval(call.meter);
  call.quality?.stop();
  call.levels?.mic?.stop();
  call.levels?.far?.stop();
}

function tick() {
  const seconds = Math.floor((Date.now() - call.since) / 1000);
  $("call-time").textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

function setQuality({ grade, text }) {
  $("quality").dataset.grade = grade;
  $("quality").textContent = text;
}

// --- keys ---

function buildKeypad(pad, press) {
  for (const [key, letters] of KEYS) {
    const button = document.createElement("button");
    button.type = "button";
    button.dataset.key = key;
    button.setAttribute("aria-label", { "*": "star", "#": "hash" }[key] ?? key);
    button.append(key);
    const small = document.createElement("small");
    small.textContent = letters;
    button.append(small);
    button.addEventListener("click", () => press(key));
    pad.append(button);
  }
}

function typeDigit(key) {
  playKey(key);
  $("target").value += key;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && phone?.session) {
    phone.hangUp();
    return;
  }
  if ($("in-call").hidden || event.repeat) return;
  if (/^[0-9*#]$/.test(event.key)) sendKey(event.key);
  else if (event.key.toLowerCase() === "m") toggleMute();
  else if (event.key.toLowerCase() === "h") toggleHold();
}

// --- what is shown ---

function show(section) {
  for (const id of ["login", "phone", "incoming", "in-call"]) $(id).hidden = id !== section;
}

function notice(text, kind = "error") {
  $("notice").hidden = !text;
  $("notice").textContent = text ?? "";
  $("notice").dataset.kind = kind;
}

function loginError(text) {
  $("login-error").hidden = !text;
  $("login-error").textContent = text ?? "";
}

function showChips(logins) {
  $("demo-logins").hidden = logins.length === 0;
  for (const { user, password } of logins) {
    const chip = document.createElement("button");
    chip.type = "button";
    chip.textContent = `Sign in as ${user}`;
    chip.addEventListener("click", () => {
      $("user").value = user;
      $("password").value = password;
      signIn(user, password);
    });
    $("demo-logins").querySelector(".chips").append(chip);
  }
}

function showNumbers(box, entries) {
  box.hidden = entries.length === 0;
  const list = box.querySelector("ul");
  list.replaceChildren(
    ...entries.map(({ target, text }) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.dataset.target = target;
      for (const part of [target, text]) {
        const span = document.createElement("span");
        span.textContent = part;
        button.append(span);
      }
      button.addEventListener("click", () => {
        $("target").value = target;
        dial(target);
      });
      item.append(button);
      return item;
    }),
  );
}

function remember(entry) {
  const recent = [entry, ...(history() ?? []).filter(({ target }) => target !== entry.target)].slice(0, 5);
  sessionStorage.setItem("gatehouse-recent", JSON.stringify(recent));
}

function history() {
  try {
    return JSON.parse(sessionStorage.getItem("gatehouse-recent")) ?? [];
  } catch {
    return [];
  }
}

function showRecent() {
  showNumbers($("recent"), history());
}

// For a technician's console: the phone, and what is heard from the far end.
globalThis.gatehouse = {
  get phone() {
    return phone;
  },
  farTone: () => call?.levels?.far.strongestTone() ?? 0,
};

// Keeps the page up to date: takes what has changed from a new copy of it, every few seconds,
// unless it is to hold still.
"use strict";

const every = 5000;
const hold = document.getElementById("hold");

hold.hidden = false;
hold.addEventListener("click", () => {
  const held = hold.getAttribute("aria-pressed") !== "true";
  hold.setAttribute("aria-pressed", String(held));
  rest(held);
});

function isHeld() {
  return hold.getAttribute("aria-pressed") === "true";
}

// The lamps stop blinking as well.
function rest(held) {
  for (const drawing of document.querySelectorAll("svg")) {
    if (held) {
      drawing.pauseAnimations();
    } else {
      drawing.unpauseAnimations();
    }
  }
}

async function look() {
  const at = document.getElementById("at");
  try {
    const answer = await fetch("/", { cache: "no-store", signal: AbortSignal.timeout(every) });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (isHeld()) {
      return;
    }
    for (const section of document.querySelectorAll("section[id]")) {
      const now = fresh.getElementById(section.id);
      if (now && now.innerHTML !== section.innerHTML) {
        section.innerHTML = now.innerHTML;
      }
    }
    document.title = fresh.title;
    at.textContent = fresh.getElementById("at").textContent;
  } catch {
    if (!at.dataset.silent) {
      at.textContent += " The box does not answer since then.";
    }
    at.dataset.silent = "yes";
    return;
  }
  delete at.dataset.silent;
}

setInterval(() => {
  if (!isHeld() && !document.hidden) {
    look();
  }
}, every);

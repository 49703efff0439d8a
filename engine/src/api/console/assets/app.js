"use strict";
// Live parts, local times and the keyboard. Every page works without this script.

function localTimes(root) {
  for (const time of root.querySelectorAll("time[data-local]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.textContent = at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    }
  }
}

// Replaces the live part of this page by that of a fresh copy, unless somebody is typing or reading in it.
async function refresh() {
  const live = document.querySelector("[data-live]");
  if (!live || document.hidden) return;
  const active = document.activeElement;
  if (live.contains(active) && active.matches("input, select, textarea")) return;
  const answer = await fetch(location.href, { headers: { "X-Live": "1" }, credentials: "same-origin" });
  if (answer.redirected) {
    location.reload();
    return;
  }
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh) return;
  const open = new Set([...live.querySelectorAll("details[open][id]")].map((one) => one.id));
  live.dataset.live = fresh.dataset.live;
  live.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  localTimes(live);
}

// Says that what is shown may be old, as long as the daemon does not answer.
function answered(is) {
  const note = document.getElementById("away");
  if (is) {
    note?.remove();
  } else if (!note) {
    const away = document.createElement("div");
    away.id = "away";
    away.className = "callout warn";
    away.setAttribute("role", "status");
    away.textContent = "RepoSync does not answer. What is shown here may be out of date.";
    document.getElementById("main").prepend(away);
  }
}

function look() {
  refresh().then(() => answered(true), () => answered(false));
}

function follow() {
  const live = document.querySelector("[data-live]");
  if (!live) return;
  if (live.dataset.events) {
    const events = new EventSource(live.dataset.events);
    events.addEventListener("changed", look);
    events.addEventListener("end", () => {
      events.close();
      look();
    });
    // A connection that breaks is opened again by the browser. One that is refused is not, such as after a restart,
    // which ends sessions: the page then asks to sign in.
    events.addEventListener("error", look);
  }
  if (live.dataset.live === "poll") {
    setInterval(look, 10000);
  }
}

let gone = 0;
function keys(event) {
  const isField = event.target instanceof Element && event.target.matches("input, select, textarea");
  if (event.ctrlKey || event.metaKey || event.altKey || isField) return;
  const rows = [...document.querySelectorAll("[data-row]")];
  const at = rows.indexOf(document.activeElement);
  if (event.key === "/") {
    const field = document.querySelector("[data-search]");
    if (field) {
      event.preventDefault();
      field.focus();
      field.select();
    }
  } else if (event.key === "j" || event.key === "k") {
    const next = event.key === "j" ? at + 1 : Math.max(0, at - 1);
    rows[Math.min(next, rows.length - 1)]?.focus();
  } else if (event.key === "g") {
    gone = Date.now();
    return;
  } else if (Date.now() - gone < 1500) {
    document.querySelector(`nav a[data-key="${CSS.escape(event.key)}"]`)?.click();
  }
  gone = 0;
}

document.addEventListener("keydown", keys);
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  navigator.clipboard?.writeText(button.dataset.copy).then(() => {
    button.textContent = "Copied";
  });
});
localTimes(document);
follow();

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

// What identifies an element that can have the focus, in this copy of a part and in the next one.
function keyOf(one) {
  return [one.tagName, one.getAttribute("href"), one.closest("form")?.getAttribute("action"), one.textContent].join("\n");
}

// True while somebody types in a part or has marked text of it.
function isInUse(live) {
  const active = document.activeElement;
  const marked = document.getSelection();
  return (live.contains(active) && active.matches("input, select, textarea")) || (!marked.isCollapsed && marked.containsNode(live, true));
}

// Replaces the live part of this page by that of a fresh copy. Returns a warning, "" if there is none, or null if
// nothing was done.
async function refresh() {
  const live = document.querySelector("[data-live]");
  if (!live || isInUse(live)) return null;
  const answer = await fetch(location.href, {
    headers: { "X-Live": "1" },
    credentials: "same-origin",
    signal: AbortSignal.timeout(30000),
  });
  if (answer.redirected) {
    location.reload();
    return null;
  }
  if (answer.status === 404) return "What this page shows is no longer there.";
  if (!answer.ok) return `RepoSync answers with an error (${answer.status}). What is shown here may be out of date.`;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.querySelector("[data-live]");
  if (!fresh || isInUse(live)) return null;
  const open = new Set([...live.querySelectorAll("details[open][id]")].map((one) => one.id));
  const focused = live.contains(document.activeElement) ? keyOf(document.activeElement) : null;
  for (const name of ["live", "events"]) {
    if (name in fresh.dataset) live.dataset[name] = fresh.dataset[name];
    else delete live.dataset[name];
  }
  live.replaceChildren(...fresh.childNodes);
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  localTimes(live);
  if (focused) {
    const all = [...live.querySelectorAll("a, button, summary, [tabindex]")];
    all.find((one) => keyOf(one) === focused)?.focus({ preventScroll: true });
  }
  return "";
}

// Says that what is shown may be old, or no longer says so.
function warn(text) {
  let note = document.getElementById("away");
  if (!text) {
    note?.remove();
    return;
  }
  if (!note) {
    note = document.createElement("div");
    note.id = "away";
    note.className = "callout warn";
    note.setAttribute("role", "status");
    document.getElementById("main").prepend(note);
  }
  note.textContent = text;
}

let looking = false;
let again = false;

// One look at a time, so that an older copy never replaces a newer one.
async function look() {
  if (document.hidden) return;
  again = true;
  if (looking) return;
  looking = true;
  while (again) {
    again = false;
    try {
      const text = await refresh();
      if (text !== null) warn(text);
    } catch {
      warn("RepoSync does not answer. What is shown here may be out of date.");
    }
  }
  looking = false;
}

let events = null;

// Opens the stream of events of this page while it is visible. Each stream takes one of the few connections that a
// browser opens to a server, so hidden pages have none.
function follow() {
  const address = document.hidden ? undefined : document.querySelector("[data-live]")?.dataset.events;
  if (events && (!address || events.readyState === EventSource.CLOSED)) {
    events.close();
    events = null;
  }
  if (events || !address) return;
  const stream = new EventSource(address);
  events = stream;
  stream.addEventListener("changed", look);
  stream.addEventListener("end", () => {
    stream.close();
    look();
  });
  // A connection that breaks is opened again by the browser. One that is refused is not, such as after a restart,
  // which ends sessions: the page then asks to sign in.
  stream.addEventListener("error", look);
}

// Pages with events look now and then, too: a proxy may keep events back.
function tick() {
  const live = document.querySelector("[data-live]");
  const hasEvents = Boolean(live?.dataset.events);
  if (hasEvents || live?.dataset.live === "poll") {
    follow();
    look();
  }
  setTimeout(tick, hasEvents ? 30000 : 10000);
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
document.addEventListener("visibilitychange", () => {
  follow();
  // What happened meanwhile.
  look();
});
localTimes(document);
follow();
setTimeout(tick, 10000);

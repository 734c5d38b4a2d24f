// Which view is shown, how the server is, and the way in.

import { $, AWAY, api, doing, notice, request } from "./lib.js";
import * as asks from "./asks.js";
import * as chat from "./chat.js";
import * as connect from "./connect.js";
import * as knows from "./knows.js";
import * as limits from "./limits.js";
import * as rounds from "./rounds.js";

const VIEWS = { chat, asks, knows, rounds, limits, connect };
const LOOK_MS = 4000;
const ROUND_LOOK_MS = 1000;

let shown = null;
let away = false;
let seen = "";
let timer = 0;

function show(name, focus) {
  shown = name;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== `view-${name}`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${$(`h-${name}`).textContent} · edgepers`;
  if (focus) {
    window.scrollTo(0, 0);
    $(`h-${name}`).focus();
  }
}

async function refresh() {
  try {
    await VIEWS[shown]?.refresh?.();
  } catch (error) {
    if (error.status) notice(error.message); // what is away, the next look says
  }
}

function route(focus) {
  const name = location.hash.slice(1);
  if (name === "main") return $("main").focus();
  show(name in VIEWS ? name : "chat", focus);
  return refresh();
}

/** Look how the server is; where something has changed, in this tab or another, the view is read anew. */
async function look() {
  clearTimeout(timer);
  let wait = LOOK_MS;
  try {
    const status = await api("/edgepers/status");
    if (away) notice("The server is back.");
    const now = JSON.stringify([status.began, status.seen, status.kept, status.judged, status.rounds, status.published, status.round_under_way]);
    const changed = away || (seen && seen !== now);
    [away, seen] = [false, now];
    tell(status);
    if (status.round_under_way) wait = ROUND_LOOK_MS;
    for (const view of Object.values(VIEWS)) view.look?.(status);
    if (changed) {
      await refresh();
      await count();
    }
  } catch (error) {
    if (error.status === 401) return;
    if (error.status === 0) {
      away = true;
      notice(`${AWAY} Trying again.`, true);
    }
  }
  timer = setTimeout(look, document.hidden ? 5 * LOOK_MS : wait);
}

function tell(status) {
  if (status.round_under_way) {
    $("now").textContent = `Round ${status.rounds + 1}: ${doing(status)}`;
  } else {
    const who = status.published ? `Adapter ${status.published} answers` : "The base model answers";
    $("now").textContent = `${who} · ${status.kept} kept`;
  }
}

async function count() {
  const { requests } = await api("/edgepers/requests");
  $("asks-count").textContent = requests.length;
  $("asks-count").hidden = requests.length === 0;
  $("asks-count").setAttribute("aria-label", `, ${requests.length} await an answer`);
}

async function begin() {
  await route(false);
  await look();
  await count().catch(() => {});
}

async function enter(event) {
  event.preventDefault();
  try {
    await request("/edgepers/enter", { method: "POST", body: { token: $("token").value } });
    $("token").value = $("enter-said").textContent = "";
    await begin();
  } catch (error) {
    $("enter-said").textContent = error.message;
    $("token").select();
  }
}

document.addEventListener("locked", () => {
  if (shown !== "enter") {
    show("enter", false);
    $("token").focus();
  }
});
document.addEventListener("changed", () => {
  look();
  count().catch(() => {});
});
document.addEventListener("visibilitychange", () => document.hidden || look());
window.addEventListener("hashchange", () => route(true));
$("enter").addEventListener("submit", enter);
for (const view of Object.values(VIEWS)) view.begin?.();
begin();

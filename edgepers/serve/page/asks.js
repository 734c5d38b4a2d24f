// What awaits an answer: one at a time, in the order in which asking teaches most.

import { $, alreadyDrawn, api, asked as question, button, capital, inUse, make, part } from "./lib.js";
import { certain, correction, forget, judge, takeBack } from "./verbs.js";

const WORDS = { good: "Noted: good.", corrected: "Noted: it will learn that.", skipped: "Skipped." };
let current = null;
let last = null; // the set that undo is about

export async function refresh() {
  const { requests } = await api("/edgepers/requests");
  const editing = inUse($("asks-body")) && requests.some((one) => one.set === current);
  if (!editing && !alreadyDrawn($("asks-body"), requests)) draw(requests, false);
}

function draw(requests, focus) {
  current = requests[0]?.set ?? null;
  if (current === null) {
    const empty = make("p", { class: "empty", tabindex: "-1" }, "Nothing to answer now. When you have talked for a while, it asks about what would teach it most.");
    $("asks-body").replaceChildren(empty);
    if (focus) empty.focus();
    return;
  }
  const [asked] = requests;
  const verbs = make("div");
  const heading = make("p", { class: "why", tabindex: "-1" }, `1 of ${requests.length} · ${capital(asked.reason)}`);
  $("asks-body").replaceChildren(
    make("article", { class: "card", "aria-label": "A question to you" }, heading, question(asked), part("It said", asked.response), verbs),
  );
  choices(asked, verbs);
  if (focus) heading.focus();
}

function choices(asked, verbs) {
  const back = () => {
    choices(asked, verbs);
    verbs.querySelector("button").focus();
  };
  const say = (verdict) => () => act(asked.set, WORDS[verdict], () => judge(asked.set, verdict));
  const correct = () =>
    verbs.replaceChildren(correction(asked.response, (text) => act(asked.set, WORDS.corrected, () => judge(asked.set, "corrected", text)), back));
  const gone = () => {
    const sure = () => act(null, null, () => forget(asked.set));
    verbs.replaceChildren(certain("Forget this for good?", "Forget for good", sure, back));
  };
  const row = make("div", { class: "verbs" }, button("Good", say("good"), "main"), button("Correct it", correct), button("Skip", say("skipped")), button("Forget", gone, "plain"));
  verbs.replaceChildren(row);
}

/** Do something to a set, say what came of it, and go on to the next. */
async function act(set, said, doing) {
  try {
    const done = await doing();
    last = set;
    $("asks-said").textContent = said && (done.verdict || said === WORDS.skipped) ? said : `${capital(done.message)}.`;
  } catch (error) {
    last = null;
    $("asks-said").textContent = error.message;
  }
  $("asks-undo").hidden = last === null;
  await next();
}

async function next() {
  document.dispatchEvent(new Event("changed"));
  try {
    const { requests } = await api("/edgepers/requests");
    alreadyDrawn($("asks-body"), requests);
    draw(requests, true);
  } catch (error) {
    $("asks-said").textContent = error.message;
  }
}

export function begin() {
  $("asks-undo").addEventListener("click", () => act(null, null, () => takeBack(last)));
}

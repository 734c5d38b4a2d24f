// What it knows of its owner: everything kept, to search, to correct and to forget.

import { $, api, asked, button, capital, inUse, make, part } from "./lib.js";
import { certain, correction, forget, judge, mark, takeBack } from "./verbs.js";

let cards = new Map(); // by set: its item, and what is drawn in it

const path = (before, most = 20) => {
  const query = new URLSearchParams({ matching: $("knows-text").value, most });
  if (before !== undefined) query.set("before", before);
  return `/edgepers/sets?${query}`;
};

export async function refresh() {
  const { sets, count, more } = await api(path(undefined, Math.min(Math.max(cards.size, 20), 200)));
  show(sets);
  $("knows-more").hidden = !more;
  const found = count === 1 ? "1 exchange" : `${count} exchanges`;
  say(
    "knows-said",
    $("knows-text").value.trim()
      ? `${found} found.`
      : count
        ? `${found} kept on this device, encrypted.`
        : "Nothing yet. What is worth learning from your talks is kept here.",
  );
}

/** Say something, once. */
function say(place, text) {
  if ($(place).textContent !== text) $(place).textContent = text;
}

/** Draw sets in their order. A card that is in use, or that says the same as before, is left alone. */
function show(sets) {
  const old = cards;
  cards = new Map();
  for (const kept of sets) {
    const card = old.get(kept.set) ?? { item: make("li", { class: "card" }), kept: null };
    cards.set(kept.set, card);
    if (!inUse(card.item) && !alike(card.kept, kept)) fill(card, kept);
  }
  const list = $("knows-sets");
  for (const [set, card] of old) {
    if (cards.has(set)) continue;
    if (inUse(card.item)) cards.set(set, card);
    else card.item.remove();
  }
  [...cards.values()].forEach(({ item }, place) => {
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
  });
}

const alike = (one, other) => one !== null && ["question", "earlier", "response", "verdict", "reference"].every((name) => one[name] === other[name]);

function fill(card, kept, undo = null) {
  card.kept = kept;
  const { item } = card;
  const verbs = make("div");
  const corrected = kept.reference !== null;
  item.replaceChildren(
    asked(kept),
    part("It said", kept.response, corrected ? "struck" : ""),
    ...(corrected ? [part("It should have said", kept.reference)] : []),
    verbs,
  );
  const back = () => {
    choices();
    verbs.querySelector("button").focus();
  };
  const act = async (doing, redraw, said) => {
    try {
      const done = await doing();
      say("knows-done", said ?? `${capital(done.message)}.`);
      redraw(done);
      document.dispatchEvent(new Event("changed"));
      return done;
    } catch (error) {
      choices();
      say("knows-done", error.message);
      return null;
    }
  };
  const judged = (verdict, text) =>
    act(
      () => judge(kept.set, verdict, text),
      (done) => {
        const reference = done.verdict === "corrected" ? text : null;
        fill(card, done.verdict ? { ...kept, verdict: done.verdict, reference } : kept, kept);
        item.querySelector("button").focus();
      },
    );
  const choices = () => {
    const correct = () => verbs.replaceChildren(correction(kept.reference ?? kept.response, (text) => judged("corrected", text), back));
    const gone = () => verbs.replaceChildren(certain("Forget this for good?", "Forget for good", sure, back));
    const sure = () =>
      act(
        () => forget(kept.set),
        () => {
          item.remove();
          cards.delete(kept.set);
          $("h-knows").focus();
        },
      );
    const taken = () =>
      act(
        () => takeBack(kept.set),
        () => {
          fill(card, undo);
          item.querySelector("button").focus();
        },
        "Taken back.",
      );
    const row = [mark(kept.verdict)];
    if (!kept.verdict) row.push(button("Good", () => judged("good")));
    row.push(button("Correct it", correct));
    if (undo) row.push(button("Undo", taken));
    row.push(button("Forget", gone, "plain"));
    verbs.replaceChildren(make("div", { class: "verbs" }, ...row.filter(Boolean)));
  };
  choices();
}

export function begin() {
  $("knows-form").addEventListener("submit", (event) => {
    event.preventDefault();
    say("knows-done", "");
    refresh().catch((error) => say("knows-done", error.message));
  });
  $("knows-more").addEventListener("click", async () => {
    try {
      const known = [...cards.values()].map(({ kept }) => kept);
      const { sets, more } = await api(path(known.at(-1)?.set));
      show([...known, ...sets]);
      $("knows-more").hidden = !more;
      $("knows-sets").children[known.length]?.querySelector("button").focus();
    } catch (error) {
      say("knows-done", error.message);
    }
  });
}

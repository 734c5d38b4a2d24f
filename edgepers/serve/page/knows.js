// What it knows of its owner: everything kept, to search, to correct and to forget.

import { $, api, asked, button, capital, make, part } from "./lib.js";
import { certain, correction, forget, judge, mark, takeBack } from "./verbs.js";

let drawn = [];

const path = (before, most = 20) => {
  const query = new URLSearchParams({ matching: $("knows-text").value, most });
  if (before !== undefined) query.set("before", before);
  return `/edgepers/sets?${query}`;
};

export async function refresh() {
  if ($("knows-sets").querySelector("form, [role=group]")) return; // something is being written
  const found = await api(path(undefined, Math.min(Math.max(drawn.length, 20), 200)));
  $("knows-sets").replaceChildren();
  drawn = [];
  add(found);
  const sets = found.count === 1 ? "1 exchange" : `${found.count} exchanges`;
  $("knows-said").textContent = $("knows-text").value.trim()
    ? `${sets} found.`
    : found.count
      ? `${sets} kept on this device, encrypted.`
      : "Nothing yet. What is worth learning from your talks is kept here.";
}

function add({ sets, more }) {
  drawn.push(...sets.map((one) => one.set));
  $("knows-sets").append(...sets.map(card));
  $("knows-more").hidden = !more;
}

function card(kept) {
  const item = make("li", { class: "card" });
  fill(item, kept);
  return item;
}

function fill(item, kept, undo = false) {
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
  const act = async (doing, redraw) => {
    try {
      const done = await doing();
      redraw(done);
      document.dispatchEvent(new Event("changed"));
      return done;
    } catch (error) {
      choices();
      $("knows-said").textContent = error.message;
      return null;
    }
  };
  const judged = (verdict, text) =>
    act(
      () => judge(kept.set, verdict, text),
      (done) => {
        $("knows-said").textContent = `${capital(done.message)}.`;
        const reference = done.verdict === "corrected" ? text : null;
        fill(item, done.verdict ? { ...kept, verdict: done.verdict, reference } : kept, kept);
        item.querySelector("button").focus();
      },
    );
  const choices = () => {
    const correct = () => verbs.replaceChildren(correction(kept.reference ?? kept.response, (text) => judged("corrected", text), back));
    const gone = () => verbs.replaceChildren(certain("Forget this for good?", "Forget for good", sure, back));
    const sure = () =>
      act(
        () => forget(kept.set),
        (done) => {
          item.remove();
          drawn = drawn.filter((set) => set !== kept.set);
          $("knows-said").textContent = `${capital(done.message)}.`;
          $("h-knows").focus();
        },
      );
    const taken = () =>
      act(
        () => takeBack(kept.set),
        () => {
          $("knows-said").textContent = "Taken back.";
          fill(item, undo);
          item.querySelector("button").focus();
        },
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
    drawn = [];
    refresh().catch((error) => ($("knows-said").textContent = error.message));
  });
  $("knows-more").addEventListener("click", async () => {
    try {
      const first = drawn.length;
      add(await api(path(drawn[first - 1])));
      $("knows-sets").children[first]?.querySelector("button").focus();
    } catch (error) {
      $("knows-said").textContent = error.message;
    }
  });
}

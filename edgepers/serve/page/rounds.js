// Rounds of learning: the one that is under way, and what each has come to.

import { $, alreadyDrawn, api, button, capital, doing, inUse, make, number } from "./lib.js";
import { certain } from "./verbs.js";

const WIDTH = 600;
const HEIGHT = 140;
const curves = new Map();
let published = null;
let answering = null; // the adapter that people meet: the upstream's where there is one

const stopping = button("Stop", async () => {
  stopping.setAttribute("aria-disabled", true);
  try {
    const { stopped } = await api("/edgepers/rounds", { method: "DELETE" });
    $("rounds-said").textContent = stopped ? "Stopped. The next round goes on from there." : "It had ended.";
  } catch (error) {
    $("rounds-said").textContent = error.message;
  }
  stopping.removeAttribute("aria-disabled");
  document.dispatchEvent(new Event("changed"));
  $("h-rounds").focus();
});

const now = { title: make("h2", {}), text: make("p", { class: "small" }) };
now.all = [now.title, now.text, make("progress", { "aria-label": "Round under way" }), make("div", { class: "end" }, stopping)];

export async function refresh() {
  const { rounds } = await api("/edgepers/rounds");
  await Promise.all(rounds.filter((one) => one.train_steps && !curves.has(one.round)).map(read));
  if (inUse($("rounds-list")) || alreadyDrawn($("rounds-list"), rounds, published, answering, $("rounds-now").hidden)) return;
  $("rounds-list").replaceChildren(...rounds.reverse().map(card));
  if (!rounds.length && $("rounds-now").hidden) {
    $("rounds-list").replaceChildren(make("li", { class: "empty" }, "No round yet. A round learns from what you called good or corrected; it begins by itself when enough was said and the device is idle."));
  }
}

async function read({ round }) {
  curves.set(round, (await api(`/edgepers/rounds/${round}/losses`)).losses);
}

export function look(status) {
  const there = status.at_upstream;
  const answers = status.upstream === null ? status.published : there && there.adapter;
  const changed = published !== status.published || answering !== answers;
  published = status.published;
  answering = answers;
  $("rounds-there").hidden = there === null;
  if (there) $("rounds-there").textContent = saidThere(there);
  $("rounds-now").hidden = !status.round_under_way;
  $("rounds-start").setAttribute("aria-disabled", status.round_under_way);
  if (status.round_under_way) {
    now.title.textContent = `Round ${status.rounds + 1}`;
    now.text.textContent = `${capital(doing(status))}. You can go on talking.`;
    if (!$("rounds-now").childElementCount) $("rounds-now").append(...now.all); // once: whoever is at its button stays there
  }
  const failed = status.last_round?.failed;
  if (failed && !status.round_under_way) $("rounds-said").textContent = `Round ${status.last_round.round} failed: ${failed}`;
  if (changed && !$("view-rounds").hidden) refresh().catch(() => {});
}

/** What the upstream has of all this. */
function saidThere({ model, name, adapter, given, refused, reason, failure }) {
  const answers = adapter ? `adapter ${adapter} answers` : "the base model answers";
  const parts = [`At the upstream, as ${name ?? model}: ${answers}.`];
  if (given && given !== adapter) parts.push(`Adapter ${given} is being tried there.`);
  if (refused) parts.push(`Adapter ${refused} was taken back: ${reason}.`);
  if (failure) parts.push(`Not brought up to date: ${failure}`);
  return parts.join(" ");
}

function card(round) {
  const live = round.adapter !== null && round.adapter === published;
  const state = round.adapter !== null && round.adapter === answering ? ["Answers now", "mark"] : live ? ["Published", "mark"] : round.published ? ["Published, not in use", "mark none"] : ["Not published", "mark no"];
  const verbs = make("div", { class: "end" });
  if (live) rollBack(verbs);
  const facts = [
    ["Learned from", `${round.train_sets} ${round.train_sets === 1 ? "exchange" : "exchanges"}`],
    ["Said word for word", round.recalled === null ? null : `${Math.round(100 * round.recalled)} % of short ones`],
    ["Loss in training", arrow(round.train_loss_first, round.train_loss_last)],
    ["Loss on your reserve", arrow(round.guard_loss_before, round.guard_loss_after)],
    ["Time", `${round.train_seconds.toFixed(round.train_seconds < 10 ? 1 : 0)} s, ${round.train_steps} steps`],
    ["Energy", round.energy_joules === null ? "no meter" : `${Math.round(round.energy_joules)} J`],
  ];
  return make(
    "li",
    { class: "card" },
    make("div", { class: "titled" }, make("h2", {}, `Round ${round.round}`), make("span", { class: state[1] }, state[0]), verbs),
    round.published ? null : make("p", { class: "why" }, `${capital(round.reason)}.`),
    round.train_steps ? make("dl", {}, ...facts.filter(([, value]) => value !== null).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value)))) : null,
    curve(curves.get(round.round)),
  );
}

const arrow = (before, after) => (before === null || after === null ? null : `${number(before)} → ${number(after)}`);

function rollBack(verbs) {
  const back = () => {
    rollBack(verbs);
    verbs.querySelector("button").focus();
  };
  const sure = async () => {
    try {
      const done = await api("/edgepers/rollback", { method: "POST" });
      $("rounds-said").textContent = `Rolled back. Now ${done.published ? `adapter ${done.published}` : "the base model"} answers.`;
      verbs.replaceChildren();
    } catch (error) {
      $("rounds-said").textContent = error.message;
      rollBack(verbs);
    }
    document.dispatchEvent(new Event("changed"));
    $("h-rounds").focus();
  };
  verbs.replaceChildren(button("Roll back", () => verbs.replaceChildren(certain("Go back to the one before?", "Roll back", sure, back))));
}

/** Loss by step, as a picture. */
function curve(losses) {
  if (!losses || losses.length < 2) return null;
  const values = losses.map(([, loss]) => loss);
  const most = Math.max(...values);
  const [left, right, top, bottom] = [44, 8, 12, 28];
  const x = (i) => left + (i / (values.length - 1)) * (WIDTH - left - right);
  const y = (loss) => top + (1 - loss / most) * (HEIGHT - top - bottom);
  const at = (step, loss) => `${x(step).toFixed(1)},${y(loss).toFixed(1)}`;
  const end = values.length - 1;
  return draw(
    "svg",
    { class: "curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Training loss from ${number(values[0])} to ${number(values[end])} in ${losses[end][0]} steps` },
    draw("line", { class: "axis", x1: left, x2: WIDTH - right, y1: y(0), y2: y(0) }),
    draw("line", { class: "axis", x1: left, x2: WIDTH - right, y1: y(most), y2: y(most) }),
    draw("polyline", { class: "line", points: values.map((loss, i) => at(i, loss)).join(" ") }),
    draw("circle", { class: "dot", cx: x(end), cy: y(values[end]), r: 3 }),
    draw("text", { x: left - 6, y: y(most) + 4, "text-anchor": "end" }, number(most, 1)),
    draw("text", { x: left - 6, y: y(0) + 4, "text-anchor": "end" }, "0"),
    draw("text", { x: left, y: HEIGHT - 4 }, "Training loss"),
    draw("text", { x: WIDTH - right, y: HEIGHT - 4, "text-anchor": "end" }, `${losses[end][0]} steps`),
  );
}

function draw(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export function begin() {
  $("rounds-start").addEventListener("click", async () => {
    if ($("rounds-start").getAttribute("aria-disabled") === "true") return;
    try {
      const { round } = await api("/edgepers/rounds", { method: "POST" });
      $("rounds-said").textContent = `Round ${round} has begun.`;
    } catch (error) {
      $("rounds-said").textContent = error.message;
    }
    document.dispatchEvent(new Event("changed"));
  });
}

// The talk: streamed answers, the base model's beside them, and what its owner says of each.

import { $, alreadyDrawn, api, button, make, request, speak } from "./lib.js";
import { certain, correction, forget, judge, mark, takeBack } from "./verbs.js";

const STORE = "edgepers-talk"; // in this tab alone, so that a reload loses nothing
const LOOKS_MS = [0, 1500, 5000]; // for the set that an answer has become; before an upstream that takes a moment
const CUT = "The answer was cut off.";

let talk = stored();
let stream = null; // the answer that is being written

function stored() {
  const fresh = { session: crypto.getRandomValues(new Uint32Array(4)).join("-"), model: null, beside: false, learn: true, turns: [] };
  try {
    return { ...fresh, ...JSON.parse(sessionStorage.getItem(STORE)) };
  } catch {
    return fresh;
  }
}

function keep() {
  try {
    sessionStorage.setItem(STORE, JSON.stringify(talk));
  } catch {
    sessionStorage.removeItem(STORE); // too long to keep; the talk goes on
  }
}

export async function refresh() {
  const { data } = await api("/v1/models");
  const names = data.map((one) => one.id);
  if (!names.includes(talk.model)) talk.model = names.includes("personal") ? "personal" : (names[0] ?? "");
  if (!alreadyDrawn($("chat-model"), names, talk.model)) {
    $("chat-model").replaceChildren(...names.map((name) => make("option", { value: name, selected: name === talk.model }, name)));
  }
  $("chat-beside").closest("label").hidden = !names.includes("base");
}

// -- drawing

function drawAll() {
  $("chat-turns").replaceChildren(...talk.turns.map(drawn));
  $("chat-empty").hidden = talk.turns.length > 0;
}

function drawn(turn) {
  const item = make("li");
  turn.item = () => item;
  const answers = make("div", { class: "answers" });
  item.append(make("div", { class: "mine" }, make("p", { class: "who" }, "You"), make("p", { class: "text" }, turn.question)), answers, make("div", { class: "under" }));
  for (const name of ["answer", "base"]) if (turn[name] !== null) box(turn, name);
  under(turn);
  return item;
}

/** The place of an answer; made where there is none yet. */
function box(turn, name) {
  const answers = turn.item().querySelector(".answers");
  let place = answers.querySelector(`.${name}`);
  if (!place) {
    place = make("div", { class: name }, make("p", { class: "who" }, name === "base" ? "Base model" : turn.model), make("p", { class: "text" }, turn[name]));
    answers.append(place);
    answers.classList.toggle("two", answers.children.length > 1);
  }
  return place.querySelector(".text");
}

/** What can be said of a turn's answer. */
function under(turn, said = "") {
  const place = turn.item().querySelector(".under");
  const row = [];
  if (turn.failed) {
    row.push(make("span", { class: "mark no" }, turn.failed), button("Ask again", () => again(turn), "plain"));
  } else if (turn.set !== null) {
    row.push(mark(turn.verdict));
    if (!turn.verdict) row.push(button("Good", () => act(turn, () => judge(turn.set, "good")), "plain"));
    row.push(button("Correct it", () => correct(turn, place), "plain"));
    if (turn.undo) row.push(button("Undo", () => act(turn, () => takeBack(turn.set), false), "plain"));
    if (turn.kept || turn.counted != null) row.push(button("Forget", () => gone(turn, place), "plain"));
    row.push(make("details", {}, make("summary", {}, turn.kept ? "Kept" : turn.counted != null ? "Asked before" : "Not kept"), turn.why));
  }
  place.replaceChildren(make("div", { class: "verbs" }, ...row.filter(Boolean)));
  if (said) place.append(make("p", { class: "small", role: "status" }, said));
}

function correct(turn, place) {
  const back = () => {
    under(turn);
    place.querySelector("button")?.focus();
  };
  const text = turn.verdict === "corrected" && turn.reference ? turn.reference : turn.answer;
  place.replaceChildren(correction(text, (answer) => act(turn, () => judge(turn.set, "corrected", answer)).then(() => (turn.reference = answer)), back));
}

function gone(turn, place) {
  const back = () => {
    under(turn);
    place.querySelector("button")?.focus();
  };
  const sure = async () => {
    try {
      await forget(turn.counted ?? turn.set);
      $("chat-text").focus();
      document.dispatchEvent(new Event("changed"));
    } catch (error) {
      under(turn, error.message);
    }
  };
  place.replaceChildren(certain("Forget this for good?", "Forget for good", sure, back));
}

async function act(turn, doing, undo = true) {
  try {
    const done = await doing();
    Object.assign(turn, { verdict: done.verdict, undo: undo && done.verdict !== null, kept: done.verdict ? true : turn.kept, counted: done.verdict ? null : turn.counted });
    keep();
    under(turn, done.message);
    document.dispatchEvent(new Event("changed"));
  } catch (error) {
    under(turn, error.message);
  }
  turn.item().querySelector(".under button")?.focus();
}

// -- asking

async function ask(question) {
  const turn = { question, answer: "", base: null, model: talk.model, set: null, verdict: null, kept: false, counted: null, why: "", failed: CUT };
  const messages = talk.turns.filter((one) => !one.failed).flatMap((one) => [{ role: "user", content: one.question }, { role: "assistant", content: one.answer }]);
  messages.push({ role: "user", content: question });
  talk.turns.push(turn);
  keep();
  $("chat-empty").hidden = true;
  $("chat-turns").append(drawn({ ...turn, failed: "", answer: null }));
  turn.item = ((item) => () => item)($("chat-turns").lastElementChild);
  stream = new AbortController();
  sending(true);
  try {
    if (!talk.model) await refresh(); // asked before the models were known
    turn.model = talk.model;
    const id = await written(turn, "answer", { model: talk.model, messages });
    turn.failed = "";
    keep();
    if (talk.model === "personal" || $("chat-beside").closest("label").hidden) learned(turn, id);
    if (talk.beside && talk.model !== "base" && !$("chat-beside").closest("label").hidden) await written(turn, "base", { model: "base", messages });
  } catch (error) {
    if (turn.failed) turn.failed = error.name === "AbortError" ? "You stopped it." : error.message || CUT;
    turn.item().querySelector(".waits")?.classList.remove("waits");
    under(turn);
  }
  stream = null;
  keep();
  sending(false);
}

/** Have an answer written, piece by piece, and spoken sentence by sentence; its name. */
async function written(turn, name, body) {
  turn[name] = "";
  const text = box(turn, name);
  text.classList.add("waits");
  const headers = { "x-session-id": talk.session, "x-edgepers-task": "", "x-edgepers-learn": talk.learn && name === "answer" ? "yes" : "no" };
  const response = await request("/v1/chat/completions", { method: "POST", body: { ...body, stream: true }, headers, signal: stream.signal });
  let id = null;
  let spoken = 0;
  let ended = false;
  for await (const record of events(response)) {
    if (record.error) throw new Error(record.error.message);
    id ??= record.id;
    const choice = record.choices?.[0];
    turn[name] += choice?.delta?.content ?? "";
    ended ||= Boolean(choice?.finish_reason);
    text.textContent = turn[name];
    follow();
    const end = turn[name].search(/[.!?\n](?=[^.!?\n]*$)/) + 1;
    if (name === "answer" && end > spoken) {
      speak(turn[name].slice(spoken, end));
      spoken = end;
    }
  }
  text.classList.remove("waits");
  if (!ended) throw new Error(CUT);
  if (name === "answer" && spoken < turn[name].length) speak(turn[name].slice(spoken));
  return id;
}

/** The records of a stream of server-sent events. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  while (true) {
    let got;
    try {
      got = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error(CUT);
    }
    if (got.done) return;
    const lines = (rest + got.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:") && line.slice(5).trim() !== "[DONE]") yield JSON.parse(line.slice(5));
    }
  }
}

/** What an answer has become: the set, and whether and why it was kept. */
async function learned(turn, id) {
  for (const wait of LOOKS_MS) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    try {
      const found = await api(`/edgepers/answers/${encodeURIComponent(id)}`);
      Object.assign(turn, { set: found.set, verdict: found.verdict, kept: found.kept, counted: found.counted_on, why: found.why });
      keep();
      under(turn);
      document.dispatchEvent(new Event("changed"));
      return;
    } catch (error) {
      if (error.status !== 404) return;
    }
  }
}

function again(turn) {
  talk.turns = talk.turns.filter((one) => one !== turn);
  drawAll();
  ask(turn.question);
}

function sending(busy) {
  $("chat-send").textContent = busy ? "Stop" : "Send";
  $("chat-new").disabled = busy;
}

function follow() {
  const root = document.scrollingElement;
  if (root.scrollHeight - root.scrollTop - root.clientHeight < 160) root.scrollTop = root.scrollHeight;
}

export function begin() {
  const text = $("chat-text");
  const grow = () => {
    text.rows = Math.min(Math.max(text.value.split("\n").length, 1), 6);
  };
  text.addEventListener("input", grow);
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      if (!stream) $("chat-form").requestSubmit();
    }
  });
  $("chat-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const question = text.value.trim();
    if (stream || !question) return;
    text.value = "";
    grow();
    ask(question);
    document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  });
  $("chat-send").addEventListener("click", (event) => {
    if (stream) {
      event.preventDefault();
      stream.abort();
    }
  });
  $("chat-new").addEventListener("click", () => {
    sessionStorage.removeItem(STORE);
    talk = { ...stored(), model: talk.model, beside: talk.beside };
    $("chat-learn").checked = true;
    keep();
    drawAll();
    text.focus();
  });
  $("chat-model").addEventListener("change", () => {
    talk.model = $("chat-model").value;
    keep();
  });
  $("chat-beside").checked = talk.beside;
  $("chat-beside").addEventListener("change", () => {
    talk.beside = $("chat-beside").checked;
    keep();
  });
  $("chat-learn").checked = talk.learn;
  $("chat-learn").addEventListener("change", () => {
    talk.learn = $("chat-learn").checked;
    keep();
    api(`/edgepers/talks/${talk.session}`, { method: "PUT", body: { learn: talk.learn } }).catch(() => {}); // each request says it, too
  });
  window.addEventListener("pagehide", keep);
  document.addEventListener("forgotten", ({ detail: set }) => {
    talk.turns = talk.turns.filter((turn) => turn.set !== set && turn.counted !== set);
    keep();
    drawAll();
  });
  drawAll();
}

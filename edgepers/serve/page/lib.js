// What all views use: elements, requests, and what is said aloud. Text goes into the page as text, never as HTML.

export const $ = (id) => document.getElementById(id);

const MOST_SPOKEN = 2000; // characters at once
const of = new WeakMap(); // what places are drawn of

/** An element; properties beginning with "on" are listeners, others attributes; children are elements or text. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export const button = (label, onclick, kind = "") => make("button", { type: "button", class: kind || null, onclick }, label);

/** A heading of a text, and the text as it is. */
export const part = (who, text, kind = "") =>
  make("div", { class: `part ${kind}` }, make("p", { class: "who" }, who), make("p", { class: "text long", tabindex: text.length > 900 ? "0" : null }, text));

/** A question, with what was said before it folded away. */
export const asked = ({ earlier, question }) => {
  const shown = part("You", question);
  if (earlier) shown.append(make("details", {}, make("summary", {}, "Earlier in this talk"), make("p", { class: "text long small", tabindex: "0" }, earlier)));
  return shown;
};

export const STAGES = { annotate: "reading what you said", synthesize: "preparing", train: "training", guard: "checking what it learned" };

/** What a round that is under way is doing. */
export function doing({ round_stage: stage, round_seconds_left: left }) {
  return `${STAGES[stage] ?? "under way"}${left === null ? "" : `, about ${Math.ceil(left)} s left`}`;
}

/** What the server refuses; `status` is HTTP's, 0 where it does not answer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export const AWAY = "The server does not answer.";

/** A response of the server's.  Throws Refused. */
export async function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const options = { method, headers, signal };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers = { "content-type": "application/json", ...headers };
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, AWAY);
  }
  if (response.ok) return response;
  if (response.status === 401) document.dispatchEvent(new Event("locked"));
  const said = await response.json().catch(() => null);
  throw new Refused(response.status, said?.error?.message ?? `The server answers with status ${response.status}.`);
}

/** The same, read as JSON. */
export const api = async (path, options) => (await request(path, options)).json();

/** Say something to who hears the page; a text without end in part, since the rest is there to be read. */
export function speak(text) {
  $("spoken").textContent = text.length > MOST_SPOKEN ? `${text.slice(0, MOST_SPOKEN)} …` : text;
}

/** Whether elements are already drawn of these values. Where they are, they are left alone, and with them the focus. */
export function alreadyDrawn(place, ...values) {
  const now = JSON.stringify(values);
  const same = of.get(place) === now;
  of.set(place, now);
  return same;
}

/** Whether something is being written or asked in a place; what is under a person's hand is not drawn anew. */
export const inUse = (place) => place.querySelector("form, [role=group]") !== null;

/** A line over the page; it goes by itself where it is not to stay. */
export function notice(text, stays = false) {
  $("notice").textContent = text;
  clearTimeout(notice.timer);
  if (!stays) notice.timer = setTimeout(() => ($("notice").textContent = ""), 4000);
}

export function bytes(count) {
  for (const unit of ["B", "KB", "MB"]) {
    if (count < 1000) return `${unit === "B" ? count : count.toFixed(count < 10 ? 1 : 0)} ${unit}`;
    count /= 1000;
  }
  return `${count.toFixed(2)} GB`;
}

export const number = (value, digits = 2) => (value === null || value === undefined ? "–" : value.toFixed(digits));

export const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// What an owner can say of a set, by the set's number: good, correct it, skip, forget, undo.

import { api, button, make } from "./lib.js";

export const judge = (set, verdict, answer) =>
  api(`/edgepers/sets/${set}/verdict`, { method: "POST", body: answer === undefined ? { verdict } : { verdict, answer } });

export const takeBack = (set) => api(`/edgepers/sets/${set}/verdict`, { method: "DELETE" });

export async function forget(set) {
  const done = await api("/edgepers/forget", { method: "POST", body: { set } });
  document.dispatchEvent(new CustomEvent("forgotten", { detail: set }));
  return done;
}

/** A form for what the answer should have been; `save` is given the text, `cancel` nothing. */
export function correction(text, save, cancel) {
  const area = make("textarea", { rows: "3", required: true, "aria-label": "What it should have said" });
  area.value = text;
  const send = async (event) => {
    event.preventDefault();
    if (area.value.trim()) await save(area.value.trim());
  };
  const form = make(
    "form",
    { class: "fix", onsubmit: send },
    area,
    make("div", { class: "verbs" }, make("button", { class: "main" }, "Save"), button("Cancel", cancel)),
  );
  form.addEventListener("keydown", (event) => event.key === "Escape" && cancel());
  queueMicrotask(() => area.focus());
  return form;
}

/** A question before what cannot be undone. */
export function certain(question, label, act, cancel) {
  const yes = button(label, act, "bad");
  const box = make("div", { class: "verbs", role: "group", "aria-label": question }, make("span", {}, question), yes, button("Keep", cancel));
  box.addEventListener("keydown", (event) => event.key === "Escape" && cancel());
  queueMicrotask(() => yes.focus());
  return box;
}

/** The mark of a verdict; null where there is none. */
export function mark(verdict) {
  const words = { good: "Good", corrected: "Corrected", bad: "Wrong" };
  return verdict ? make("span", { class: verdict === "bad" ? "mark no" : "mark" }, words[verdict]) : null;
}

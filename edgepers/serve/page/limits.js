// What is taken of storage, memory and energy, and how hot the device is.

import { $, api, bytes, make } from "./lib.js";

export async function refresh() {
  const now = await api("/edgepers/budgets");
  const energy = now.energy_joules;
  $("limits-body").replaceChildren(
    share("Storage", now.storage_bytes, now.storage_budget_bytes, `${bytes(now.storage_bytes)} of ${bytes(now.storage_budget_bytes)}, at most ${bytes(now.storage_peak_bytes)} so far. With adapters and reports ${bytes(now.state_bytes)}.`, "--storage"),
    share("Memory", now.memory_bytes, now.memory_budget_bytes, `${bytes(now.memory_bytes)} of ${bytes(now.memory_budget_bytes)}, at most ${bytes(now.memory_peak_bytes)} so far.`, "--memory"),
    now.celsius === null
      ? plain("Temperature", "This device does not tell.")
      : share("Temperature", now.celsius, now.most_celsius, `${now.celsius.toFixed(0)} °C. No round begins by itself above ${now.most_celsius.toFixed(0)} °C.`, "--busy-temperature"),
    plain("Energy", energy === null ? "No meter, or not all was metered. edgepers doctor says why." : `${Math.round(energy)} J in ${Math.round(now.energy.seconds)} s (${now.energy.meter.covers}).`),
    ...(now.battery_percent === null ? [] : [plain("Battery", `${now.battery_percent.toFixed(0)} %`)]),
  );
}

export async function look() {
  if (!$("view-limits").hidden) await refresh().catch(() => {});
}

function share(name, value, most, text, option) {
  const bar = make("meter", { "aria-label": name, min: "0", max: most, high: 0.9 * most, value: Math.min(value, most) });
  return make("article", { class: "card" }, make("h2", {}, name), bar, make("p", { class: "figure" }, text), make("p", { class: "small" }, "Set by ", make("code", {}, option), " when the server starts."));
}

const plain = (name, text) => make("article", { class: "card" }, make("h2", {}, name), make("p", { class: "figure" }, text));

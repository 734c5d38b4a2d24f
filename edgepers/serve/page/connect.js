// How to point other programs at this server.

import { $, api, button, make, notice } from "./lib.js";

const HEADERS = '{"X-Edgepers-Task": "{{TASK}}", "X-Session-Id": "{{CHAT_ID}}"}';

export async function refresh() {
  const { upstream, at_upstream: there } = await api("/edgepers/status");
  const personal = there ? (there.name ?? there.model) : "as before";
  const here = location.origin;
  const key = "API key: the server's token; without one, any word.";
  const proxied = upstream
    ? [step("Use this address in place of Ollama's:", here), step("For Ollama's own commands:", `export OLLAMA_HOST=${here}`)]
    : [step("They need the server to stand before Ollama. Start it so:", "edgepers serve --upstream http://127.0.0.1:11434 --model TAG"), step("Then use this address in place of Ollama's:", here)];
  $("connect-body").replaceChildren(
    card("Open WebUI", [
      step("Admin Panel, Settings, Connections, OpenAI API, +. URL:", `${here}/v1`),
      make("li", {}, key),
      step("Headers, which keep titles, tags and searches out of what is learned:", HEADERS),
      make("li", {}, "Save, and choose the model ", make("code", {}, upstream ? personal : "personal"), "."),
      ...(upstream && !there ? [make("li", {}, "The upstream answers as before, until the server is started with --upstream-model NAME.")] : []),
    ]),
    card("Ollama clients", proxied),
    card("Home Assistant", [
      ...(upstream ? [] : [make("li", {}, "Start the server before Ollama, as above.")]),
      step("Settings, Devices & services, Add integration, Ollama. URL:", here),
      make("li", {}, "What the house reports to the model is not learned; what you say is."),
    ]),
    card("Anything with OpenAI's interface", [step("Base URL:", `${here}/v1`), make("li", {}, key), ...(upstream ? [] : [step("Model:", "personal")])]),
    make("p", { class: "small" }, "Programs on other machines or in containers need --host, --token-file and --allow-host when the server starts."),
  );
}

const card = (name, steps) => make("article", { class: "card" }, make("h2", {}, name), make("ol", { class: "steps" }, ...steps));

function step(text, value) {
  const shown = make("pre", {}, value);
  const copy = button("Copy", () => copied(value, shown));
  copy.setAttribute("aria-label", `Copy: ${value}`);
  return make("li", {}, text, make("div", { class: "copied" }, shown, copy));
}

async function copied(value, shown) {
  try {
    await navigator.clipboard.writeText(value);
    notice("Copied.");
  } catch {
    getSelection().selectAllChildren(shown); // over plain http from another machine, browsers give no clipboard
    notice(document.execCommand("copy") ? "Copied." : "Selected; copy it with the keyboard.");
  }
}

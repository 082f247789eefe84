// The system prompt and how answers are drawn. An empty field leaves the choice to the server.

import { load, save } from "./store.js";

const form = document.getElementById("settings-form");

for (const [name, value] of Object.entries(load("settings", {}))) {
  form.elements[name].value = value;
}
form.addEventListener("input", () => save("settings", Object.fromEntries(new FormData(form))));
form.addEventListener("submit", (event) => event.preventDefault());

// Opens the settings at a field that cannot be used.
export function areValid() {
  if (form.checkValidity()) return true;
  document.getElementById("settings").open = true;
  return form.reportValidity();
}

export function systemPrompt() {
  return form.elements.system.value.trim();
}

// Fields of a request.
export function sampling() {
  const fields = {};
  for (const name of ["temperature", "top_p", "max_tokens", "seed"]) {
    const { value } = form.elements[name];
    if (value !== "") fields[name] = Number(value);
  }
  return fields;
}

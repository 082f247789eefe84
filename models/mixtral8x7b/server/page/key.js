// The server's key, where it wants one. It is kept like the conversation: for this tab.

import { load, save } from "./store.js";

const form = document.getElementById("key-form");
const field = document.getElementById("key");

export function theKey() {
  return load("key", "");
}

export function askForKey() {
  form.hidden = false;
  field.focus();
}

export function onKey(use) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    save("key", field.value.trim());
    field.value = "";
    form.hidden = true;
    use();
  });
}

// The conversation as it is shown. Whatever was said goes in as text, never as HTML.

import { spanOf } from "./experts.js";

const NEAR = 40; // pixels from the end, from where the reader is taken along
const NAMES = { user: "You", assistant: "Answer" };
const log = document.getElementById("log");

export class Shown {
  #article = document.createElement("article");
  #text = document.createElement("p");
  #note = document.createElement("small");
  #last = null; // the span of the newest token
  #length = 0; // characters that are shown, as the server counts them

  constructor({ role, content, note, tokens }) {
    this.#article.className = role;
    const heading = document.createElement("h2");
    heading.textContent = NAMES[role];
    this.#article.append(heading, this.#text, this.#note);
    this.add(content, tokens);
    this.setNote(note);
    log.append(this.#article);
    log.scrollTop = log.scrollHeight;
  }

  // Text that goes on, and tokens; each has the text from its place on, to the next one's.
  add(piece, tokens = []) {
    following(() => {
      const characters = [...piece];
      for (const token of tokens) {
        this.#put(characters.splice(0, token.text_offset - this.#length));
        const span = spanOf(token, this.#last === null);
        this.#text.append(span);
        this.#last = span;
      }
      this.#put(characters);
    });
  }

  #put(characters) {
    if (characters.length > 0) (this.#last ?? this.#text).append(characters.join(""));
    this.#length += characters.length;
  }

  setNote(note) {
    following(() => (this.#note.textContent = note ?? ""));
  }

  remove() {
    this.#article.remove();
  }
}

function following(change) {
  const isNear = log.scrollHeight - log.scrollTop - log.clientHeight < NEAR;
  change();
  if (isNear) log.scrollTop = log.scrollHeight;
}

// While it is, a screen reader waits: it then reads the answer as a whole.
export function setBusy(isBusy) {
  log.setAttribute("aria-busy", String(isBusy));
}

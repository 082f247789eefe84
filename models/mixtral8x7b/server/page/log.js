// The conversation as it is shown. Whatever was said goes in as text, never as HTML.

const NEAR = 40; // pixels from the end, from where the reader is taken along
const NAMES = { user: "You", assistant: "Answer" };
const log = document.getElementById("log");

export class Shown {
  #article = document.createElement("article");
  #text = document.createElement("p");
  #note = document.createElement("small");

  constructor({ role, content, note }) {
    this.#article.className = role;
    const heading = document.createElement("h2");
    heading.textContent = NAMES[role];
    this.#text.textContent = content;
    this.#article.append(heading, this.#text, this.#note);
    this.setNote(note);
    log.append(this.#article);
    log.scrollTop = log.scrollHeight;
  }

  add(piece) {
    following(() => this.#text.append(piece));
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

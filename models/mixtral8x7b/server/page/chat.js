// The course of a conversation: send, stream, stop, retry.

import { chunksOf, theModel } from "./api.js";
import { asked, come, recount, setSizes } from "./experts.js";
import { askForKey, onKey, theKey } from "./key.js";
import { setBusy, Shown } from "./log.js";
import { areValid, sampling, systemPrompt } from "./settings.js";
import { watch } from "./status.js";
import { load, save } from "./store.js";

const GONE = "The server does not answer. Retry when it is back.";
const STOPPED = "stopped";
const BROKEN = "broken off";
const CUT = "cut off: no more tokens were allowed";
const byId = (id) => document.getElementById(id);
const field = byId("message");

// {role, content, note, tokens}; note: why an answer is not whole; tokens: of an answer, where experts are told.
let messages = load("messages", []);
let shown = messages.map((message) => new Shown(message));
recount(messages);
let answering = null; // an AbortController while an answer comes

async function answer() {
  const controller = (answering = new AbortController());
  const fields = { messages: toSend(), ...sampling(), ...asked() };
  const message = { role: "assistant", content: "", note: BROKEN, tokens: [] }; // so it is kept by a reload in its midst
  const view = new Shown({ ...message, note: "" });
  messages.push(message);
  shown.push(view);
  say("Answering …");
  showControls();
  let [state, trouble] = ["The answer is complete.", ""];
  try {
    for await (const chunk of chunksOf(fields, theKey(), controller.signal)) {
      const [choice] = chunk.choices;
      const piece = choice.delta.content ?? "";
      message.content += piece;
      const tokens = choice.experts ?? [];
      message.tokens.push(...tokens);
      view.add(piece, tokens);
      come(tokens);
      if (choice.finish_reason) message.note = choice.finish_reason === "length" ? CUT : "";
    }
  } catch (error) {
    if (controller.signal.aborted) [state, message.note] = ["Stopped.", STOPPED];
    else [state, trouble] = ["", told(error)];
  }
  if (answering !== controller) return; // another conversation has begun
  answering = null;
  view.setNote(message.note);
  if (message.content === "" && message.note !== "") dropLast();
  say(state, trouble);
  showControls();
  keep();
}

function toSend() {
  const said = messages.filter(({ content }) => content !== "").map(({ role, content }) => ({ role, content }));
  const system = systemPrompt();
  return system === "" ? said : [{ role: "system", content: system }, ...said];
}

function dropLast() {
  messages.pop();
  shown.pop().remove();
  recount(messages);
}

function send() {
  const content = field.value;
  if (answering || content.trim() === "" || !areValid()) return;
  field.value = "";
  field.focus();
  messages.push({ role: "user", content });
  shown.push(new Shown({ role: "user", content }));
  answer();
}

function retry() {
  if (!areValid()) return;
  if (messages.at(-1).role === "assistant") dropLast();
  field.focus();
  answer();
}

function stop() {
  if (!answering) return;
  answering.abort();
  field.focus();
}

function startAnew() {
  answering?.abort();
  answering = null;
  while (messages.length > 0) dropLast();
  say("");
  showControls();
  keep();
  field.focus();
}

function say(state, trouble = "") {
  byId("state").textContent = state;
  byId("trouble").textContent = trouble;
}

// What the user is told of an error.
function told(error) {
  if (error.status === 401) {
    askForKey();
    return "The server wants its key: give it above.";
  }
  if (error.status === undefined) {
    console.error(error);
    return "The page failed at this. Retry, or reload the page.";
  }
  return error.message;
}

function showControls() {
  const isBusy = answering !== null;
  byId("send").hidden = isBusy;
  byId("stop").hidden = !isBusy;
  byId("retry").hidden = isBusy || messages.length === 0;
  setBusy(isBusy);
}

function keep() {
  const bare = messages.map(({ role, content, note }) => ({ role, content, note }));
  if (save("messages", messages) || save("messages", bare)) return;
  say("", "The browser has no room for more of this chat: a reload would lose it.");
}

// Learns the model's name.
async function greet() {
  try {
    const model = await theModel(theKey());
    byId("model").textContent = document.title = model.id;
    setSizes(model.experts);
  } catch (error) {
    say("", told(error));
  }
}

byId("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
field.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") stop();
});
byId("stop").addEventListener("click", stop);
byId("retry").addEventListener("click", retry);
byId("new").addEventListener("click", startAnew);
addEventListener("pagehide", keep);

showControls();
onKey(() => {
  say("");
  greet();
});
greet();
watch((isThere) => {
  if (answering) return; // the answer itself tells how it ends
  if (isThere) {
    say("The server answers again.");
    greet();
  } else {
    say("", GONE);
  }
});

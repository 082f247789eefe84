// The server, asked over HTTP. Addresses are relative, so that the page also works below a path of a proxy.

import { load, save } from "./store.js";

// Of this tab: where several servers stand behind one address, the one that has its conversation gets its questions.
const session = load("session", "") || `page-${Math.random().toString(36).slice(2)}`;
save("session", session);

// message: a sentence for the user. status: of HTTP; 0: there was no answer, or it broke off.
export class Refusal extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

// The one model: {id, max_model_len, ...}. Throws Refusal.
export async function theModel(key) {
  const response = await ask("v1/models", { headers: headersOf(key) });
  return (await response.json()).data[0];
}

// Chunks of a chat completion as they come, parsed. Throws Refusal; AbortError when signal says so.
export async function* chunksOf(fields, key, signal) {
  const body = JSON.stringify({ ...fields, stream: true });
  const headers = { ...headersOf(key), "Content-Type": "application/json", "X-Session-Id": session };
  const response = await ask("v1/chat/completions", { method: "POST", headers, body, signal });
  for await (const data of eventsOf(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new Refusal(sentence(chunk.error.message), 0);
    yield chunk;
  }
  throw new Refusal("The answer broke off. Retry to ask again.", 0);
}

// Figures by name, summed over labels. Throws Refusal.
export async function metrics() {
  const text = await (await ask("metrics", {})).text();
  const figures = new Map();
  for (const [, name, value] of text.matchAll(/^([\w:]+)(?:\{.*\})? (\S+)/gm)) {
    figures.set(name, (figures.get(name) ?? 0) + Number(value));
  }
  return figures;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(path, { cache: "no-store", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The server does not answer. Retry when it is back.", 0);
  }
  if (!response.ok) throw new Refusal(await reasonOf(response), response.status);
  return response;
}

async function reasonOf(response) {
  try {
    return sentence((await response.json()).error.message);
  } catch {
    return `The server answered ${response.status}.`; // a proxy's page, say
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const events = (rest + value).split("\n\n");
      rest = events.pop();
      for (const event of events) yield event.replace(/^data: /, "");
    }
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refusal("The answer broke off: the server is gone. Retry when it is back.", 0);
  } finally {
    reader.cancel().catch(() => {});
  }
}

function headersOf(key) {
  return key ? { Authorization: `Bearer ${key}` } : {};
}

function sentence(message) {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
}

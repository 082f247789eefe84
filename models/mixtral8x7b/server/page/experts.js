// Which experts answer: one token's as a field, a column for each layer and a row for each expert; and every expert's
// share of the conversation. A token: {token, text_offset, layers}; layers: of each its experts, or null.

const byId = (id) => document.getElementById(id);
const [field, shares, log] = ["field", "shares", "log"].map(byId);
const tokenOf = new WeakMap(); // by the span that shows its text
let sizes = null; // {layers, experts, per_token}; null: the server tells of none
let counts = []; // by expert, how often it was chosen
let [newest, focused, hovered] = [null, null, null];

// Those of the server's model, if it tells which experts answer: else there is nothing to see.
export function setSizes(told) {
  sizes = told ?? null;
  byId("experts").hidden = sizes === null;
  if (sizes === null) return;
  field.style.setProperty("--layers", sizes.layers);
  field.replaceChildren(...several(sizes.layers * sizes.experts, "i"));
  shares.replaceChildren(...several(sizes.experts, "li"));
  showToken();
  showShares();
}

// Fields of a request: who has closed the field does not ask.
export function asked() {
  return sizes !== null && byId("experts").open ? { experts: true } : {};
}

export function come(tokens) {
  count(tokens);
  newest = tokens.at(-1) ?? newest;
  showToken();
  showShares();
}

export function recount(messages) {
  counts = [];
  newest = focused = hovered = null;
  come(messages.flatMap(({ tokens }) => tokens ?? []));
}

// Where a token's text goes. One of an answer's can be reached with Tab, from there the others with arrow keys.
export function spanOf(token, isFirst) {
  const span = document.createElement("span");
  span.className = "token";
  span.tabIndex = isFirst ? 0 : -1;
  span.setAttribute("aria-describedby", "told");
  tokenOf.set(span, token);
  return span;
}

function count(tokens) {
  for (const expert of tokens.flatMap(({ layers }) => (layers ?? []).flat())) {
    counts[expert] = (counts[expert] ?? 0) + 1;
  }
}

function showToken() {
  if (sizes === null) return;
  const token = hovered ?? focused ?? newest;
  for (const cell of field.querySelectorAll(".on")) cell.className = "";
  for (const [layer, chosen] of (token?.layers ?? []).entries()) {
    for (const [rank, expert] of chosen.entries()) {
      const cell = field.children[expert * sizes.layers + layer];
      if (cell) cell.className = rank === 0 ? "on first" : "on";
    }
  }
  byId("caption").textContent = token ? `“${token.token}”${token.layers ? "" : ": drawn with the prompt"}` : "–";
  byId("told").textContent = inWords(token);
}

function inWords(token) {
  if (!token) return "No token yet.";
  if (!token.layers) return `Token “${token.token}”: drawn with the prompt, experts are not told.`;
  const layers = token.layers.map((chosen, layer) => `layer ${layer}: ${chosen.join(", ")}`);
  return `Experts of the token “${token.token}”: ${layers.join("; ")}.`;
}

function showShares() {
  const all = counts.reduce((sum, n) => sum + (n ?? 0), 0);
  const most = counts.reduce((largest, n) => Math.max(largest, n ?? 0), 1);
  for (const [expert, item] of [...shares.children].entries()) {
    const n = counts[expert] ?? 0;
    item.textContent = `${expert}: ${((100 * n) / Math.max(1, all)).toFixed(1)} %`;
    item.style.setProperty("--part", n / most);
  }
}

function several(n, name) {
  return Array.from({ length: n }, () => document.createElement(name));
}

function look(event) {
  const token = tokenOf.get(event.target) ?? null;
  if (event.type === "pointerover") hovered = token;
  else focused = token;
  showToken();
}

function lookAway(event) {
  if (event.type === "pointerleave") hovered = null;
  else focused = null;
  showToken();
}

function move(event) {
  if (!tokenOf.has(event.target)) return;
  const all = [...event.target.parentElement.querySelectorAll(".token")];
  const here = all.indexOf(event.target);
  const next = { ArrowLeft: here - 1, ArrowRight: here + 1, Home: 0, End: all.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  if (!all[next]) return;
  event.target.tabIndex = -1;
  all[next].tabIndex = 0;
  all[next].focus();
}

for (const type of ["pointerover", "focusin"]) log.addEventListener(type, look);
for (const type of ["pointerleave", "focusout"]) log.addEventListener(type, lookAway);
log.addEventListener("keydown", move);

// The strip of figures, from /metrics.

import { metrics } from "./api.js";

const EVERY_MS = 1000;
let before = null; // tokens and when they were counted

// Calls onChange with true when the server answers again, with false when it no longer does.
export function watch(onChange) {
  let isThere = null;
  async function look() {
    let figures = null;
    if (!document.hidden) {
      try {
        figures = await metrics();
      } catch {
        before = null;
      }
      show(figures);
      const isNow = figures !== null;
      if (isNow !== (isThere ?? true)) onChange(isNow);
      isThere = isNow;
    }
    setTimeout(look, EVERY_MS);
  }
  look();
}

function show(figures) {
  const get = (name) => figures.get(`vllm:${name}`) ?? 0;
  const put = (id, text) => (document.getElementById(id).textContent = figures ? text() : "–");
  put("users", () => get("num_requests_running"));
  put("queue", () => get("num_requests_waiting"));
  put("speed", () => speed(get("generation_tokens_total")));
  put("kv", () => percent(get("kv_cache_usage_perc")));
  put("hits", () => percent(get("prefix_cache_hits_total") / Math.max(1, get("prefix_cache_queries_total"))));
}

function speed(tokens) {
  const now = { tokens, ms: performance.now() };
  const last = before ?? now;
  before = now;
  return now.ms > last.ms ? Math.round((1000 * (now.tokens - last.tokens)) / (now.ms - last.ms)) : 0;
}

function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

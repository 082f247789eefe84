"""/metrics, in Prometheus' form, under the names that vLLM's dashboards and routers know."""

from collections.abc import Iterator

from fastapi import APIRouter
from fastapi.responses import Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from models.mixtral8x7b.engine.interface import EngineInterface
from models.mixtral8x7b.engine.stats import Stats
from models.mixtral8x7b.engine.stream import Finish

_SHORT = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_LONG = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920)
_TOKENS = tuple(2**power for power in range(15))  # of a pass or a step: to 16384, the largest pass
_REASONS = ("stop", "length", "abort", "error")


class Metrics:
    """One engine's, with a registry of its own. Used in the event loop's thread."""

    def __init__(self, engine: EngineInterface, model_name: str) -> None:
        self._registry, self._labels = CollectorRegistry(), {"model_name": model_name}
        self._registry.register(_OfTheEngine(engine, model_name))
        self._first = self._histogram("time_to_first_token_seconds", "From arrival to the first token.", _SHORT)
        self._between = self._histogram("inter_token_latency_seconds", "Between two tokens of an answer.", _SHORT)
        self._per_token = self._histogram("request_time_per_output_token_seconds", "Mean, by answer.", _SHORT)
        self._whole = self._histogram("e2e_request_latency_seconds", "From arrival to the end.", _LONG)
        self._queue = self._histogram("request_queue_time_seconds", "From arrival to a row.", _LONG)
        self._prefill = self._histogram("request_prefill_time_seconds", "From a row to the first token.", _LONG)
        self._decode = self._histogram("request_decode_time_seconds", "From the first token to the end.", _LONG)
        names = ("model_name", "finished_reason")
        self._ended = Counter("vllm:request_success", "Answers that have ended.", names, registry=self._registry)
        for reason in _REASONS:
            self._ended.labels(finished_reason=reason, **self._labels)

    def count_tokens(self, n: int, seconds: float) -> None:
        """n tokens came, so long after the last."""
        for _ in range(n):
            self._between.observe(seconds / n)

    def count_answer(self, finish: Finish, reason: str, n_new: int) -> None:
        self._ended.labels(finished_reason=reason, **self._labels).inc()
        self._whole.observe(finish.total_s)
        if finish.started_s is None or finish.first_token_s is None:
            return
        decode_s = finish.total_s - finish.first_token_s
        self._queue.observe(finish.started_s)
        self._first.observe(finish.first_token_s)
        self._prefill.observe(finish.first_token_s - finish.started_s)
        self._decode.observe(decode_s)
        if n_new > 1:
            self._per_token.observe(decode_s / (n_new - 1))

    def count_loss(self, reason: str) -> None:
        self._ended.labels(finished_reason=reason, **self._labels).inc()

    def text(self) -> bytes:
        return generate_latest(self._registry)

    def _histogram(self, name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
        kind = Histogram(f"vllm:{name}", says, tuple(self._labels), buckets=buckets, registry=self._registry)
        return kind.labels(**self._labels)


class _OfTheEngine(Collector):
    """What the engine counts, read when somebody looks."""

    def __init__(self, engine: EngineInterface, model_name: str) -> None:
        self._engine, self._model_name = engine, model_name

    def collect(self) -> Iterator[Metric]:
        stats = self._engine.stats()
        n_blocks = stats.n_free_blocks + stats.n_cached_blocks + stats.n_held_blocks
        gauges = {
            "num_requests_running": (stats.n_prefilling + stats.n_decoding, "Requests that have a row."),
            "num_requests_waiting": (stats.n_waiting, "Requests without a row."),
            "kv_cache_usage_perc": (stats.n_held_blocks / max(1, n_blocks), "Share of the KV blocks in use, 1 is all."),
        }
        counters = {
            "prompt_tokens": (stats.prompt_tokens, "Of prompts that have had a row."),
            "prompt_tokens_cached": (stats.cached_tokens, "Of these, found in the prefix cache."),
            "prefix_cache_queries": (stats.prompt_tokens, "Tokens that were looked for in the prefix cache."),
            "prefix_cache_hits": (stats.cached_tokens, "Tokens that were found there."),
            "generation_tokens": (stats.new_tokens, "New tokens."),
            "num_preemptions": (stats.preemptions, "Requests that had to give their row back."),
        }
        for name, (value, says) in gauges.items():
            gauge = GaugeMetricFamily(f"vllm:{name}", says, labels=["model_name"])
            gauge.add_metric([self._model_name], value)
            yield gauge
        for name, (value, says) in counters.items():
            counter = CounterMetricFamily(f"vllm:{name}", says, labels=["model_name"])
            counter.add_metric([self._model_name], value)
            yield counter
        says = "Tokens of a prefill pass or a decode step, padding left out."
        turns = HistogramMetricFamily("vllm:iteration_tokens_total", says, labels=["model_name"])
        turns.add_metric([self._model_name], _up_to(stats), stats.prefilled_tokens + stats.step_tokens)
        yield turns


def _up_to(stats: Stats) -> list[tuple[str, float]]:
    """How many passes and steps had at most so many tokens, in Prometheus' form."""
    found = [(str(float(most)), sum(n for size, n in stats.turns.items() if size <= most)) for most in _TOKENS]
    return [*found, ("+Inf", sum(stats.turns.values()))]


def metric_routes(metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.get("/metrics")
    async def tell() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return router

"""What servers call the same thing on their ``/metrics`` pages, and which of a page's samples are kept.

Sources of the names: llama.cpp ``tools/server``, vLLM ``v1/metrics``, text-generation-inference ``router``, SGLang
``metrics_collector``, ``langgraph-api``, and the Prometheus client libraries' own ``process_…``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

MOST_OTHERS = 32
"""Samples kept besides the known ones."""
LONGEST_NAME = 120
NOISE = ("python_", "go_", "promhttp_", "target_info", "otel_")
"""Of the interpreter and of the library that makes the page: nothing of what is served."""


@dataclass(frozen=True, slots=True)
class Known:
    """A series that several servers show.

    ``names`` are theirs.  ``how`` their samples combine, over labels and servers: the ``sum``, or the ``largest``;
    ``scale`` turns their unit into the series'.  ``counts``: a counter, shown as what came since the phase began.
    ``rate``: a counter, shown as its increase a second.
    """

    series: str
    names: tuple[str, ...]
    how: Literal["sum", "largest"] = "sum"
    scale: float = 1.0
    counts: bool = False
    rate: bool = False


KNOWN = (
    Known(
        "requests_running",
        (
            "llamacpp:requests_processing",
            "vllm:num_requests_running",
            "sglang:num_running_reqs",
            "tgi_batch_current_size",
            "perfsuite_requests_in_flight",
            "lg_api_workers_active",
        ),
    ),
    Known(
        "requests_waiting",
        (
            "llamacpp:requests_deferred",
            "vllm:num_requests_waiting",
            "sglang:num_queue_reqs",
            "tgi_queue_size",
        ),
    ),
    Known(
        "kv_cache_percent",
        (
            "llamacpp:kv_cache_usage_ratio",
            "vllm:kv_cache_usage_perc",
            "vllm:gpu_cache_usage_perc",
            "sglang:token_usage",
        ),
        how="largest",
        scale=100.0,
    ),
    Known(
        "prompt_tokens",
        (
            "llamacpp:prompt_tokens_total",
            "vllm:prompt_tokens_total",
            "sglang:prompt_tokens_total",
            "tgi_request_input_length_sum",
            "perfsuite_prompt_tokens_total",
        ),
        counts=True,
    ),
    Known(
        "completion_tokens",
        (
            "llamacpp:tokens_predicted_total",
            "vllm:generation_tokens_total",
            "sglang:generation_tokens_total",
            "tgi_request_generated_tokens_sum",
            "perfsuite_completion_tokens_total",
        ),
        counts=True,
    ),
    Known(
        "cached_prompt_tokens",
        (
            "llamacpp:prompt_tokens_cached_total",
            "vllm:prompt_tokens_cached_total",
            "vllm:prefix_cache_hits_total",
            "vllm:gpu_prefix_cache_hits_total",
            "sglang:cached_tokens_total",
        ),
        counts=True,
    ),
    Known("cpu_percent", ("process_cpu_seconds_total",), scale=100.0, rate=True),
    Known("resident_bytes", ("process_resident_memory_bytes",)),
)
"""Of one server's names for a series the first that a page has counts: some keep an old name beside a new one."""

RUNNING = "requests_running"
WAITING = "requests_waiting"


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample of a page: its name, its labels as text (empty, or ``{…}``), its value."""

    name: str
    labels: str
    value: float


class Page:
    """Reads one server's page again and again; after the first time only the lines that are kept are parsed."""

    def __init__(self) -> None:
        self._kept: re.Pattern[str] | None = None

    def read(self, text: str) -> list[Sample]:
        """The samples that are kept, of finite value.  Raises ValueError for what is no Prometheus text."""
        if self._kept is None:
            found = _samples(text)
            if not found:
                raise ValueError("there is no sample in it")
            names = _chosen(found)
            # By name, for a label's new value may come later.
            self._kept = re.compile(rf"^(?:{'|'.join(sorted(map(re.escape, names)))})[ \t{{].*$", re.MULTILINE)
        return _finite(_samples("\n".join(self._kept.findall(text)) + "\n"))


def _samples(text: str) -> list[tuple[str, Sample]]:
    """(type, sample) of everything that is a plain number: a histogram's buckets and the times of creation are not."""
    from prometheus_client.parser import text_string_to_metric_families

    families: Iterable[Metric] = text_string_to_metric_families(text)
    return [
        (family.type, Sample(one.name, _labels(one.labels), float(one.value)))
        for family in families
        for one in family.samples
        if not one.name.endswith(("_bucket", "_created")) and "quantile" not in one.labels
        if not one.name.startswith(NOISE)
    ]


def _labels(labels: Mapping[str, str]) -> str:
    told = [f"{name}={value}" for name, value in sorted(labels.items()) if value and not name.startswith(NOISE)]
    return f"{{{','.join(told)}}}" if told else ""


def _chosen(found: Iterable[tuple[str, Sample]]) -> set[str]:
    """The known names, and of the others gauges before counters before the rest, as many as are kept."""
    known = {name for one in KNOWN for name in one.names}
    order = ("gauge", "counter")
    rest = sorted(
        ((order.index(kind) if kind in order else len(order), sample.name) for kind, sample in found),
        key=lambda pair: pair[0],
    )
    others = dict.fromkeys(name for _, name in rest if name not in known)
    return known | set(list(others)[:MOST_OTHERS])


def _finite(found: Iterable[tuple[str, Sample]]) -> list[Sample]:
    return [sample for _, sample in found if abs(sample.value) < float("inf")]


def known_values(samples: Iterable[Sample]) -> Iterator[tuple[Known, float]]:
    """The known series that one server's page has, in their own unit, labels combined."""
    by_name: dict[str, list[float]] = {}
    for sample in samples:
        by_name.setdefault(sample.name, []).append(sample.value)
    for one in KNOWN:
        name = next((name for name in one.names if name in by_name), None)
        if name is not None:
            values = by_name[name]
            yield one, one.scale * (sum(values) if one.how == "sum" else max(values))


def other_values(samples: Iterable[Sample]) -> Iterator[tuple[str, float]]:
    """The samples that are no known series, by name and labels; at most MOST_OTHERS."""
    known = {name for one in KNOWN for name in one.names}
    others = [sample for sample in samples if sample.name not in known]
    for sample in others[:MOST_OTHERS]:
        text = f"{sample.name}{sample.labels}"
        yield text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…", sample.value

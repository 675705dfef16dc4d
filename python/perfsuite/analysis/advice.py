"""Recommendations: the documents' common issues and troubleshooting, each only where a figure points to it.

An issue is a row of ``ISSUES``: the figures that point to it (conditions over a phase) and what to do.  No figure, no
advice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from perfsuite.analysis.ranking import margin
from perfsuite.analysis.scaling import CLASSES
from perfsuite.metric import labelled
from perfsuite.result import MetricResult, PhaseResult, Recommendation
from perfsuite.stats.intervals import nearest_rank
from perfsuite.units import figure, goal

Sign = tuple[str, str]
"""What points to an issue: the figure in words, and the metric (``phase.metric``) that it is."""

_LENGTH = re.compile(
    r"context.{0,40}(length|size|window|exceed)|(exceed|maximum).{0,60}context|(prompt|input) is too long"
)

BUSY = 0.9
"""A share of the CPU or the memory of the machine above which others than the system under test shape the figures."""


@dataclass(frozen=True, slots=True)
class Issue:
    """A known issue: its name, what to do about it, and what points to it in a phase."""

    name: str
    remedy: str
    signs: Callable[[PhaseResult], Iterable[Sign]]


def advise(phases: Sequence[PhaseResult]) -> list[Recommendation]:
    """A recommendation for each issue that figures of the run point to, in the order of ``ISSUES``."""
    found = []
    for issue in ISSUES:
        signs = [sign for phase in phases for sign in issue.signs(phase)]
        if signs:
            figures = "; ".join(dict.fromkeys(text for text, _ in signs))
            because = list(dict.fromkeys(name for _, name in signs))
            found.append(Recommendation(text=f"{issue.name}: {figures}. {issue.remedy}", because=because))
    return found


def _misses(*names: str) -> Callable[[PhaseResult], Iterable[Sign]]:
    """Metrics that failed their criterion."""

    def signs(phase: PhaseResult) -> Iterable[Sign]:
        return [_sign(phase, m) for m in phase.metrics if m.name in names and m.verdict == "failed"]

    return signs


def _sign(phase: PhaseResult, m: MetricResult) -> Sign:
    return f"{_figure(m)} in {phase.name}", f"{phase.name}.{m.name}"


def _figure(m: MetricResult) -> str:
    name = labelled(m.name, m.stat)
    if m.value is None:
        return f"{name} was not measured"
    value = ("over " if m.censored else "") + figure(m.value, m.unit)
    wanted = f" (wanted {m.comparison} {goal(m.target, m.unit)})" if m.target is not None else ""
    return f"{name} is {value}{wanted}"


def _kinds(*kinds: str) -> Callable[[PhaseResult], Iterable[Sign]]:
    """Failed requests of these kinds."""

    def signs(phase: PhaseResult) -> Iterable[Sign]:
        for error in phase.errors:
            if error.count and any(error.kind == kind or error.kind.startswith(kind + "_") for kind in kinds):
                yield (
                    f"{error.count:,} failed requests of kind {error.kind} in {phase.name}",
                    f"{phase.name}.error_rate",
                )

    return signs


def _slow(phase: PhaseResult) -> Iterable[Sign]:
    """Responses over their criterion, or over the guide's five seconds where they have none."""
    for m in phase.metrics:
        if m.name != "response_time" or m.value is None:
            continue
        gap = margin(m)
        # A mean may have failed for the errors beside it, and be fast.
        if (gap is None and m.value > 5000.0) or (gap is not None and gap < 0.0 and m.verdict == "failed"):
            yield _sign(phase, m)


def _queueing(phase: PhaseResult) -> Iterable[Sign]:
    """Waiting that the service itself does not see: response time far above service time."""
    response, service = phase.metric("response_time"), phase.metric("service_time")
    if response and service and response.stats and service.stats and response.stats.p95 and service.stats.p95:
        waited, served = response.stats.p95, service.stats.p95
        if waited > 2.0 * served and response.verdict in ("failed", "undecided"):
            shown = f"{figure(waited, 'ms')} from due, {figure(served, 'ms')} from the send"
            yield f"p95 in {phase.name} is {shown}", f"{phase.name}.response_time"


def _undelivered(phase: PhaseResult) -> Iterable[Sign]:
    """Less was sent than was asked for."""
    # What fell due: a ramp's is less than the rate that it climbs to.
    wanted, got = phase.delivered.get("due_rate") or phase.requested.get("rate"), phase.delivered.get("rate")
    if isinstance(wanted, int | float) and isinstance(got, int | float) and wanted > 0 and got < 0.95 * wanted:
        yield f"{got:.3g} of {wanted:.3g} requests/s were delivered in {phase.name}", f"{phase.name}.response_time"


def _contended(phase: PhaseResult) -> Iterable[Sign]:
    """The whole machine was busy: resources named host…cpu… or host…memory… in shares or per cent."""
    for name, resource in phase.resources.items():
        scale = {"ratio": 1.0, "%": 100.0}.get(resource.unit)
        if scale is None or not name.startswith("host") or not ("cpu" in name or "memory" in name):
            continue
        values = sorted(value / scale for _, value in resource.series if value is not None)
        if len(values) >= 3 and (median := values[nearest_rank(len(values), 0.5) - 1]) > BUSY:
            timed = [m.name for m in phase.metrics if m.unit == "ms" and m.value is not None]
            concerned = "response_time" if "response_time" in timed or not timed else timed[0]
            yield f"{name} was at {median:.0%} for half of {phase.name}", f"{phase.name}.{concerned}"


def _late(phase: PhaseResult) -> Iterable[Sign]:
    """The measuring side itself was late."""
    late, requests = phase.delivered.get("late_sends"), phase.delivered.get("requests")
    if isinstance(late, int) and isinstance(requests, int) and requests and late > 0.05 * requests:
        yield f"{late:,} of {requests:,} requests were sent late in {phase.name}", f"{phase.name}.response_time"


def _too_long(phase: PhaseResult) -> Iterable[Sign]:
    """Refused for their length."""
    for error in phase.errors:
        text = next((text for text in error.first if _LENGTH.search(text.lower())), None)
        if error.kind == "http_4xx" and text is not None:
            yield f'"{text}" in {phase.name}', f"{phase.name}.error_rate"


def _traced(phase: PhaseResult) -> Iterable[Sign]:
    """The line that holds most of what a leak left, where lines were asked for."""
    found = phase.metric("leak_slope")
    lines = found.details.get("lines") if found is not None and found.verdict == "failed" else None
    if isinstance(lines, list) and lines:
        yield f"{lines[0]} in {phase.name}", f"{phase.name}.leak_slope"


def _any(*conditions: Callable[[PhaseResult], Iterable[Sign]]) -> Callable[[PhaseResult], Iterable[Sign]]:
    return lambda phase: [sign for condition in conditions for sign in condition(phase)]


ISSUES: tuple[Issue, ...] = (
    Issue(
        "Memory spikes",
        "Check for memory leaks, verify that contexts are cleaned up and models unloaded, review the compression "
        "settings, validate cache eviction; trim earlier (a lower trim_threshold) or keep fewer pairs "
        "(max_history_pairs).",
        _misses("memory_usage", "memory_growth"),
    ),
    Issue(
        "Memory leak",
        "Run perfsuite chat-loop leaks --trace: it names the lines that allocate what stays. Bound every cache, let go "
        "of what a turn no longer needs (_cleanup_memory), and look again.",
        _any(_misses("leak_slope"), _traced),
    ),
    Issue(
        "High memory of conversations",
        "Trim earlier (trim_threshold = 1.2), keep fewer pairs (max_history_pairs = 50), and clean up more "
        "(gc.collect() and clearing caches in _cleanup_memory).",
        _misses(
            "conversation_memory",
            "history_share",
            "trim_efficiency",
            "growth_100",
            "growth_10000",
            *(f"scale_memory_{row.name}" for row in CLASSES),
        ),
    ),
    Issue(
        "Trimming takes much of the time",
        "Trim less often: a lower safe_trim_level leaves more room until the next trim, a higher trim_threshold too.",
        _misses("untrimmed_time", "memory_trimming"),
    ),
    Issue(
        "Slow model",
        "Raise llm_timeout_s (30 s) if its answers are worth waiting for; else optimise the model's configuration: a "
        "smaller model, fewer output tokens, a shorter history.",
        _misses("llm_invocation"),
    ),
    Issue(
        "Slow tools",
        "Optimise the tools or cache what they give; run those of one answer at the same time (parallel_tools), and "
        "give them a time-out (tool_timeout_s).",
        _misses("tool_execution", "tool_execution_parallel"),
    ),
    Issue(
        "Slow context",
        "Keep what was looked up (context_cache_size), leave it out for short messages (override _inject_context) or "
        "when it is slow (context_mode = auto), and await arun_iteration, which looks it up in another thread.",
        _misses("context_injection"),
    ),
    Issue(
        "Slow handling of messages",
        "Run perfsuite chat-loop profile, and optimise what it shows to be dearest; allow shorter messages only "
        "(max_input_length).",
        _misses(
            "input_validation",
            "content_sanitization",
            "complete_iteration",
            *(f"scale_cpu_{row.name}" for row in CLASSES),
        ),
    ),
    Issue(
        "Not sound under stress",
        "Read what went wrong under the phase's events: refuse what is too large, take control characters out, and let "
        "no tool end a turn.",
        _misses("stress_failures"),
    ),
    Issue(
        "Slow model switching",
        "Check the model cache's configuration, verify memory management when a model is released, review what "
        "context is carried over, and tune the token windows of both models.",
        _misses("model_switch_time", "switch_overhead", "resource_reallocation"),
    ),
    Issue(
        "Context loss",
        "Verify the compression settings, check the context window's limit (--max-window-size) and the token budget, "
        "review which messages are preserved, and validate clean-up procedures.",
        _misses("context_preservation", "context_accuracy", "context_relevance", "context_recall"),
    ),
    Issue(
        "Compression",
        "Check the thresholds (--compression-ratio 0.5 --min-savings 0.3), verify how memory is laid out beside the "
        "payloads, review the codec and its strength, monitor recovery and validate the integrity of what comes back.",
        _misses(
            "compression_ratio", "compression_efficiency", "memory_savings", "decompression_time", "recovery_accuracy"
        ),
    ),
    Issue(
        "Token management",
        "Tune the token window (--max-window-size 4096 --optimization-threshold 0.8); check that the counter counts "
        "the chat template's own tokens and that truncation keeps to the budget.",
        _misses("window_optimization", "token_counting_accuracy", "truncation_time", "budget_compliance"),
    ),
    Issue(
        "Cache",
        "Validate the cache's size against the number of distinct look-ups, and its eviction; warm it up before "
        "measuring.",
        _misses("cache_hit_rate"),
    ),
    Issue(
        "Time-outs",
        "Raise --request-timeout if the answers are worth waiting for, --timeout if a phase was cut short; else look "
        "for what the slow requests have in common: the model's own time-out, tools without a cache, long histories.",
        _kinds("timeout"),
    ),
    Issue(
        "Slow responses",
        "Optimise or cache what surrounds the model (context injection, tools), lower max_history_pairs, and see "
        "under resources whether the CPU or memory is used up.",
        _slow,
    ),
    Issue(
        "Queueing",
        "Requests wait before they are served: raise the service's concurrency, or ask for a rate that it can deliver.",
        _any(_queueing, _undelivered),
    ),
    Issue(
        "Rate limiting",
        "The service refused requests by their rate: lower --rate or --concurrency, or raise the limit.",
        _kinds("http_429"),
    ),
    Issue(
        "Prompts too long",
        "Conversations grow until the model's context has no room for them, and what is refused then counts as failed: "
        "keep them shorter with --turns, or send your own with --conversations.",
        _too_long,
    ),
    Issue(
        "Errors of the system under test",
        "Read the first messages under errors, and the service's own log at those times.",
        _kinds("http_5xx", "target", "reset", "closed", "incomplete", "malformed"),
    ),
    Issue(
        "Unreachable",
        "Check the address, that the service is up, and the limits on open connections on both sides.",
        _kinds("dns", "connect", "tls"),
    ),
    Issue(
        "Conflicts for resources",
        "Make sure that no other resource-intensive process is running, or give the load its own machine; then "
        "measure again.",
        _any(_contended, _late),
    ),
)

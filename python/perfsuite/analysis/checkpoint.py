"""The four lines of checkpoint 7.4, each with the figures that it rests on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from perfsuite.result import MetricResult, PhaseResult

Standing = Literal["met", "missed", "undecided", "not measured"]

RESPONSE_TIMES = ("simple_response_time", "large_memory_response_time", "long_conversation_response_time")
TOKENS = ("tokens_per_message", "budget_enforced", "agents_on_model")
BOTTLENECKS = (
    "memories_created",
    "memories_found",
    "memory_retrieval_time",
    "memory_search_time",
    "session_create_time",
    "message_create_time",
    "query_time",
    "indexes_used",
    "database_errors",
    "memory_growth",
)


class Line(NamedTuple):
    """``text`` as the document has it; ``rests_on``: the figures, those that stand against it first; ``why``: what else
    does."""

    text: str
    standing: Standing
    rests_on: Sequence[MetricResult]
    why: Sequence[str] = ()


def is_checkpoint(phase: PhaseResult) -> bool:
    """Whether a phase has the checkpoint's figures."""
    return phase.metric(RESPONSE_TIMES[0]) is not None


def lines(phase: PhaseResult) -> list[Line]:
    """The four lines.  One that a figure misses is missed; a phase that failed misses at least one."""
    judged = [one for one in phase.metrics if one.target is not None]
    unmeasured = [one for one in judged if one.verdict == "not measured"]
    told = {name for group in (RESPONSE_TIMES, TOKENS) for name in group}
    others = [one for one in judged if one.name not in told and (one.name in BOTTLENECKS or one.verdict == "failed")]
    measured: Standing = "met" if judged and not unmeasured else "not measured"
    return [
        Line("Performance measured", measured, unmeasured or judged),
        _line("Response times acceptable", phase, RESPONSE_TIMES),
        _line("Token usage optimized", phase, TOKENS),
        Line(
            "No major bottlenecks",
            "missed" if phase.unhandled else _standing(others),
            _worst_first(others),
            phase.unhandled,
        ),
    ]


def _line(text: str, phase: PhaseResult, names: Sequence[str]) -> Line:
    rests_on = [one for one in phase.metrics if one.name in names and one.target is not None]
    return Line(text, _standing(rests_on), _worst_first(rests_on))


def _standing(rests_on: Sequence[MetricResult]) -> Standing:
    verdicts = {one.verdict for one in rests_on}
    if "failed" in verdicts:
        return "missed"
    if "undecided" in verdicts:
        return "undecided"
    return "met" if verdicts == {"passed"} else "not measured"


def _worst_first(rests_on: Sequence[MetricResult]) -> list[MetricResult]:
    order = ("failed", "undecided", "not measured", "passed", "informative")
    return sorted(rests_on, key=lambda one: order.index(one.verdict))

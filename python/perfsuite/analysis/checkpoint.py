"""The four lines of checkpoint 7.4, each with the figures that it rests on."""

from __future__ import annotations

from collections.abc import Sequence

from perfsuite.result import MetricResult, Requirement, RequirementVerdict

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


def requirements(metrics: Sequence[MetricResult], unhandled: Sequence[str] = ()) -> list[Requirement]:
    """The four lines; none where these are not the checkpoint's figures.  One that a figure misses has failed; a phase
    that failed, by its figures or by what was ``unhandled``, fails at least one."""
    if all(one.name != RESPONSE_TIMES[0] for one in metrics):
        return []
    judged = [one for one in metrics if one.target is not None]
    unmeasured = [one for one in judged if one.verdict == "not measured"]
    told = {name for group in (RESPONSE_TIMES, TOKENS) for name in group}
    others = [one for one in judged if one.name not in told and (one.name in BOTTLENECKS or one.verdict == "failed")]
    measured: RequirementVerdict = "passed" if judged and not unmeasured else "not measured"
    return [
        Requirement(text="Performance measured", verdict=measured, rests_on=_names(unmeasured or judged)),
        _requirement("Response times acceptable", [one for one in judged if one.name in RESPONSE_TIMES]),
        _requirement("Token usage optimized", [one for one in judged if one.name in TOKENS]),
        _requirement("No major bottlenecks", others, unhandled),
    ]


def _requirement(text: str, rests_on: Sequence[MetricResult], why: Sequence[str] = ()) -> Requirement:
    order = ("failed", "undecided", "not measured", "passed", "informative")
    worst_first = sorted(rests_on, key=lambda one: order.index(one.verdict))
    verdict: RequirementVerdict = "failed" if why else _verdict(rests_on)
    return Requirement(text=text, verdict=verdict, rests_on=_names(worst_first), why=list(why))


def _verdict(rests_on: Sequence[MetricResult]) -> RequirementVerdict:
    verdicts = {one.verdict for one in rests_on}
    if "failed" in verdicts:
        return "failed"
    if "undecided" in verdicts:
        return "undecided"
    return "passed" if verdicts == {"passed"} else "not measured"


def _names(metrics: Sequence[MetricResult]) -> list[str]:
    return [f"{one.name}.{one.stat}" for one in metrics]

"""Before a run against a network address: about how many requests and tokens it will send."""

from __future__ import annotations

from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.plan import Phase, Plan

ANSWER_S = 1.0
"""How long an answer is taken to last: nobody knows before the run, so it is said."""

ANSWER_TOKENS = 150
SAMPLED = 64


def announcement(plan: Plan) -> str | None:
    """The line to show before the run; None where nothing leaves this process, or nothing is sent."""
    from perfsuite.targets import NETWORK, scheme_of

    if scheme_of(plan.target)[0] not in {*NETWORK, "template"}:
        return None
    wanted = sum(_requests(plan, phase) for phase in plan.phases)
    if not wanted:
        return f"{plan.target}: nothing will be sent: these phases need a system that shows its inside"
    prompt = plan.workload.prompt_tokens or _prompt_tokens(plan)
    answer = plan.workload.output_tokens or ANSWER_TOKENS
    tokens = wanted * (prompt + answer)
    limits = []
    if plan.load.max_requests is None and plan.load.max_tokens is None:
        limits.append("--max-requests and --max-tokens bound it")
    if plan.load.max_requests is not None:
        limits.append(f"at most {plan.load.max_requests:,} requests to each part of a phase")
    if plan.load.max_tokens is not None:
        limits.append(f"each part of a phase ends at {plan.load.max_tokens:,} tokens")
    assumed = f"if an answer takes {ANSWER_S:g} s" if plan.load.rate is None else "as they fall due"
    return (
        f"{plan.target}: about {wanted:,} requests and {_rounded(tokens)} tokens "
        f"({prompt:,} of a prompt, {answer:,} of an answer), {assumed}; {'; '.join(limits)}"
    )


def _requests(plan: Plan, phase: Phase) -> int:
    """Requests of a phase's probes that drive a black box, each for its share of the time."""
    from perfsuite.suites.probes import conversation, covering, load, probe

    probes = [probe(name) for name in phase.probes] or list(covering(phase.metrics))
    usable = [one for one in probes if one.needs == "anything" or (one.needs == "models" and len(plan.models) > 1)]
    weight = sum(one.weight for one in usable)
    in_flight = {"conversation": conversation.CONCURRENCY, "load": load.CONCURRENCY}
    wanted = 0.0
    for one in usable:
        if one.drives:
            seconds = phase.duration_s * one.weight / weight
            slots = plan.load.concurrency or in_flight.get(one.name, 1)
            sent = seconds * (plan.load.rate or slots / ANSWER_S)
            wanted += sent if plan.load.max_requests is None else min(sent, plan.load.max_requests)
    return round(wanted)


def _prompt_tokens(plan: Plan) -> int:
    """Tokens of the first prompts that this run will send, at four characters each."""
    from perfsuite.workloads.requests import requests

    lengths = [
        sum(len(str(message.get("content", ""))) for message in request.messages)
        for request in islice(requests(plan.seed, slots=4, workload=plan.workload), SAMPLED)
    ]
    return max(1, sum(lengths) // (4 * len(lengths))) if lengths else 1


def _rounded(tokens: int) -> str:
    """Two digits are all that an estimate has."""
    digits = max(0, len(str(tokens)) - 2)
    return f"{round(tokens, -digits):,}"

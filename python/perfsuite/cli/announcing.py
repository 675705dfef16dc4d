"""Before a run against a network address: about how many requests and tokens it will send."""

from __future__ import annotations

import math
from itertools import islice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.plan import Phase, Plan
    from perfsuite.units import TokenLength

ANSWER_TOKENS = 150
SAMPLED = 64


def announcement(plan: Plan) -> str | None:
    """The line to show before the run; None where nothing leaves this process, or nothing is sent."""
    from perfsuite.plan import overridden
    from perfsuite.suites.expected import ANSWER_S
    from perfsuite.targets import NETWORK, scheme_of

    if scheme_of(plan.target)[0] not in {*NETWORK, "template"}:
        return None
    wanted = sum(_requests(plan, phase) for phase in plan.phases)
    if not wanted:
        return f"{plan.target}: nothing will be sent: these phases need a system that shows its inside"
    limits = []
    if plan.load.max_requests is not None:
        wanted = min(wanted, plan.load.max_requests)
        limits.append(f"the run ends at {plan.load.max_requests:,} requests")
    prompt = _mean(plan.workload.prompt_tokens) or _prompt_tokens(plan)
    answer = _mean(plan.workload.output_tokens) or ANSWER_TOKENS
    tokens = wanted * (prompt + answer)
    if plan.load.max_tokens is not None:
        wanted = min(wanted, math.ceil(plan.load.max_tokens / (prompt + answer)))
        tokens = min(tokens, plan.load.max_tokens)
        limits.append(f"the run ends at {plan.load.max_tokens:,} tokens")
    if not limits:
        limits.append("--max-requests and --max-tokens bound it")
    if any(overridden(plan.load, phase).find_max for phase in plan.phases):
        limits.append("the search of --find-max sends as many more as the service bears")
    assumed = f"if an answer takes {ANSWER_S:g} s" if plan.load.due_rate is None else "as they fall due"
    return (
        f"{plan.target}: about {wanted:,} requests and {_rounded(tokens)} tokens "
        f"({prompt:,} of a prompt, {answer:,} of an answer), {assumed}; {'; '.join(limits)}"
    )


def _requests(plan: Plan, phase: Phase) -> int:
    """Requests of a phase, within its own limit."""
    from perfsuite.plan import overridden
    from perfsuite.suites.expected import expected

    wanted, most = round(sum(expected(plan, phase).values())), overridden(plan.load, phase).max_requests
    return wanted if most is None else min(wanted, most)


def _prompt_tokens(plan: Plan) -> int:
    """Tokens of the first prompts that this run will send, at four characters each."""
    from perfsuite.workloads.requests import requests

    lengths = [
        sum(len(str(message.get("content", ""))) for message in request.messages)
        for request in islice(requests(plan.seed, slots=4, workload=plan.workload), SAMPLED)
    ]
    return max(1, sum(lengths) // (4 * len(lengths))) if lengths else 1


def _mean(length: TokenLength | None) -> int | None:
    return None if length is None else length.mean


def _rounded(tokens: int) -> str:
    """Two digits are all that an estimate has."""
    digits = max(0, len(str(tokens)) - 2)
    return f"{round(tokens, -digits):,}"

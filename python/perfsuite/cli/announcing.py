"""Before a run against a network address: about how many requests and tokens it will send."""

from __future__ import annotations

import math

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.plan import Phase, Plan
    from perfsuite.suites.first_answer import First
    from perfsuite.units import TokenLength

ANSWER_TOKENS = 150
CHARACTERS_A_TOKEN = 4


def unknown_until_asked(plan: Plan) -> bool:
    """Whether what the run comes to hangs on how its service answers: then a message is sent before the run is
    announced.  Not where nothing is sent, nor where the user has said how many requests it may be."""
    return _over_the_network(plan) and plan.load.max_requests is None and _wanted(plan, None) > 0


def announcement(plan: Plan, first: First | None = None) -> str | None:
    """The line to show before the run, by what came of a first message where there was one; None where nothing leaves
    this process."""
    from perfsuite.plan import overridden
    from perfsuite.suites.expected import ANSWER_S

    if not _over_the_network(plan):
        return None
    seen = first if first is not None and first.failure is None else None
    wanted = _wanted(plan, seen)
    if not wanted:
        return f"{plan.target}: nothing will be sent: these phases need a system that shows its inside"
    limits = []
    if plan.load.max_requests is not None:
        wanted = min(wanted, plan.load.max_requests)
        limits.append(f"the run ends at {plan.load.max_requests:,} requests")
    answer = _mean(plan.workload.output_tokens) or (seen and seen.completion_tokens) or ANSWER_TOKENS
    asked = (seen and seen.prompt_tokens) or _mean(plan.workload.prompt_tokens) or _prompt_tokens(plan)
    prompt = _grown(asked, answer, plan.workload.turns)
    tokens = wanted * (prompt + answer)
    if plan.load.max_tokens is not None:
        wanted = min(wanted, math.ceil(plan.load.max_tokens / (prompt + answer)))
        tokens = min(tokens, plan.load.max_tokens)
        limits.append(f"the run ends at {plan.load.max_tokens:,} tokens")
    if not limits:
        limits.append("--max-requests and --max-tokens bound it")
    if any(overridden(plan.load, phase).find_max for phase in plan.phases):
        limits.append("the search of --find-max sends as many more as the service bears")
    if any("checkpoint" in phase.probes for phase in plan.phases):
        from perfsuite.suites.checkpoint.scenarios import about

        limits.append(
            f"the checkpoint's prompts are longer, about {_rounded(about(plan.seed, plan.profile)[1])} tokens"
        )
    if plan.load.due_rate is not None:
        assumed = "as they fall due"
    elif seen is not None:
        assumed = f"if answers take as long as the first, {_time(seen.seconds)}"
    else:
        assumed = f"if an answer takes {ANSWER_S:g} s"
    return (
        f"{plan.target}: about {wanted:,} requests and {_rounded(tokens)} tokens "
        f"({prompt:,} of a prompt, {answer:,} of an answer), {assumed}; {'; '.join(limits)}"
        + (f"; the first message failed: {first.failure}" if first is not None and first.failure is not None else "")
    )


def _over_the_network(plan: Plan) -> bool:
    from perfsuite.targets import NETWORK, scheme_of

    return scheme_of(plan.target)[0] in {*NETWORK, "template"}


def _wanted(plan: Plan, seen: First | None) -> int:
    return sum(_requests(plan, phase, seen) for phase in plan.phases)


def _requests(plan: Plan, phase: Phase, seen: First | None) -> int:
    """Requests of a phase, within its own limit."""
    from perfsuite.plan import overridden
    from perfsuite.suites.expected import ANSWER_S, expected

    each = ANSWER_S if seen is None else seen.seconds
    wanted, most = round(sum(expected(plan, phase, each).values())), overridden(plan.load, phase).max_requests
    return wanted if most is None else min(wanted, most)


def _prompt_tokens(plan: Plan) -> int:
    """Tokens of the first prompts that this run will send, by their characters."""
    from perfsuite.suites.first_answer import typical

    one = typical(plan)
    return 1 if one is None else max(1, int(one.characters / CHARACTERS_A_TOKEN))


def _grown(prompt: int, answer: int, turns: int | None) -> int:
    """The mean prompt of conversations that grow by what was asked and answered."""
    if turns is None:
        return prompt
    return round((prompt * (turns + 1) + answer * (turns - 1)) / 2)


def _mean(length: TokenLength | None) -> int | None:
    return None if length is None else length.mean


def _time(seconds: float) -> str:
    from perfsuite.units import figure

    return figure(1e3 * seconds, "ms", 2)


def _rounded(tokens: int) -> str:
    """Two digits are all that an estimate has."""
    digits = max(0, len(str(tokens)) - 2)
    return f"{round(tokens, -digits):,}"

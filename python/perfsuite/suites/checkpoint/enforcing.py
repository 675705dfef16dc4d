"""The budget of a message: messages that are too large on purpose, and what becomes of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from perfsuite.evidence import Evidence, Exact, NotMeasured
from perfsuite.suites.checkpoint.tokens import total_of
from perfsuite.suites.probes.counting import ask
from perfsuite.targets.base import Failure, Request
from perfsuite.targets.http.failures import HttpFailure

if TYPE_CHECKING:
    from perfsuite.suites.session import Session

TOO_LARGE = 413
INVALID = (400, 422)
LIMITED = 429
_SIZE = re.compile(
    r"too[ _](large|long|big|many)|exceed|longer than|larger than|more than|at most|budget|overflow"
    r"|(maximum|max|context|input|prompt|message|request|token|size|length)[ _'s]*(length|size|window|limit)",
    re.IGNORECASE,
)
"""Words that a refusal of a message for its size has, in the services and libraries that are known."""
_TOO_LARGE = re.compile(r"too[ _](large|long|big)", re.IGNORECASE)


def about_size(failure: Failure) -> bool:
    """Whether a message was refused because of its size: by its status, or by the words of a refusal that may be about
    anything.  A key that is missing, a server that breaks and a limit of rate are none."""
    if isinstance(failure, HttpFailure):
        if failure.status == LIMITED:  # of so many a minute, unless it says that this one is too large for any minute
            return _TOO_LARGE.search(failure.message) is not None
        said = failure.message
        return failure.status == TOO_LARGE or (failure.status in INVALID and _SIZE.search(said) is not None)
    return failure.kind == "target" and _SIZE.search(str(failure)) is not None


async def measure_budget(session: Session, oversized: Iterable[Request], budget: int) -> dict[str, Evidence]:
    """``budget_enforced`` and ``budget_refusals``: of ``oversized`` messages, those that were refused for their size or
    answered within ``budget`` tokens.  One that fails otherwise, or is answered without a count, shows neither."""
    kept = tried = refused = largest = 0
    refusals: list[str] = []
    others: list[str] = []
    for request in oversized:
        if session.stop.is_set() or session.budget.reached is not None:
            break
        reply = await ask(session, request)
        if isinstance(reply, Failure):
            refusal = about_size(reply)
            (refusals if refusal else others).append(f"{reply.kind}: {reply}")
            refused += refusal
            kept += refusal
            tried += refusal
            continue
        total = total_of(reply)
        if total is not None:
            tried += 1
            kept += total <= budget
            largest = max(largest, total)
    details: dict[str, object] = {"budget_tokens": budget, "oversized_messages": tried, "refused": refused}
    if largest:
        details["largest_answered"] = largest
    if refusals:
        details["said"] = list(dict.fromkeys(refusals))
    if others:
        details["failed_otherwise"] = list(dict.fromkeys(others))
    if not tried:
        why = f", but failed ({others[0]})" if others else ""
        reason = f"no oversized message was refused for its size, or answered with a count{why}"
        return {name: NotMeasured(reason, details) for name in ("budget_enforced", "budget_refusals")}
    return {
        "budget_enforced": Exact(value=kept / tried, samples=tried, details=details),
        "budget_refusals": Exact(value=float(refused), samples=tried),
    }

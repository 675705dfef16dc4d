"""A load in parts that come to exactly the whole.

A constant, Poisson, ramp or step schedule is dealt out by turns: arrival k belongs to part k mod n, and each part walks
the same seeded schedule and keeps its own (``loadgen.schedule``), so that the union is the schedule itself and needs no
argument about thinned processes.  Users are dealt out likewise; slots, and what may be sent in all, as evenly as whole
numbers can be.
"""

from __future__ import annotations

from dataclasses import replace

from perfsuite.loadgen import LoadSpec


def shared_out(number: int | None, parts: int) -> list[int | None]:
    """A number in so many parts that differ by one at most, the greater first; None stays None."""
    if number is None:
        return [None] * parts
    return [number // parts + (index < number % parts) for index in range(parts)]


def parts_of(spec: LoadSpec, most: int) -> list[LoadSpec]:
    """The load in ``most`` parts, or in fewer where there is less to share out: a part has a slot, a user, a request
    and a token at least.  ``max_requests`` falls as it would for one process: the first so many arrivals."""
    whole = [n for n in (spec.concurrency, spec.users, spec.max_requests, spec.max_tokens) if n is not None]
    number = max(1, min([most, *whole]))
    slots = shared_out(spec.concurrency, number)
    requests = shared_out(spec.max_requests, number)
    tokens = shared_out(spec.max_tokens, number)
    return [
        replace(
            spec, part=(index, number), concurrency=slots[index], max_requests=requests[index], max_tokens=tokens[index]
        )
        for index in range(number)
    ]


def slots_of(spec: LoadSpec, usual: int) -> int:
    """Conversations that a part holds at once; ``usual``: those of a whole load that says nothing of it."""
    if spec.users is not None:
        return spec.users  # a user's conversations are found by the user's own number
    if spec.concurrency is not None:
        return spec.concurrency
    return max(1, shared_out(usual, spec.part[1])[spec.part[0]] or 1)

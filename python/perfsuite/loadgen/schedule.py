"""When the requests of a load fall due, and whose they are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count, islice
from typing import TYPE_CHECKING

from perfsuite._core import Arrivals

if TYPE_CHECKING:
    from perfsuite.loadgen.spec import LoadSpec

SECOND = 1_000_000_000
NOBODY = -1


def schedule(spec: LoadSpec) -> Iterator[tuple[int, int]]:
    """Pairs (due, user) in order of time, without end: nanoseconds from the start of the load, and the user who sends,
    NOBODY for an open loop by rate.  Knows nothing of answers.  A closed loop has none: ValueError.

    Of a load in parts each walks the whole schedule and keeps its own: arrivals by turns, or all those of its users.
    """
    index, of = spec.part
    if spec.users is not None:
        return _paced(spec.users, spec.pace_s, spec.seed, index, of)
    if spec.rate is None:
        raise ValueError("a closed loop has no schedule: its next request is due when an answer came")
    arrivals = Arrivals(spec.arrivals, spec.rate, duration_s=spec.duration_s, seed=spec.seed)
    return ((due, NOBODY) for due in islice(arrivals, index, None, of))


def _paced(users: int, pace_s: float, seed: int, index: int, of: int) -> Iterator[tuple[int, int]]:
    """Each user once in every ``pace_s``, from a start of its own that is drawn evenly from the first interval; of all
    users those from ``index`` on in steps of ``of``."""
    drawn = random.Random(f"users {seed}")
    pace_ns = pace_s * SECOND
    starts = sorted([(round(drawn.random() * pace_ns), user) for user in range(users)][index::of])
    for turn in count():
        base = round(turn * pace_ns)  # from the start itself, so that rounding does not add up
        for start, user in starts:
            yield base + start, user

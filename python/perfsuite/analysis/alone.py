"""A run against a run, where there are no others: what two processes can say.

The stretches of a run (``analysis.stretches``) share their process: its memory layout, its hash seed, the minute it
ran in.  A test of stretches against stretches takes what two processes differ by for a change, and cries wolf.  So a
run's figure varies by two things (random effects: Kalibera and Jones, Rigorous benchmarking in reasonable time, ISMM
2013): by what its own stretches show, and by what processes differ by, of which one process shows nothing.  That is
taken to be RUN_TO_RUN, a guess worth as much as GUESS_WORTH runs would tell, so that machines where it is half as much
again raise few alarms yet; where a side has several runs, what those differ by is weighed with it.  It makes changes
below some 30 % inconclusive: nobody can see those in two runs.

Pure functions, on logarithms; ``benchmarks/detection.py`` prints how often this is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from perfsuite import _core
from perfsuite.analysis.comparable import Measured
from perfsuite.stats import effective_size
from perfsuite.stats.welch import Welch

RUN_TO_RUN = 0.05
"""The standard deviation of the logarithms of what processes make of one figure."""
GUESS_WORTH = 10.0


def alone(before: Sequence[Measured], after: Sequence[Measured]) -> Welch | None:
    """The test of a few runs against a few; None where one of them has no stretches, or no logarithm."""
    sides = []
    squares, worth = GUESS_WORTH * RUN_TO_RUN**2, GUESS_WORTH
    for side in (before, after):
        within = [_within(one) for one in side]
        if not side or None in within:
            return None
        n = len(side)
        logs = [math.log(one.value) for one in side]
        mean = math.fsum(logs) / n
        squares += math.fsum((x - mean) ** 2 for x in logs)
        worth += n - 1
        sides.append((n, mean, [(variance / n**2, df) for variance, df in filter(None, within)]))
    change = sides[1][1] - sides[0][1]
    processes = squares / worth * sum(1.0 / n for n, _, _ in sides)
    parts = [(processes, worth), *(part for _, _, own in sides for part in own)]
    total = math.fsum(variance for variance, _ in parts)
    df = total**2 / math.fsum(variance**2 / df for variance, df in parts)
    error = math.sqrt(total)
    return Welch(change, error, df, min(1.0, 2.0 * _core.t_tail(abs(change) / error, df)))


def _within(one: Measured) -> tuple[float, float] | None:
    """The variance of a run's figure as its own stretches show it, and what that is worth in degrees of freedom."""
    if len(one.stretches) < 2 or min(one.value, *one.stretches) <= 0.0:
        return None
    logs = [math.log(value) for value in one.stretches]
    n, mean, stdev = _core.moments(logs)
    # Stretches that follow each other are alike where the machine changes slowly: they are worth fewer then.
    worth = effective_size([x - mean for x in logs])
    return stdev**2 / max(1.0, worth), float(n - 1)

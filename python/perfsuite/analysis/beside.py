"""Was it the machine?  A suspicious run decided beside the version before it.

Fresh runs of a suspicious version are made at one moment, the history's at others.  Where a machine has good and bad
days, or states that outlast a run, the fresh runs share the bad one that made the first run suspicious, and confirm
it: no history of single runs tells that from a change.  The version before does, when it runs in turns with the one in
question: what the machine is up to comes to both, and goes out of their differences (paired, as in duet benchmarking:
Bulej et al., ICPE 2020).

The differences of logarithms within pairs are held against none: confirmed at the z of ``forecast``, dismissed as soon
as a change of the size watched for is as good as excluded.  They are looked at after each pair, and outlying ones drawn
in (``regression``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from perfsuite import _core
from perfsuite.analysis.comparable import Better
from perfsuite.analysis.forecast import EXCLUDED, Settled, State, confirmation, normal
from perfsuite.analysis.regression import LEAST_CHANGE, LEAST_SHARE, drawn_in, outlying
from perfsuite.stats.welch import POWER

FEWEST_TO_DISMISS = 3
FEWEST_TO_CONFIRM = 8
"""The spread of fewer pairs is known so badly that looking again and again would find something."""
MOST_PAIRS = 30
OUTLYING = 2.0
"""Of two runs either may be disturbed, so that more differences are outliers than runs: they are drawn in further."""
EXCLUDED_TAIL = math.erfc(EXCLUDED / math.sqrt(2.0)) / 2.0


class Pair(NamedTuple):
    """A figure's value in two runs that followed each other."""

    before: float
    after: float


def settle_beside(
    pairs: Sequence[Pair], better: Better, watched: float, family: int = 1, *, absolute: bool = False
) -> Settled:
    """What pairs of runs say of a suspicion, so far; ``watched``: the share (a difference where ``absolute``) that is
    watched for, ``family``: of so many figures that are judged together."""
    if len(pairs) < FEWEST_TO_DISMISS:
        return Settled("more", 0.0, 0.0)
    sign = 1.0 if better == "lower" else -1.0
    differences = [sign * _difference(pair, absolute) for pair in pairs]
    found = drawn_in(differences, outlying(differences, deviations=OUTLYING))
    worse, error, df = found.mean, math.sqrt(found.variance), found.n - 1.0
    size, least = (watched, LEAST_SHARE) if absolute else (math.log1p(watched), math.log1p(LEAST_CHANGE))
    state: State = "more" if len(pairs) < MOST_PAIRS else "open"
    if error <= 4e-16:
        z = 0.0 if abs(worse) <= 1e-12 else math.copysign(math.inf, worse)
        sure = worse <= least
    else:
        z = math.copysign(normal(_core.t_tail(abs(worse) / error, df)), worse)
        sure = worse + _core.t_quantile(1.0 - EXCLUDED_TAIL, df) * error < size
    if z > confirmation(family) and worse > least and len(pairs) >= FEWEST_TO_CONFIRM:
        state = "confirmed"
    elif sure:
        state = "dismissed"
    change = sign * worse
    return Settled(state, change if absolute else math.expm1(min(change, 700.0)), z)


def visible_beside(pairs: Sequence[Pair], family: int = 1, *, absolute: bool = False) -> float | None:
    """The least change, as a share, that so many pairs would confirm four times in five; None of too few."""
    if len(pairs) < FEWEST_TO_DISMISS:
        return None
    differences = [_difference(pair, absolute) for pair in pairs]
    found = drawn_in(differences, outlying(differences, deviations=OUTLYING))
    tail = math.erfc(confirmation(family) / math.sqrt(2.0)) / 2.0
    reach = _core.t_quantile(1.0 - tail, found.n - 1.0) + _core.t_quantile(POWER, found.n - 1.0)
    change = reach * math.sqrt(found.variance)
    return max(LEAST_SHARE, change) if absolute else max(LEAST_CHANGE, math.expm1(min(change, 700.0)))


def _difference(pair: Pair, absolute: bool) -> float:
    if absolute:
        return pair.after - pair.before
    if min(pair) <= 0.0:
        return 0.0 if pair.after == pair.before else math.copysign(700.0, pair.after - pair.before)
    return math.log(pair.after) - math.log(pair.before)

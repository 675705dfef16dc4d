"""Values in pieces: in their order, none lost, and never more pieces than are said."""

from __future__ import annotations

import pytest

from perfsuite.analysis.stretches import of_blocks
from perfsuite.suites.pieces import MOST, SMALLEST, Pieces


@pytest.mark.parametrize("count", [0, 1, 4, 5, 6, 199, 200, 201, 1000, 12_345])
def test_nothing_is_lost_and_the_order_stays(count: int) -> None:
    pieces = Pieces()
    for start in range(0, count, 50):
        pieces.add(float(x + 1) for x in range(start, min(start + 50, count)))
    found = pieces.histograms
    assert sum(one.count for one in found) == count
    assert len(found) <= MOST
    means = [one.mean for one in found]
    assert means == sorted(means)
    assert all(one.count == found[0].count for one in found[:-1])


def test_few_values_make_stretches_already() -> None:
    pieces = Pieces()
    pieces.add([1.0] * (3 * SMALLEST))
    assert len(of_blocks(pieces.histograms)["p50"]) == 3

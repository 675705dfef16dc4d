"""The page of what the tests run: its sums are those of its files."""

from __future__ import annotations

import covered


def test_rooms_and_the_whole() -> None:
    found = {
        "C": [("csrc/core/a.c", 9, 10, 1, 4), ("csrc/core/b.c", 5, 10, 0, 0), ("csrc/wire/c.c", 20, 20, 3, 4)],
        "Python": [("python/perfsuite/api.py", 1, 4, 0, 0), ("/x/python/perfsuite/live/web.py", 2, 4, 1, 2)],
    }
    lines = covered.page(found, ["tests/unit"]).splitlines()
    assert "| core | 20 | 70.0 % | 4 | 25.0 % |" in lines
    assert "| wire | 20 | 100.0 % | 4 | 75.0 % |" in lines
    assert "| **all** | 40 | 85.0 % | 8 | 50.0 % |" in lines
    assert "| api | 4 | 25.0 % | 0 | 100.0 % |" in lines
    assert "| live | 4 | 50.0 % | 2 | 50.0 % |" in lines
    assert "| **all** | 8 | 37.5 % | 2 | 50.0 % |" in lines

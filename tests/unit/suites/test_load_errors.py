"""The error rate of a load is that of all its stretches."""

from __future__ import annotations

import time

from perfsuite._core import ERROR_KINDS, Events
from perfsuite.evidence import NotMeasured, Share
from perfsuite.loadgen import LoadSpec
from perfsuite.suites.probes.load import errors
from perfsuite.suites.session import Stretch

SECOND = 10**9


START = time.monotonic_ns() + 3600 * SECOND  # ahead of the clock, which begin() looks at


def stretch(name: str, *kinds: str, began_s: int = 0) -> Stretch:
    """One request a second, with these ends."""
    start = START + began_s * SECOND
    events = Events(start_ns=start)
    for number, kind in enumerate(kinds):
        row = events.begin(start + number * SECOND)
        row.sent(start + number * SECOND)
        row.end(ERROR_KINDS.index(kind), at_ns=start + number * SECOND + 1000)
    return Stretch(name, LoadSpec(duration_s=10.0, concurrency=1), events, {})


def test_what_failed_in_any_stretch_is_told_by_kind() -> None:
    found = errors([stretch("held", "timeout", "ok", "http_5xx"), stretch("open", "ok", "timeout", began_s=12)])
    assert isinstance(found, Share)
    assert (found.hits, found.trials) == (3, 5)
    assert found.details["kinds"] == {"timeout": 2, "http_5xx": 1}
    assert found.details["stretches"] == [
        {"stretch": "held", "failed": 2, "ended": 3, "kinds": {"timeout": 1, "http_5xx": 1}},
        {"stretch": "open", "failed": 1, "ended": 2, "kinds": {"timeout": 1}},
    ]
    in_the_last_load = [(-12.0, 1.0), (-11.0, 0.0), (-10.0, 1.0), (0.0, 0.0), (1.0, 1.0)]
    assert list(found.series) == in_the_last_load


def test_a_stretch_in_which_nothing_ended_takes_no_part() -> None:
    found = errors([stretch("held"), stretch("open", "ok")])
    assert isinstance(found, Share)
    assert found.details["kinds"] == {}
    assert found.trials == 1
    assert isinstance(errors([stretch("held")]), NotMeasured)

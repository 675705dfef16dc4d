"""Collectors of other packages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from perfsuite.collectors.base import Collector
from perfsuite.plugins import COLLECTORS, BrokenPlugin, Plugin, plugins

OWN = ("host", "process", "container", "gpu", "server", "cloud")
"""Names that are taken: the first part of a series' name is its collector's."""


class Plugged(NamedTuple):
    """One of another package: the collector, or why there is none."""

    name: str
    package: str
    collector: Collector | None
    absent: str | None

    def says(self) -> str:
        """What there is, in words for the result's environment and ``doctor``."""
        return f"from {self.package}" if self.absent is None else f"absent: {self.absent}"


def plugged(pid: int | None, named: Sequence[Plugin] = ()) -> Iterator[Plugged]:
    """All that are installed and those that a file ``named``, of the process ``pid``, or of this one."""
    taken = {*OWN}
    for one in (*plugins(COLLECTORS), *named):
        try:
            collector: Collector = one.load()(pid)
            if not isinstance(collector.name, str) or not callable(collector.sample):
                raise one.broken("it is no Collector")
            if collector.name in taken:
                raise one.broken(f"its collector's name, {collector.name}, is taken")
            absent = collector.absent
        except BrokenPlugin as error:
            yield Plugged(one.name, one.package, None, str(error))
        except Exception as error:  # noqa: BLE001 - whatever its code raises, the run goes on without it
            yield Plugged(one.name, one.package, None, str(one.broken(error)))
        else:
            taken.add(collector.name)
            yield Plugged(one.name, one.package, collector if absent is None else None, absent)

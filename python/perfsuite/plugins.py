"""What other packages add, found by their entry points; one that is broken is named and harms nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from perfsuite.errors import PerfsuiteError

COLLECTORS = "perfsuite.collectors"
"""A function of a process's id, or None for this process, that makes a Collector."""
TARGETS = "perfsuite.targets"
"""By its scheme, a function ``make(plan, rest, workdir)`` that makes a Target of ``SCHEME:rest``."""


class BrokenPlugin(PerfsuiteError):
    """A plug-in that cannot be loaded, or is not what it should be."""


class Plugin(NamedTuple):
    """An entry point, not loaded yet, and the package that it is of."""

    name: str
    package: str
    point: EntryPoint

    def load(self) -> Any:
        """What it names.  Raises BrokenPlugin, whatever the package's code raised."""
        try:
            return self.point.load()
        except Exception as error:
            raise self.broken(error) from error

    def broken(self, why: object) -> BrokenPlugin:
        """The error that names it."""
        said = f"{type(why).__name__}: {why}" if isinstance(why, BaseException) else why
        return BrokenPlugin(f"plug-in {self.name} of {self.package} is broken: {said}")


def plugins(group: str) -> Iterator[Plugin]:
    """Those of a group, by name; of several of one name the first that is found."""
    seen = set()
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name not in seen:
            seen.add(point.name)
            of = point.dist
            yield Plugin(point.name, "an unknown package" if of is None else f"{of.name} {of.version}", point)


def plugin(group: str, name: str) -> Plugin | None:
    """The one of that name, or None."""
    return next((one for one in plugins(group) if one.name == name), None)

"""What other packages and plan files add; one that is broken is named and harms nothing else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from perfsuite.errors import PerfsuiteError

if TYPE_CHECKING:
    from types import ModuleType

BENCHMARKS = "perfsuite.benchmarks"
"""A ``perfsuite.Benchmark``."""
COLLECTORS = "perfsuite.collectors"
"""A function of a process's id, or None for this process, that makes a Collector."""
MEMORY = "perfsuite.memory"
"""By a memory system's name, a MemorySystem's class, or a function that makes one."""
TARGETS = "perfsuite.targets"
"""By its scheme, a function ``make(plan, rest, workdir)`` that makes a Target of ``SCHEME:rest``."""


class BrokenPlugin(PerfsuiteError):
    """A plug-in that cannot be loaded, or is not what it should be."""


class Plugin(NamedTuple):
    """Something of others, not loaded yet.

    ``package`` is the package and its version, or the file that names it; ``value`` is ``module:object``.  ``folder``:
    of one that a file names, the file's, where its module is found; its ``value`` may name a file and its object too.
    """

    name: str
    package: str
    value: str
    folder: str | None = None

    def load(self) -> Any:
        """What it names.  Raises BrokenPlugin, whatever the other's code raised."""
        try:
            if self.folder is None:
                return EntryPoint(self.name, self.value, "").load()
            return _named(self.value, self.folder)
        except (Exception, SystemExit) as error:
            raise self.broken(error) from error

    def broken(self, why: object) -> BrokenPlugin:
        """The error that names it."""
        said = f"{type(why).__name__}: {why}" if isinstance(why, BaseException) else why
        return BrokenPlugin(f"plug-in {self.name} of {self.package} is broken: {said}")


def plugins(group: str) -> Iterator[Plugin]:
    """Those of a group that are installed, by name; of several of one name the first that is found."""
    seen = set()
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        if point.name not in seen:
            seen.add(point.name)
            of = point.dist
            package = "an unknown package" if of is None else f"{of.name} {of.version}"
            yield Plugin(point.name, package, point.value)


def plugin(group: str, name: str) -> Plugin | None:
    """The one of that name, or None."""
    return next((one for one in plugins(group) if one.name == name), None)


def _named(value: str, folder: str) -> Any:
    """What ``module:object`` names, or a file's path and its object, seen from a folder."""
    from importlib import import_module

    where, _, attributes = value.rpartition(":")
    if where.endswith(".py"):
        found: Any = _module_of(Path(folder, where).resolve())
    else:
        if folder not in sys.path:
            sys.path.insert(0, folder)
        found = import_module(where)
    for name in attributes.split("."):
        found = getattr(found, name)
    return found


def _module_of(path: Path) -> ModuleType:
    """A file as a module, run once."""
    from hashlib import blake2s
    from importlib.util import module_from_spec, spec_from_file_location

    name = f"{path.stem}_{blake2s(str(path).encode(), digest_size=4).hexdigest()}"  # files of one name are several
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = sys.modules[name] = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

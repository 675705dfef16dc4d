"""Where a Python that is started finds its modules: this process's, or none of them."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    AnyPath = str | os.PathLike[str]

VARIABLE = "PYTHONPATH"
OWN = frozenset({VARIABLE, "PYTHONHOME", "VIRTUAL_ENV"})
"""What says where this Python finds its modules; another environment's has its own."""


def joined(
    first: Iterable[AnyPath] = (), last: Iterable[AnyPath] = (), environment: Mapping[str, str] | None = None
) -> str:
    """PYTHONPATH with these folders before and behind those of ``environment`` (this process's), each once; all of them
    absolute, for the process may run in another folder."""
    before = (os.environ if environment is None else environment).get(VARIABLE, "")
    return os.pathsep.join(absolute([*first, *filter(None, before.split(os.pathsep)), *last]))


def absolute(folders: Iterable[AnyPath]) -> list[str]:
    """The folders from the root on, each once; the empty one is the current."""
    return list(dict.fromkeys(map(os.path.abspath, folders)))


def package() -> str:
    """The folder that this very package is in."""
    return os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def without(names: Iterable[str] = OWN) -> dict[str, str]:
    """This process's variables but for those."""
    left_out = frozenset(names)
    return {name: value for name, value in os.environ.items() if name not in left_out}

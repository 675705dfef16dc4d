"""The errors a user may meet, each with the exit code that it stands for.

Every message says what was wrong, where, and what to do.  The command line prints it as one line; the traceback
appears only with ``-v``.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class PerfsuiteError(Exception):
    """Something went wrong while running (exit code 1)."""

    exit_code = 1


class UsageError(PerfsuiteError):
    """The input cannot be used: an unknown name, a bad value, an unreadable file (exit code 2)."""

    exit_code = 2


class MissingExtra(UsageError):
    """An optional dependency is needed and not installed.

    ``package`` is what could not be imported, ``extra`` the extra of perfsuite that brings it.
    """

    def __init__(self, package: str, extra: str, needed_for: str) -> None:
        super().__init__(f'{needed_for} needs {package}, which is not installed: pip install "perfsuite[{extra}]"')
        self.package = package
        self.extra = extra


def unknown(kind: str, name: str, known: Iterable[str], where: str = "") -> UsageError:
    """The error for a name that is not known, with the nearest known ones, or all when they are few."""
    names = sorted(known)
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}" if names else "none is known"
    return UsageError(f"unknown {kind} {name!r}{f' in {where}' if where else ''}; {hint}")

"""The errors a user may meet, each with the exit code that it stands for.

Every message says what was wrong, where, and what to do.  The command line prints it as one line; the traceback
appears only with ``-v``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

FEW = 12
"""As many known names are told to somebody whose name is near none of them."""


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
    from difflib import get_close_matches  # for mistakes only

    names = sorted(known)
    close = get_close_matches(name[:100], names, n=3, cutoff=0.5)
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    known_ones = f"known: {', '.join(names[:FEW])}{more}" if names else "none is known"
    hint = f"did you mean {' or '.join(close)}?" if close else known_ones
    return UsageError(f"unknown {kind} {shown(name)}{f' in {where}' if where else ''}; {hint}")


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and not longer than one."""
    text = repr(value)
    return text if len(text) <= 60 else text[:56] + "…" + text[-1]


class Mistakes:
    """Collects what is wrong with some input, so that all of it can be named at once.

    ``with mistakes.noted():`` around each part that may be wrong; ``check()`` at the end raises what was noted.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        """Notes one; the same one twice is one."""
        if text not in self.texts:
            self.texts.append(text)

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes a UsageError of the block instead of letting it out."""
        try:
            yield
        except UsageError as error:
            self.add(str(error))

    def check(self) -> None:
        """Raises UsageError with everything that was noted: one mistake as it is, several a line each."""
        if len(self.texts) == 1:
            raise UsageError(self.texts[0])
        if self.texts:
            raise UsageError(f"{len(self.texts)} mistakes\n" + "\n".join(self.texts))

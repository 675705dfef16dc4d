"""Systems under test, opened by the form of ``--target``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, cast

from perfsuite.errors import PerfsuiteError, unknown
from perfsuite.plugins import TARGETS, plugin
from perfsuite.targets.http.dialects import DIALECTS, USUAL

if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.targets.base import Target

    Make = Callable[[Plan, str, Path], Target]

HTTP = frozenset({"http", "https"} | (DIALECTS.keys() - {USUAL}))
"""Schemes that are reached over HTTP."""

NETWORK = HTTP | {"realtime"}
"""Schemes that have a URL behind them."""

SCHEMES = {
    "reference": "perfsuite.targets.reference:make",
    "python": "perfsuite.targets.function:make",
    **dict.fromkeys(sorted(HTTP), "perfsuite.targets.http.target:make"),
    "realtime": "perfsuite.targets.realtime.target:make",
    "chatloop": "perfsuite.targets.chatloop:make",
    "template": "perfsuite.targets.template:make",
    "memory": "perfsuite.targets.memory:make",
    "database": "perfsuite.targets.database:make",
}
"""What stands before the first colon of a target, and the function ``make(plan, rest, workdir)`` that opens it."""


def scheme_of(target: str) -> tuple[str, str]:
    """(scheme, rest) of a target: ``python:shop.chat:answer`` is (``python``, ``shop.chat:answer``)."""
    scheme, _, rest = target.partition(":")
    return scheme.partition("+")[0], rest


def check_target(target: str) -> None:
    """Raises UsageError for a target that no scheme drives; opens nothing."""
    scheme, _ = scheme_of(target)
    if scheme in HTTP:
        from perfsuite.targets.http.target import split_target

        split_target(target)
    elif scheme == "realtime":
        from perfsuite.targets.realtime.target import split_target as split_socket

        split_socket(target)
    elif scheme == "template":
        from perfsuite.targets.template import load_template

        load_template(scheme_of(target)[1])
    elif scheme == "memory":
        from perfsuite.targets.memory import check

        check(target.partition(":")[2])
    elif scheme == "chatloop":
        from perfsuite.targets.chatloop import find

        find(target.partition(":")[2])
    if scheme in SCHEMES or plugin(TARGETS, scheme) is not None:
        return
    raise unknown("target", target, SCHEMES)


def _maker(scheme: str) -> Make:
    """What makes the targets of a scheme: of the package's own, or of another package's."""
    other = None if scheme in SCHEMES else plugin(TARGETS, scheme)
    if other is None:
        module, _, name = SCHEMES[scheme].partition(":")
        return cast("Make", getattr(import_module(module), name))
    make = other.load()
    if not callable(make):
        raise other.broken("it is no function make(plan, rest, workdir)")

    def made(plan: Plan, rest: str, workdir: Path) -> Target:
        try:
            return cast("Make", make)(plan, rest, workdir)
        except PerfsuiteError:
            raise  # it says itself what is wrong with what was asked of it
        except Exception as error:
            raise other.broken(error) from error

    return made


async def open_target(plan: Plan, workdir: Path) -> Target:
    """The plan's target, open.  ``workdir`` is a folder for its files, kept by the caller until it is closed.

    Raises UsageError for a target that cannot be opened.
    """
    check_target(plan.target)
    scheme, rest = scheme_of(plan.target)
    target = _maker(scheme)(plan, rest, workdir)
    await target.open()
    return target

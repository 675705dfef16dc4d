"""argparse from the table of settings."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, HelpFormatter, Namespace

from perfsuite.errors import UsageError, unknown
from perfsuite.settings import OPTIONS, Option
from perfsuite.values import place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import Any, NoReturn

    from perfsuite.plan import Plan


class Parser(ArgumentParser):
    """A parser whose mistakes are UsageErrors, with the nearest flags, rather than an exit."""

    def __init__(self, name: str, description: str) -> None:
        width = columns() - 2
        super().__init__(
            prog=name,
            description=f"{description[0].upper()}{description[1:]}.",
            allow_abbrev=False,
            formatter_class=lambda prog: HelpFormatter(prog, max_help_position=32, width=width),
        )

    def parse_args(self, args: Sequence[str] | None = None, namespace: Namespace | None = None) -> Namespace:  # type: ignore[override]
        """As argparse's; what is left over is a UsageError that names every unknown flag."""
        parsed, left = self.parse_known_intermixed_args(_with_bare(args, self), namespace)
        if left:
            flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
            mistakes = [
                str(unknown("flag", item.partition("=")[0], flags))
                if item.startswith("-")
                else f"{item!r} is one argument too many; see {self.prog} --help"
                for item in left
            ]
            raise UsageError("\n".join(mistakes if len(mistakes) == 1 else [f"{len(mistakes)} mistakes", *mistakes]))
        return parsed

    def error(self, message: str) -> NoReturn:
        """argparse's own finding (a flag without its value) as a UsageError."""
        raise UsageError(f"{message}; see {self.prog} --help")


def _with_bare(args: Sequence[str] | None, parser: ArgumentParser) -> list[str]:
    """The arguments, where a flag that may stand alone does not take the name of a benchmark for its value."""
    words = list(sys.argv[1:] if args is None else args)
    addresses = [action for action in parser._actions if action.nargs == "?" and action.metavar == "HOST:PORT"]
    alone = {flag: action.const for action in addresses for flag in action.option_strings}
    for i, word in enumerate(words):
        if word == "--":
            break
        following = words[i + 1] if i + 1 < len(words) else ""
        if word in alone and ":" not in following and not following.isdigit():
            words[i] = f"{word}={alone[word]}"
    return words


def columns() -> int:
    """How wide the terminal is, found as shutil finds it: shutil itself imports every archive format."""
    try:
        asked = int(os.environ.get("COLUMNS", ""))
    except ValueError:
        asked = 0
    if asked > 0:
        return asked
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # no such stream, or no terminal
        return 80


def add_settings(parser: ArgumentParser, *, without: Iterable[str] = ()) -> None:
    """A flag for each setting, and the benchmarks' names as positional arguments.

    Values stay text: ``configuration`` reads and checks them like those of every other source.
    """
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help="phases to run [the five of the document]; suite: the memory benchmarks; all: every one",
    )
    for option in OPTIONS:
        if option.name not in without:
            add_setting(parser, option, option.default)


def add_setting(parser: ArgumentParser, option: Option, default: object, text: str = "") -> None:
    """A setting's flag; its help says what a command takes that is not given it, and what it is there for (``text``,
    where that is not what the row says)."""
    help_text = _help(text or option.help, default, switch=option.switch)
    if option.switch:
        parser.add_argument(*option.flags, dest=option.name, action="store_true", default=None, help=help_text)
    else:
        metavar = "|".join(option.choices) if option.choices else option.metavar
        action = "append" if option.repeat else "store"
        kinds: dict[str, Any] = {} if option.bare is None else {"nargs": "?", "const": option.bare}
        parser.add_argument(*option.flags, dest=option.name, action=action, metavar=metavar, help=help_text, **kinds)


def _help(text: str, default: object, *, switch: bool) -> str:
    if switch or default is None or default == ():
        return text
    from perfsuite.units import goal

    return f"{text} [{goal(default, 's') if isinstance(default, float) else default}]"


def command_of(arguments: Namespace, *, without: Iterable[str] = ()) -> list[str]:
    """The words after ``perfsuite run`` that give these settings again; not where the history is, nor a URL with a
    password in it."""
    words = list(arguments.names)
    for option in OPTIONS:
        value = getattr(arguments, option.name, None)
        if value is None or option.name in ("history", *without) or _holds_password(option, value):
            continue
        if option.switch:
            words.append(option.flag)
        else:
            # With = a value that begins with a dash stays one.
            words += [f"{option.flag}={one}" for one in (value if isinstance(value, list) else [value])]
    return words


def _holds_password(option: Option, value: object) -> bool:
    return option.parse is place and str(place(value, option.flag)) != value


def plan_of(arguments: Namespace, folder: Path | None = None) -> Plan:
    """The plan that the arguments, the files (of ``folder`` [.]) and the environment make together."""
    from perfsuite.configuration import configure

    flags = {option.name: getattr(arguments, option.name, None) for option in OPTIONS}
    names = [*arguments.names, *(flags["phase"] or [])]
    return configure({**flags, "phase": names or None}, folder=folder)

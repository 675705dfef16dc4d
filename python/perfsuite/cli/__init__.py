"""The command line: arguments → Plan → exit code.  One file for each command.

Nothing heavy is imported until a command runs: ``--help`` is as quick as Python itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from importlib import import_module

from perfsuite.errors import PerfsuiteError, UsageError, unknown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace
    from collections.abc import Sequence
    from typing import Protocol

    class Command(Protocol):
        """A module of this package: what it takes, and what it does; ``execute`` returns the exit code."""

        def configure(self, parser: ArgumentParser) -> None: ...

        def execute(self, arguments: Namespace) -> int: ...


COMMANDS = {
    "run": "measure a system: by default the embedded reference, all five phases, in about a minute",
    "init": "look at a running service, write a perfsuite.toml for it and send it one message",
    "plan": "print the plan that would run, and where each value comes from",
    "tokens": "where the tokens of conversations go, and what would save some",
    "compare": "the same data through several memory systems, side by side: quality, latency, durability, cost",
    "chat-loop": "the chat-loop guide's tests: timings, memory, load, stress, leaks, efficiency, profile",
    "ab": "two versions on one machine, in turns: exit code 4 when the second is slower",
    "init-baselines": "make baselines from results, for detect",
    "detect": "check results against their baselines: exit code 4 when one is slower",
    "history": "past runs: list, trend, export; every run is recorded",
    "report": "write the reports of a result again",
    "serve": "the reference chat system as a server with stated delays, and the truth on the wire",
    "monitor": "watch a target for days at a low rate: a live page with its history, alerts",
    "selfcheck": "how far this machine's measurements are from a known truth",
    "schema": "print the JSON Schema of the result file",
    "completion": "print what completes commands in bash, zsh or fish",
    "doctor": "what is installed, what is missing and how to get it",
}
"""Name → what it does; the module of the name, dashes as underscores, has the rest."""

SHORT = {
    "latency": "store, recall and synthesize latency of a memory system, by tier: run latency",
    "throughput": "operations a second of a memory system under concurrent workers: run throughput",
    "footprint": "bytes in memory and on disk as a memory system grows: run footprint",
    "suite": "the three together: run suite",
    "capacity": "what a chat system bears, and the law that tells what it would bear: run capacity",
    "checkpoint": "the MemoryChat 7.4 tests and their verdict: run checkpoint",
    "database": "a chat service's database, with and without each of its indexes: run database --url URL",
}
"""Benchmarks that are commands as well."""

INTERRUPTED = 130
_OUT_OF_MEMORY = "out of memory: raise what this process may have (ulimit -v, the container's limit), or measure less"


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command line [sys.argv] and returns its exit code; writes to stdout and stderr, and never raises."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _accept_any_text()
    verbose = _asked_verbose(arguments)
    try:
        code = _dispatch(arguments)
        _flush()
        return code
    except BrokenPipeError:
        # The reader has seen enough (perfsuite plan | head).  Python would complain again at exit: give it /dev/null.
        _abandon_stdout()
        return 0
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPTED
    except PerfsuiteError as error:
        if verbose:
            _traceback()
        _say(*str(error).splitlines())
        return error.exit_code
    except OSError as error:
        if verbose:
            _traceback()
        # Whatever writes files names them; a stream that cannot be written to has no name.
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        where = f"{error.filename}: " if error.filename else "standard output: " if full else ""
        _say(_OUT_OF_MEMORY if error.errno == errno.ENOMEM else f"{where}{error.strerror or error}")
        try:
            _flush()
        except OSError:
            _abandon_stdout()
        return 1
    except MemoryError:
        if verbose:
            _traceback()
        _say(_OUT_OF_MEMORY)
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: no traceback unless it was asked for
        if verbose:
            _traceback()
        if _came_of_interrupt(error):
            _say("interrupted")
            return INTERRUPTED
        if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
            _say(f"no thread can be started; {_OUT_OF_MEMORY}")
            return 1
        if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("perfsuite"):
            _say(f"{error.name} is needed and not installed: python -m pip install --upgrade perfsuite")
            return 1
        hint = "please report it" if verbose else "please report it; run again with -v for the traceback"
        _say(f"internal error: {type(error).__name__}: {' '.join(str(error).split())}; {hint}")
        return 1


def _dispatch(arguments: list[str]) -> int:
    if not arguments:
        print(_usage(), file=sys.stderr)
        return 2
    name, rest = arguments[0], arguments[1:]
    if name in ("-h", "--help", "help"):
        if rest and (name == "help" or rest[0] in (*COMMANDS, *SHORT)):
            name, rest = rest[0], ["--help"]
        else:
            print(_usage())
            return 0
    if name in ("-V", "--version"):
        from perfsuite import __version__

        print(f"perfsuite {__version__}")
        return 0
    if name in SHORT:
        name, rest = "run", [arguments[0], *rest]
    if name == "run" and rest[:1] == ["compare"]:  # the one benchmark whose flags and arguments are its own
        name, rest = "compare", rest[1:]
    if name.startswith("-"):
        raise UsageError(f"name a command before {name}, such as: perfsuite run {name}")
    if name not in COMMANDS:
        raise unknown("command", name, [*COMMANDS, *SHORT])
    from perfsuite.cli.options import Parser

    command: Command = import_module(f"perfsuite.cli.{name.replace('-', '_')}")
    parser = Parser(f"perfsuite {name}", COMMANDS[name])
    command.configure(parser)
    try:
        parsed = parser.parse_args(rest)
    except SystemExit as end:  # --help has printed what was asked for
        return int(end.code or 0)
    return command.execute(parsed)


def _usage() -> str:
    shown = {**COMMANDS, **SHORT}
    width = max(map(len, shown))
    lines = [f"  {name:<{width}}  {text}" for name, text in shown.items()]
    return "\n".join(
        [
            "usage: perfsuite COMMAND [OPTIONS]",
            "",
            "Measures LLM chat and agent-memory systems.",
            "",
            *lines,
            "",
            "perfsuite COMMAND --help shows a command's options; perfsuite --version the version.",
        ]
    )


def _asked_verbose(arguments: Sequence[str]) -> bool:
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    variable = os.environ.get("PERFSUITE_VERBOSE", "").lower()
    return "-v" in options or "--verbose" in options or variable in ("1", "true", "yes", "on")


def _accept_any_text() -> None:
    """A locale that is not UTF-8, or a path that is not text, must not end a run: what cannot be written is escaped."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _came_of_interrupt(error: BaseException) -> bool:
    """Ctrl-C inside of a library's clean-up (argparse's, an import's) comes out as whatever that then tripped over."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _say(*lines: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        for line in lines:
            print(f"perfsuite: {line}", file=sys.stderr)


def _traceback() -> None:
    import traceback

    with contextlib.suppress(OSError, ValueError):
        traceback.print_exc()


def _flush() -> None:
    """Now, while a full disk or a reader that left can still be told from success."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and not stream.closed:
            stream.flush()


def _abandon_stdout() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

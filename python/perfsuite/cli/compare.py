"""``perfsuite compare``: the same data through several memory systems, side by side."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace

from perfsuite.settings import BY_NAME

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from perfsuite.reports.systems.screen import Files
    from perfsuite.suites.memory.comparison import ComparisonSettings
    from perfsuite.suites.memory.comparison_result import Comparison
    from perfsuite.suites.memory.models import ModelSettings
    from perfsuite.values import Place
    from perfsuite.workloads.memories import Workload

SHARED: dict[str, object] = {
    "quick": False,
    "profile": "quick",
    "seed": 0,
    "dimension": 384,
    "request_timeout": 60.0,
    "api_key_env": "OPENAI_API_KEY",
    "output": "benchmark_results",
    "history": None,
    "verbose": False,
}
"""The settings that mean here what they mean to ``run``, by their rows in ``settings.py``, and what they are here when
no flag, variable or file sets them."""
SIZES = {"quick": (240,), "standard": (1_000,), "full": (100, 1_000, 10_000)}
QUESTIONS = {"quick": 120, "standard": 300, "full": 300}
FAILED, INTERRUPTED = 1, 130


def configure(parser: ArgumentParser) -> None:
    """What to compare, on what, and whose models."""
    from perfsuite.cli.options import add_setting

    add = parser.add_argument
    who = "systems, or module:Class of one [all that run here]; the baselines fts5 and sqlite-vec take part in any case"
    add("names", nargs="*", metavar="SYSTEM", help=who)
    add("--setup", action="store_true", help="make the environments that the named systems need, and compare nothing")
    add("--memories", metavar="N[,N…]", help="sizes of the seeded data [240; standard 1000; full 100,1000,10000]")
    add("--questions", metavar="N", help="questions about each [120; standard and full 300]")
    add("--data", metavar="FILE", help="a file of LongMemEval or LoCoMo in place of the seeded data")
    add("-k", "--k", default="5", metavar="N", help="hits that a question asks for [5]")
    add("--rounds", metavar="N", help="how often each system takes its turn [3; with --data 1]")
    add("--llm", metavar="MODEL@URL", help="your own OpenAI-compatible endpoint for chat [a stand-in]")
    add("--embed", metavar="MODEL@URL", help="your own for embeddings of --dimension numbers [a stand-in]")
    add("--chat-delay", default="0", metavar="TIME", help="after which the stand-in answers [0]")
    add("--embedding-delay", default="0", metavar="TIME", help="after which it gives embeddings [0]")
    add("--no-lasting", action="store_true", help="leave out visibility, and durability by kill -9")
    add("--json", metavar="-", help="-: print the comparison as JSON")
    for name, default in SHARED.items():
        add_setting(parser, BY_NAME[name], default, "how much data" if name == "profile" else "")


def execute(arguments: Namespace) -> int:
    """Compares, writes the files, prints one screen; 1 when a system that was named could not be measured."""
    import asyncio
    import signal

    from perfsuite.cli.meter import Meter
    from perfsuite.exports.places import writable_folder
    from perfsuite.history.store import remember
    from perfsuite.reports.systems.screen import terminal, write
    from perfsuite.suites.memory.comparison import compare, entrants
    from perfsuite.suites.memory.comparison_result import dump
    from perfsuite.suites.memory.recorded import as_result

    if arguments.setup:
        return _set_up(arguments.names)
    settings, folder, history = settings_of(arguments)
    systems = entrants(arguments.names)
    writable_folder(folder)

    async def until_told() -> Comparison:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # as Ctrl-C does
        return await compare(settings, systems, meter.tell)

    with Meter(sys.stderr) as meter:
        comparison = asyncio.run(until_told())
    files: Files = write(comparison, folder)
    if arguments.json is not None:
        sys.stdout.write(dump(comparison).decode())
    else:
        from perfsuite.cli.screen import put

        put(terminal(comparison, files).rstrip("\n"))
    code = FAILED if _failed(comparison, {one.name for one in systems if one.asked_for}) else 0
    code = INTERRUPTED if comparison.interrupted else code
    forgotten = remember(as_result(comparison, code), history, _command(arguments))
    if forgotten is not None:
        print(f"perfsuite: {forgotten}", file=sys.stderr)
    return code


def _command(arguments: Namespace) -> list[str]:
    """The words after ``perfsuite run`` that make it again."""
    words = ["compare", *arguments.names]
    for name, value in vars(arguments).items():
        flag = f"--{name.replace('_', '-')}"
        if name in ("names", "json", "history", "verbose", "setup") or value in (None, False):
            continue
        words.append(flag if value is True else f"{flag}={value}")
    return words


def _failed(comparison: Comparison, asked_for: set[str]) -> bool:
    """Whether anything failed, or is missing that was asked for."""
    return any(
        one.status == "failed" or (one.status in ("not installed", "unverified") and one.name in asked_for)
        for one in comparison.systems
    )


def settings_of(arguments: Namespace) -> tuple[ComparisonSettings, Path, Place | None]:
    """What the flags, the variables and the files ask for, where the files go, and the history; UsageError with every
    mistake."""
    from pathlib import Path
    from typing import Any

    from perfsuite.configuration import values_of
    from perfsuite.errors import Mistakes
    from perfsuite.serve.standin import MOST_DIMENSION
    from perfsuite.suites.memory.comparison import ComparisonSettings
    from perfsuite.units import parse_count

    mistakes = Mistakes()
    given: dict[str, Any] = values_of({name: getattr(arguments, name) for name in SHARED}, SHARED, mistakes)
    profile = given["profile"]
    if arguments.json not in (None, "-"):
        mistakes.add(f"--json {arguments.json}: write --json - to print the comparison; --output DIR has the file")
    if arguments.data is not None and arguments.memories is not None:
        mistakes.add("--memories sets the size of the seeded data, and --data takes its place: leave one out")
    values: dict[str, Any] = {}
    rounds = arguments.rounds or ("1" if arguments.data is not None else "3")
    readers: dict[str, Callable[[], object]] = {
        "k": lambda: parse_count(arguments.k, "--k", least=1, most=1000),
        "rounds": lambda: parse_count(rounds, "--rounds", least=1, most=100),
        "model": lambda: _model_of(arguments, given["api_key_env"]),
        "workload": lambda: _workload_of(arguments, profile, given["seed"]),
    }
    for name, read in readers.items():
        with mistakes.noted():
            values[name] = read()
    if given["dimension"] > MOST_DIMENSION:
        mistakes.add(
            f"--dimension {given['dimension']}: embeddings here have up to {MOST_DIMENSION} floats; write fewer"
        )
    mistakes.check()
    return (
        ComparisonSettings(
            **values,
            dim=given["dimension"],
            seed=given["seed"],
            timeout_s=given["request_timeout"],
            lasting=not arguments.no_lasting,
        ),
        Path(given["output"]),
        given["history"],
    )


def _workload_of(arguments: Namespace, profile: str, seed: int) -> Workload:
    from perfsuite.units import parse_count
    from perfsuite.workloads.memories import SIZE, Seeded
    from perfsuite.workloads.published import PublishedFile

    asked = QUESTIONS[profile]
    if arguments.questions is not None:
        asked = parse_count(arguments.questions, "--questions", least=1, most=1_000_000)
    if arguments.data is not None:
        return PublishedFile(arguments.data, asked)
    sizes = SIZES[profile]
    if arguments.memories is not None:
        sizes = tuple(
            dict.fromkeys(
                parse_count(one.strip(), "--memories", least=SIZE, most=10_000_000)
                for one in arguments.memories.split(",")
            )
        )
    return Seeded(seed, sizes, asked)


def _model_of(arguments: Namespace, variable: str) -> ModelSettings:
    from perfsuite.errors import Mistakes, UsageError
    from perfsuite.suites.memory.models import ModelSettings, upstream
    from perfsuite.units import parse_duration

    mistakes = Mistakes()
    key = os.environ.get(variable)
    wanted = variable != SHARED["api_key_env"] and bool(arguments.llm or arguments.embed)
    if key is None and (wanted or arguments.api_key_env is not None):
        mistakes.add(f"--api-key-env {variable}: there is no such variable")
    found = {}
    for name, text, flag in (("chat", arguments.llm, "--llm"), ("embeddings", arguments.embed, "--embed")):
        with mistakes.noted():
            found[name] = None if text is None else upstream(text, flag, key)
    delays = {}
    for name, text, flag in (
        ("chat_ms", arguments.chat_delay, "--chat-delay"),
        ("embedding_ms", arguments.embedding_delay, "--embedding-delay"),
    ):
        with mistakes.noted():
            delays[name] = 0.0 if text == "0" else parse_duration(text, flag, bare="ms") * 1e3
    if arguments.llm is not None and delays.get("chat_ms"):
        mistakes.add("--chat-delay is the stand-in's, and --llm takes its place: leave one out")
    if arguments.embed is not None and delays.get("embedding_ms"):
        mistakes.add("--embedding-delay is the stand-in's, and --embed takes its place: leave one out")
    try:
        mistakes.check()
    except UsageError as error:
        raise UsageError(str(error).removeprefix(f"{len(mistakes.texts)} mistakes\n")) from None
    return ModelSettings(chat=found["chat"], embeddings=found["embeddings"], **delays)


def _set_up(names: list[str]) -> int:
    from perfsuite.errors import Mistakes, UsageError
    from perfsuite.memory import environments, registry

    if not names:
        raise UsageError("--setup: name the systems whose environments are to be made")
    mistakes = Mistakes()
    systems = []
    for name in names:
        with mistakes.noted():
            systems.append(registry.find(name))
    mistakes.check()
    for system in systems:
        if registry.missing(system.name) is None:
            print(f"{system.name}: nothing is missing")
        else:
            print(f"{system.name}: {environments.make(system, _told)}", flush=True)
    return 0


def _told(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

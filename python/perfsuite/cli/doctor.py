"""``perfsuite doctor``: what is installed, what is missing, and the command that gets it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from perfsuite.plugins import Plugin

BASE = ("msgspec", "psutil", "rich", "Jinja2", "SQLAlchemy", "bokeh", "pytest-benchmark", "packaging")
EXTRAS = {
    "codecs": (("zstandard", "lz4", "brotli"), "compression measured with zstd, lz4 and brotli"),
    "proxy": (("httpx",), "targets behind HTTP_PROXY or HTTPS_PROXY"),
    "prometheus": (("prometheus_client",), "the server's own view of a run, and figures for Prometheus"),
    "realtime": (("websockets",), "realtime targets, and /v1/realtime of serve"),
    "otel": (("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"), "figures for OpenTelemetry"),
    "gpu": (("nvidia-ml-py",), "how busy NVIDIA GPUs are, and their memory"),
    "tokens": (("tiktoken", "tokenizers"), "token counts by a model's tokenizer where a server tells none"),
    "notebook": (("pandas", "polars", "pyarrow"), "a result as a table in a notebook, and Parquet files"),
    "benchmark": (("pygal", "pygaljs"), "pytest --benchmark-histogram"),
    "test": (("pytest", "hypothesis", "numpy", "scipy", "jsonschema"), "the project's own tests"),
}
"""Extra → its packages, and what they are for."""

SO_TIMESTAMPING = 37
SOFTWARE_STAMPS = 0x02 | 0x08 | 0x10
FEW_FILES = 4096


class Finding(NamedTuple):
    """One line: ``state`` is ok, missing (a run cannot do without) or absent (something is not to be had)."""

    state: str
    name: str
    value: str
    remedy: str = ""


def configure(parser: ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")


def execute(arguments: Namespace) -> int:
    """Prints the findings; 1 when something is missing that a run needs."""
    found = list(findings())
    if arguments.json:
        import json

        print(json.dumps([finding._asdict() for finding in found], indent=2))
    else:
        from perfsuite.cli.screen import put

        width = max(len(finding.name) for finding in found)
        for finding in found:
            put(f"{finding.state:<8}{finding.name:<{width}}  {finding.value}")
            if finding.remedy:
                put(f"{'':<8}{'':<{width}}  → {finding.remedy}")
    return 1 if any(finding.state == "missing" for finding in found) else 0


def findings() -> Iterator[Finding]:
    """Everything that is looked at, in turn; a check that itself fails says so and does not stop the others."""
    for check in (
        _python,
        _core,
        _packages,
        _extras,
        _systems,
        _compilers,
        _sqlite,
        _clock,
        _stamps,
        _files,
        _memory,
        _processor,
        _collectors,
        _plugins,
    ):
        yield from _careful(check)


def _careful(check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from check()
    except (OSError, ValueError) as error:
        yield Finding("absent", check.__name__.strip("_"), f"could not be looked at: {error}")


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info >= (3, 11)
    yield Finding(
        "ok" if good else "missing", "python", f"{version} ({sys.executable})", "" if good else "install 3.11"
    )


def _core() -> Iterator[Finding]:
    from perfsuite import __version__

    where = Path(__file__).resolve().parents[1]
    try:
        from perfsuite import _core as core
    except ImportError as error:
        remedy = "pip install --force-reinstall perfsuite, or in a checkout: python setup.py build_ext --inplace"
        yield Finding("missing", "perfsuite", f"{__version__}, its C part cannot be loaded: {error}", remedy)
        return
    slow = core.build != "release"
    remedy = "for figures that count, build without PERFSUITE_BUILD" if slow else ""
    yield Finding("absent" if slow else "ok", "perfsuite", f"{__version__}, {core.build} build ({where})", remedy)


def _version(package: str) -> str | None:
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[Finding]:
    for package in BASE:
        version = _version(package)
        remedy = "" if version else f"{_pip()} install {package}"
        yield Finding("ok" if version else "missing", package, version or "not installed", remedy)


def _extras() -> Iterator[Finding]:
    for extra, (packages, purpose) in EXTRAS.items():
        have = {package: _version(package) for package in packages}
        lacking = [package for package, version in have.items() if version is None]
        value = ", ".join(f"{package} {version}" for package, version in have.items() if version)
        if not lacking:
            yield Finding("ok", f"[{extra}]", value)
        else:
            value = f"no {', '.join(lacking)}: {purpose} cannot be had"
            yield Finding("absent", f"[{extra}]", value, f"{_pip()} install {' '.join(lacking)}")


def _systems() -> Iterator[Finding]:
    """The memory systems that can be measured, here or in an environment of their own."""
    from perfsuite.memory import environments, registry
    from perfsuite.plugins import MEMORY, BrokenPlugin, plugins

    others = {one.name: one for one in plugins(MEMORY)}
    for name, system in registry.known().items():
        if name in others and system.factory == others[name].value:
            why = None
            try:
                others[name].load()
            except BrokenPlugin as error:
                why = str(error)
            yield _plugged(f"memory:{name}", others[name], why)
            continue
        here = registry.shares_this_environment(system)
        python = None if here else environments.python_of(system)
        lacking = registry.unverified(system)
        if (here or python is not None) and lacking is not None:
            yield Finding("absent", f"memory:{name}", f"unverified: {lacking}", f"export {system.key_variable}=…")
        elif here:
            yield Finding("ok", f"memory:{name}", f"here: {system.note}")
        elif python is not None:
            yield Finding("ok", f"memory:{name}", f"in an environment of its own: {python}")
        else:
            yield Finding(
                "absent", f"memory:{name}", f"not installed: {system.note}", f"perfsuite compare --setup {name}"
            )


def _pip() -> str:
    return f"{sys.executable} -m pip"


def _compilers() -> Iterator[Finding]:
    found = [path for name in ("gcc", "clang", "cc") if (path := shutil.which(name))]
    remedy = "" if found else "needed to build from source: apt install build-essential python3-dev"
    yield Finding("ok" if found else "absent", "C compiler", ", ".join(found) or "none", remedy)


def _sqlite() -> Iterator[Finding]:
    import sqlite3

    with closing(sqlite3.connect(":memory:")) as database:
        options = {row[0] for row in database.execute("PRAGMA compile_options")}
        try:
            database.execute("CREATE VIRTUAL TABLE t USING fts5(x)")
            fts5 = True
        except sqlite3.OperationalError:
            fts5 = False
    remedy = "" if fts5 else "use a Python whose SQLite has FTS5: the reference system's full-text search needs it"
    name = f"SQLite {sqlite3.sqlite_version}"
    yield Finding("ok" if fts5 else "missing", "full-text search", f"{name}, FTS5 {'yes' if fts5 else 'no'}", remedy)
    loadable = hasattr(sqlite3.Connection, "enable_load_extension") and "OMIT_LOAD_EXTENSION" not in options
    remedy = "" if loadable else "for sqlite-vec use a Python built with --enable-loadable-sqlite-extensions"
    yield Finding("ok" if loadable else "absent", "loadable extensions", "yes" if loadable else "no", remedy)


def _clock() -> Iterator[Finding]:
    info = time.get_clock_info("monotonic")
    source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    name = source.read_text(encoding="ascii").strip() if source.exists() else info.implementation
    steps = sorted(later - earlier for earlier, later in _pairs(2000))
    cost = steps[len(steps) // 2]
    slow = name in ("hpet", "acpi_pm", "jiffies")
    remedy = "every reading is a system call: boot with clocksource=tsc where the machine allows it" if slow else ""
    yield Finding("absent" if slow else "ok", "clock", f"{name}, {cost} ns from reading to reading", remedy)


def _pairs(count: int) -> Iterator[tuple[int, int]]:
    now = time.perf_counter_ns
    return ((now(), now()) for _ in range(count))


def _stamps() -> Iterator[Finding]:
    import socket

    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as wire:
            wire.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, SOFTWARE_STAMPS)
        yield Finding("ok", "kernel stamps", "yes")
    except OSError as error:
        yield Finding("absent", "kernel stamps", f"no ({error.strerror}): arrivals are stamped in the process")


def _files() -> Iterator[Finding]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = soft != resource.RLIM_INFINITY and soft < FEW_FILES
    value = "unlimited" if soft == resource.RLIM_INFINITY else f"{soft}"
    remedy = f"for more than {soft - 64} requests in flight: ulimit -n {hard if hard > soft else 65536}" if few else ""
    yield Finding("absent" if few else "ok", "open files", value, remedy)


def _memory() -> Iterator[Finding]:
    from perfsuite.units import figure

    try:
        import psutil
    except ImportError:
        return  # named above
    memory = psutil.virtual_memory()
    value = f"{figure(memory.total, 'bytes')}, {figure(memory.available, 'bytes')} available"
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text(encoding="ascii").strip()).isdigit():
        value += f"; this container may use {figure(int(text), 'bytes')}"
    yield Finding("ok", "memory", value)


def _collectors() -> Iterator[Finding]:
    from perfsuite.collectors import said_of

    for name, said in said_of().items():
        absent = said.startswith("absent: ")
        yield Finding("absent" if absent else "ok", name, said.removeprefix("absent: "))


def _plugins() -> Iterator[Finding]:
    """Targets and benchmarks of other packages, whose collectors and memory systems are told with the others; and what
    this folder's files name."""
    from perfsuite.plugins import BENCHMARKS, TARGETS, BrokenPlugin, plugins
    from perfsuite.sources import Reading, read_file

    reading = Reading()
    reading.add_installed()
    read_file(reading, Path("pyproject.toml"), "tool", "perfsuite")
    read_file(reading, Path("perfsuite.toml"))
    for kind, one in reading.named:
        yield _plugged(f"{kind} {one.name}", one, None)
    for text in reading.mistakes.texts:
        yield Finding("absent", "configuration", text, "every command stops at it: mend that file")
    for one in plugins(BENCHMARKS):
        yield _plugged(f"benchmark {one.name}", one, reading.broken.get(one.name))
    for one in plugins(TARGETS):
        why = None
        try:
            one.load()
        except BrokenPlugin as error:
            why = str(error)
        yield _plugged(f"target {one.name}:", one, why)


def _plugged(name: str, one: Plugin, why: str | None) -> Finding:
    if why is None:
        return Finding("ok", name, f"from {one.package}")
    return Finding("absent", name, why, f"update or remove {one.package}")


def _processor() -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    busy = load > 0.5 * cores
    remedy = "other programs use this machine: end them before figures that count" if busy else ""
    yield Finding("absent" if busy else "ok", "processor", f"{cores} cores, load {load:.1f}", remedy)

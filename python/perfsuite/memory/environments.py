"""Environments of their own, for memory systems that may not share this one.

Each is a virtual environment under ``$PERFSUITE_CACHE`` [``$XDG_CACHE_HOME/perfsuite``, ``~/.cache/perfsuite``]
``/environments/``, named after the system and a digest of what it needs: a change of either makes another.  One that is
half made is not used: the file that says it is whole is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from perfsuite.atomic import replace
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.memory.registry import Known

WHOLE = "perfsuite.json"
LONGEST_INSTALL_S = 1800.0
NEWEST_MINOR = 20
PROBE = (
    "import sys, sqlite3, venv, ensurepip; "
    "print(*sys.version_info[:2], hasattr(sqlite3.Connection, 'enable_load_extension'))"
)
"""Prints the version and whether SQLite loads extensions; fails where no environment can be made."""


def folder(system: Known) -> Path:
    """Where the system's environment is, or would be."""
    said = json.dumps([system.needs, system.python, system.loadable_extensions])
    return cache() / "environments" / f"{system.name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def cache() -> Path:
    """The folder of what is kept between runs."""
    own = os.environ.get("PERFSUITE_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "perfsuite"


def python_of(system: Known) -> Path | None:
    """The Python of the system's environment; None where it has not been made, or not to the end."""
    where = folder(system)
    python = where / "bin" / "python"
    return python if (where / WHOLE).exists() and python.exists() else None


def create(system: Known) -> Path:
    """Makes the system's environment, unless it is there, and returns its Python.

    Raises UsageError where no Python on this machine will do, PerfsuiteError with pip's last words where it fails.
    """
    found = python_of(system)
    if found is not None:
        return found
    base = _base(system)
    where = folder(system)
    where.parent.mkdir(parents=True, exist_ok=True)
    _run([str(base), "-m", "venv", "--clear", str(where)], f"making the environment of {system.name}")
    python = where / "bin" / "python"
    if system.needs:
        command = [
            str(python),
            "-m",
            "pip",
            "install",
            "--disable-pip-version-check",
            "--no-input",
            "-q",
            *system.needs,
        ]
        _run(command, f"installing {' '.join(system.needs)} for {system.name}")
    listed = _run(
        [str(python), "-m", "pip", "list", "--format=json", "--disable-pip-version-check"], "listing packages"
    )
    packages = {one["name"]: one["version"] for one in json.loads(listed)}
    said = json.dumps({"system": system.name, "base": str(base), "packages": packages}).encode()
    replace(where / WHOLE, said, where / f"{WHOLE}.part")
    return python


def _base(system: Known) -> Path:
    """A Python on this machine that the system runs on: this one where it will do, else the oldest that does."""
    looked = []
    for python in _pythons():
        try:
            said = subprocess.run([python, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            continue
        major, minor, loads = said.split()
        looked.append(f"{python} ({major}.{minor})")
        if (int(major), int(minor)) >= system.python and (loads == "True" or not system.loadable_extensions):
            return python
    feature = " whose SQLite loads extensions (Debian's does)" if system.loadable_extensions else ""
    wanted = ".".join(map(str, system.python))
    raise UsageError(
        f"{system.name} needs Python {wanted} or newer{feature}, with venv; none of these is one: {', '.join(looked)}"
    )


def _pythons() -> Iterator[Path]:
    seen = set()
    paths = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    names = [f"python3.{minor}" for minor in range(11, NEWEST_MINOR)] + ["python3"]
    for candidate in [Path(sys.executable), *(path / name for name in names for path in paths)]:
        if candidate.exists() and candidate.resolve() not in seen:
            seen.add(candidate.resolve())
            yield candidate


def _run(command: list[str], doing: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_INSTALL_S,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise PerfsuiteError(f"{doing} took longer than {LONGEST_INSTALL_S:g} s and was ended") from None
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise PerfsuiteError(f"{doing} failed: {words[-1] if words else f'exit status {done.returncode}'}")
    return done.stdout

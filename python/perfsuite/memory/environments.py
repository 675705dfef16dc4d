"""Environments of their own, for memory systems that may not share this one.

Each is a virtual environment under ``$XDG_CACHE_HOME/perfsuite/environments`` [``~/.cache``], named after what it has:
a digest of the requirements and the version of Python.  Systems of the same needs share one.  It is used once the file
that says it is whole is there, which is written last; two processes that want the same one wait for one another.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from perfsuite import pythonpath
from perfsuite.atomic import replace
from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.memory.registry import Known

WHOLE = "perfsuite.json"
LONGEST_INSTALL_S = 1800.0
EVERY_S = 10.0
"""Between two words about an installation."""
LONGEST_WORDS = 100
Say = Callable[[str], object]
NEWEST_MINOR = 20
INSTALLER_WITH_DATES = "uv>=0.8"
"""It leaves out what was uploaded after a day also where the index does not tell pip when that was."""
ELSEWHERE = pythonpath.OWN | {"PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON"}
"""Variables that would lead the interpreter or the installer to another place."""
PROBE = "import sys, sqlite3, venv; print(*sys.version_info[:2], hasattr(sqlite3.Connection, 'enable_load_extension'))"
"""Prints the version and whether SQLite loads extensions; fails where no environment can be made."""


class Base(NamedTuple):
    """A Python on this machine, from which environments can be made."""

    path: Path
    version: tuple[int, int]
    loads_extensions: bool

    def serves(self, system: Known) -> bool:
        """Whether the system runs on it."""
        return system.python <= self.version <= system.newest_python and (
            self.loads_extensions or not system.loadable_extensions
        )

    def suits(self, system: Known) -> bool:
        """Whether the system has all of its features on it."""
        return self.version >= system.full_python and (self.loads_extensions or not system.extensions_help)


def cache() -> Path:
    """The folder of environments."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    folder = Path(base) if os.path.isabs(base) else Path.home() / ".cache"
    return folder / "perfsuite" / "environments"


def stem(system: Known) -> str:
    """What the names of a system's environments begin with, whatever Python they have."""
    said = json.dumps([sorted(system.needs), system.before, system.loadable_extensions, system.extensions_help])
    first = re.match(r"[\w.-]+", system.needs[0]) if system.needs else None
    return f"{first[0] if first else 'plain'}-{hashlib.sha256(said.encode()).hexdigest()[:12]}-py"


def python_of(system: Known) -> Path | None:
    """The Python of the system's environment; None where none has been made, or not to the end."""
    whole = [python for python in (one / "bin" / "python" for one in _made(system)) if python.exists()]
    return whole[-1] if whole else None


def _made(system: Known) -> list[Path]:
    """The environments that are whole, that of the newest Python last."""

    def version(folder: Path) -> tuple[int, ...]:
        return tuple(int(part) for part in folder.name.rpartition("-py")[2].split(".") if part.isdigit())

    return sorted((one.parent for one in cache().glob(f"{stem(system)}*/{WHOLE}")), key=version)


def make(system: Known, say: Say = lambda text: None) -> Path:
    """Makes the system's environment, unless it is there, and returns its Python.  ``say`` is told what is under way,
    as it begins and every EVERY_S.

    Raises UsageError where no Python on this machine will do, PerfsuiteError with the installer's last words where it
    fails; what is half made is made anew the next time.
    """
    found = python_of(system)
    if found is not None:
        return found
    base = base_for(system)
    where = cache() / f"{stem(system)}{'.'.join(map(str, base.version))}"
    python = where / "bin" / "python"
    with _alone(where, lambda: say(f"{system.name}: waiting for another process that makes {where}")):
        if (where / WHOLE).exists() and python.exists():
            return python  # another process has made it meanwhile
        try:
            _install(system, base, where, python, say)
        except BaseException:
            shutil.rmtree(where, ignore_errors=True)
            raise
    return python


def _install(system: Known, base: Base, where: Path, python: Path, say: Say) -> None:
    own_pip = find_spec("pip") is None
    made = [str(base.path), "-m", "venv", "--clear", *([] if own_pip else ["--without-pip"]), str(where)]
    say(f"{system.name}: making {where} with {base.path}")
    _run(made, f"making the environment of {system.name}")
    pip = [str(python), "-m", "pip"] if own_pip else [sys.executable, "-m", "pip", "--python", str(python)]
    pip += ["--disable-pip-version-check", "--no-input"]
    if system.needs:
        install = [*pip, "install", "--progress-bar=off", *system.needs]
        if system.before:
            _run([*pip, "install", "-q", INSTALLER_WITH_DATES], f"installing {INSTALLER_WITH_DATES} for {system.name}")
            uv = [str(where / "bin" / "uv"), "pip", "install", "--python", str(python)]
            install = [*uv, "--exclude-newer", f"{system.before}T00:00:00Z", *system.needs]
        _watched(install, f"installing {' '.join(system.needs)} for {system.name}", say)
    listed = _run([*pip, "list", "--format=json"], "listing packages")
    packages = {one["name"]: one["version"] for one in json.loads(listed)}
    said = {"needs": system.needs, "before": system.before, "base": str(base.path), "packages": packages}
    replace(where / WHOLE, json.dumps(said, indent=1).encode(), where / f"{WHOLE}.part")


@contextmanager
def _alone(where: Path, waiting: Callable[[], object]) -> Iterator[None]:
    """Keeps other processes from the folder; a lock ends with its process, however that ends.  ``waiting`` is called
    where another has it."""
    try:
        where.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(where.with_name(f"{where.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise PerfsuiteError(
            f"no environment can be made in {where.parent}: {error.strerror}; name another folder in XDG_CACHE_HOME"
        ) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def base_for(system: Known) -> Base:
    """The Python for a system's environment: the first that it has all of its features on, else that it runs on.
    This process's Python is the first that is looked at; UsageError where none will do."""
    looked: list[Base] = []
    for base in _bases():
        looked.append(base)
        if base.serves(system) and base.suits(system):
            return base
    for base in looked:
        if base.serves(system):
            return base
    feature = " whose SQLite loads extensions (Debian's does)" if system.loadable_extensions else ""
    oldest, newest = (".".join(map(str, version)) for version in (system.python, system.newest_python))
    wanted = f"{oldest} to {newest}" if system.newest_python < Known.ANY else f"{oldest} or newer"
    seen = ", ".join(f"{one.path} ({'.'.join(map(str, one.version))})" for one in looked) or "there is none"
    raise UsageError(f"{system.name} needs Python {wanted}{feature}, with venv; none of these is one: {seen}")


def _bases() -> Iterator[Base]:
    """The Pythons of this machine: this one, those on the path from the oldest, those of pyenv."""
    seen = set()
    folders = [Path(entry) for entry in os.environ.get("PATH", "").split(os.pathsep) if entry]
    names = [f"python3.{minor}" for minor in range(11, NEWEST_MINOR)] + ["python3"]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [folder / name for name in names for folder in folders]
    for candidate in [Path(sys.executable), *candidates, *sorted(pyenv.glob("3.*/bin/python3"))]:
        if not candidate.exists() or (resolved := candidate.resolve()) in seen:
            continue
        seen.add(resolved)
        try:
            done = subprocess.run([candidate, "-c", PROBE], capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        major, minor, loads = done.stdout.split()
        yield Base(candidate, (int(major), int(minor)), loads == "True")


def _watched(command: list[str], doing: str, say: Say) -> None:
    """Runs an installer that takes minutes, and tells every EVERY_S what it said last."""
    say(doing)
    said: deque[str] = deque(maxlen=20)
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=pythonpath.without(ELSEWHERE),
    )
    output = process.stdout
    assert output is not None
    reader = threading.Thread(target=lambda: said.extend(filter(None, map(str.strip, output))), name=doing)
    reader.start()
    begun = time.monotonic()
    try:
        while process.poll() is None:
            try:
                process.wait(EVERY_S)
            except subprocess.TimeoutExpired:
                took = time.monotonic() - begun
                if took > LONGEST_INSTALL_S:
                    raise PerfsuiteError(f"{doing} took longer than {LONGEST_INSTALL_S:g} s and was ended") from None
                say(f"{doing}, for {took:.0f} s: {said[-1][:LONGEST_WORDS] if said else 'it has said nothing yet'}")
    finally:
        process.kill()
        process.wait()
        reader.join()
        output.close()
    if process.returncode:
        raise PerfsuiteError(f"{doing} failed: {_why(list(said), process.returncode)}")


def _why(said: list[str], status: int) -> str:
    """The installer's own word for what went wrong, before what it advises."""
    errors = [line for line in said if line.lower().startswith(("error", "×"))]
    return (errors or said or [f"exit status {status}"])[-1]


def _run(command: list[str], doing: str) -> str:
    environment = pythonpath.without(ELSEWHERE)
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
        said = (done.stderr or done.stdout).strip().splitlines()
        raise PerfsuiteError(f"{doing} failed: {_why(said, done.returncode)}")
    return done.stdout

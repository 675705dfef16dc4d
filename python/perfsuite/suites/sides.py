"""The sides of a comparison: a folder, a URL, or a revision laid out in a worktree and built aside.

Both use this environment's dependencies, and each its own code: a revision that can be built is installed into a folder
of its own (``pip install --no-deps --target``), which comes first on its path; a project without a build is run from
its folder, its ``src`` first.  What the target's module is really imported from is checked: an editable installation of
one side would otherwise be measured twice.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Literal, NamedTuple

from perfsuite import pythonpath
from perfsuite.errors import PerfsuiteError, UsageError

Kind = Literal["revision", "folder", "url"]
BUILD_S = 1800.0
LINES, LONGEST_LINE = 3, 300
"""What is told of a command that failed."""


class Side(NamedTuple):
    """One of the two.  ``words``: what its runs need on the command line; ``own``: where its code must come from."""

    role: str
    given: str
    kind: Kind
    name: str
    folder: Path
    words: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    own: tuple[Path, ...] = ()
    commit: str | None = None


@contextlib.contextmanager
def laid_out(given: str, role: str, scratch: Path, *, build: bool = True) -> Iterator[Side]:
    """A side, ready to be measured; a worktree made for it is gone afterwards.

    ``role`` is ``base`` or ``head``.  Raises UsageError for what is none of the three, PerfsuiteError where it cannot
    be built."""
    if "://" in given:
        yield Side(role, given, "url", given, Path.cwd(), words=(f"--target={given}",))
    elif Path(given).is_dir():
        folder = Path(given).resolve()
        yield Side(role, given, "folder", given, folder, own=(folder,), environment=_path(_sources(folder)))
    else:
        with _worktree(given, role, scratch) as (folder, commit):
            name = given[:10] if commit.startswith(given) else f"{given} ({commit[:10]})"
            site = scratch / f"{role}-site"
            if build and _can_be_built(folder):
                _build(folder, site, name)
                # Without the current folder in front, sources that were built would hide what was built of them.
                environment = (*_path([site, folder]), ("PYTHONSAFEPATH", "1"))
                yield Side(role, given, "revision", name, folder, (), environment, (site, folder), commit)
            else:
                environment = _path(_sources(folder))
                yield Side(role, given, "revision", name, folder, (), environment, (folder,), commit)


def check_origin(side: Side, target: str) -> None:
    """Raises UsageError when the module of a ``python:`` target would be imported from somewhere else than the side's
    own folder."""
    if not target.startswith("python:") or not side.own:
        return
    module = target.removeprefix("python:").partition(":")[0].partition(".")[0]
    code = (
        "import importlib.util, os, sys\n"
        "sys.path.insert(0, os.getcwd()) if os.getcwd() not in sys.path else None\n"
        "found = importlib.util.find_spec(sys.argv[1])\n"
        "print('' if found is None else found.origin or next(iter(found.submodule_search_locations or ()), ''))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, module], cwd=side.folder, env={**os.environ, **dict(side.environment)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    origin = done.stdout.strip()
    if done.returncode == 0 and origin and not any(Path(origin).resolve().is_relative_to(own) for own in side.own):
        raise UsageError(
            f"--{side.role} {side.given}: its target's module {module} is imported from {origin}, not from "
            f"{side.folder}: the other side's code would be measured; uninstall it, or keep it off PYTHONPATH"
        )


def _sources(folder: Path) -> list[Path]:
    return [folder / "src", folder] if (folder / "src").is_dir() else [folder]


def _path(folders: list[Path]) -> tuple[tuple[str, str], ...]:
    return ((pythonpath.VARIABLE, pythonpath.joined(first=folders)),)


@contextlib.contextmanager
def _worktree(revision: str, role: str, scratch: Path) -> Iterator[tuple[Path, str]]:
    """The folder of a revision that corresponds to the current one, and the commit."""
    if _git("rev-parse", "--is-inside-work-tree").strip() != "true":
        raise UsageError(
            f"--{role} {revision}: there is no such folder, and this is no git repository that could have a revision "
            "of that name; give a folder, a URL, or run from within the repository"
        )
    commit = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    if not commit:
        hint = "; fetch it first (actions/checkout with fetch-depth: 0)" if _shallow() else ""
        raise UsageError(f"--{role} {revision}: neither a folder, a URL nor a revision of this repository{hint}")
    inside = _git("rev-parse", "--show-prefix").strip()
    top = scratch / f"{role}-revision"
    made = _run(["git", "-c", "core.hooksPath=/dev/null", "worktree", "add", "--quiet", "--detach", str(top), commit])
    if made.returncode != 0:
        raise PerfsuiteError(f"cannot lay out {revision}: {_last(made)}")
    try:
        folder = (top / inside).resolve()
        if not folder.is_dir():
            raise UsageError(f"--{role} {revision}: has no folder {inside}, which this command was started in")
        yield folder, commit
    finally:
        _run(["git", "worktree", "remove", "--force", str(top)])


def _shallow() -> bool:
    return _git("rev-parse", "--is-shallow-repository").strip() == "true"


def _can_be_built(folder: Path) -> bool:
    if (folder / "setup.py").exists() or (folder / "setup.cfg").exists():
        return True
    return bool({"project", "build-system"} & set(_pyproject(folder)))


def _pyproject(folder: Path) -> dict[str, object]:
    try:
        return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / 'pyproject.toml'}: {error}") from error


def _build(folder: Path, site: Path, name: str) -> None:
    if importlib.util.find_spec("pip") is None:
        raise PerfsuiteError(f"to build {name} pip is needed: python -m ensurepip, or --no-build to run its sources")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    if _has_requirements(folder):
        command.append("--no-build-isolation")
    done = _run([*command, "--target", str(site), str(folder)], timeout_s=BUILD_S)
    if done.returncode != 0:
        raise PerfsuiteError(f"{name} cannot be built: {_last(done)}; --no-build runs its sources as they are")


def _has_requirements(folder: Path) -> bool:
    """Whether what builds it is installed here, as new as it asks for: then no network is needed for it."""
    from packaging.requirements import InvalidRequirement, Requirement

    system = _pyproject(folder).get("build-system")
    wanted = system.get("requires", []) if isinstance(system, dict) else ["setuptools"]
    try:
        for one in map(Requirement, map(str, wanted)):
            applies = one.marker is None or one.marker.evaluate()
            if applies and not one.specifier.contains(metadata.version(one.name), prereleases=True):
                return False
    except (metadata.PackageNotFoundError, InvalidRequirement):
        return False
    return True


def _git(*words: str) -> str:
    done = _run(["git", *words])
    return done.stdout if done.returncode == 0 else ""


def _run(command: list[str], timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except FileNotFoundError as error:
        raise PerfsuiteError(f"{command[0]} is not installed: a revision cannot be laid out without it") from error
    except subprocess.TimeoutExpired as error:
        raise PerfsuiteError(f"{' '.join(command[:4])} took longer than {timeout_s:g} s") from error


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """Why it failed, in its own words: what it calls errors, else its last lines."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"error: *\S", line, re.IGNORECASE)]
    said = (errors or lines)[-LINES:]
    return "; ".join(line[:LONGEST_LINE] for line in said) or f"exit status {done.returncode}"

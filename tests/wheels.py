"""Wheels that install clean and come out the same: ``python tests/wheels.py [PYTHON…]``.

For each Python that is named [this one]: of what is committed two wheels are built in two folders and one from the
sdist, which have to be equal, byte for byte; the wheel is installed into a fresh environment in whose path there is no
compiler, with nothing built there, and measures.  Needs a C compiler and the network's package index; ends with 1
where something is not so, and says what.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SDIST = "from setuptools import build_meta; print(build_meta.build_sdist('dist'))"


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """What it says; SystemExit with its words when it fails."""
    words = [str(part) for part in command]
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PERFSUITE_", "PIP_"))}
    done = subprocess.run(words, cwd=cwd, env={**own, **variables}, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def checked(python: str, folder: Path) -> str:
    """One Python; a line that says what was seen."""
    version = run(python, "-c", "import platform; print(platform.python_version())", cwd=folder).strip()
    epoch = run("git", "log", "-1", "--format=%ct", cwd=ROOT).strip()
    maker, user = folder / "maker", folder / "user"
    run(python, "-m", "venv", maker, cwd=folder)
    run(maker / "bin/python", "-m", "pip", "install", "-q", "setuptools>=77", cwd=folder)

    def wheel(source: Path) -> Path:
        out = source.parent / f"{source.name}-wheel"
        pip = (maker / "bin/python", "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", out, source)
        run(*pip, cwd=folder, SOURCE_DATE_EPOCH=epoch)
        (found,) = out.glob("*.whl")
        return found

    sources = [folder / "one", folder / "another/folder"]
    for source in sources:
        run("git", "clone", "-q", ROOT, source, cwd=folder)
    name = run(maker / "bin/python", "-c", SDIST, cwd=sources[0]).strip().splitlines()[-1]
    shutil.unpack_archive(sources[0] / "dist" / name, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    wheels = [wheel(source) for source in (*sources, unpacked)]
    sums = [hashlib.sha256(one.read_bytes()).hexdigest() for one in wheels]
    if len(set(sums)) != 1:
        said = "\n".join(f"  {total}  {one}" for total, one in zip(sums, wheels, strict=True))
        raise SystemExit(f"Python {version}: wheels of one commit differ (two folders, the sdist):\n{said}")

    run(python, "-m", "venv", user, cwd=folder)
    path = str(user / "bin")
    if shutil.which("cc", path=path) or shutil.which("gcc", path=path):
        raise SystemExit(f"there is a compiler in {path}")
    pip = (user / "bin/python", "-m", "pip", "install", "-q", "--only-binary", ":all:", wheels[0])
    run(*pip, cwd=folder, PATH=path)
    command = (user / "bin/perfsuite", "run", "baseline", "--duration", "1s", "--history", "off")
    said = run(*command, cwd=folder, PATH=path)
    if not list(folder.glob("test-results/metrics-*.html")):
        raise SystemExit(f"Python {version}: the installed package wrote no page:\n{said}")
    run(user / "bin/python", "-m", "pip", "check", cwd=folder, PATH=path)
    size = wheels[0].stat().st_size
    return f"Python {version}: {wheels[0].name}, {size:,} bytes, sha256 {sums[0][:16]}… three times; installs, measures"


def main() -> int:
    if run("git", "status", "--porcelain", cwd=ROOT):
        print("what is not committed is not in it", file=sys.stderr)
    for python in sys.argv[1:] or [sys.executable]:
        with tempfile.TemporaryDirectory(prefix="perfsuite-wheels-") as folder:
            print(checked(python, Path(folder).resolve()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The slow looks at the C, by one command: ``python tests/deep.py [sanitizers|valgrind|fuzz…] [--seconds 60]``.

``sanitizers``: the plain C tests with each compiler, and the tests of the extension, under the address and
undefined-behaviour sanitizers.  ``valgrind``: the plain C tests, as they are compiled for users, with every leak and
every use of what was never set an error.  ``fuzz``: each decoder for so many seconds, with a corpus that grows from run
to run (``tests/fuzz/deep.py``).  All of them where none is named; the exit code is 1 when one found something.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from compilers import ROOT, build

VALGRIND = ("valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite")
FAILED = 1
"""What a test ends with whose checks do not hold, and in which valgrind found nothing."""
SAID = 3000


def called(*command: str | Path) -> bool:
    """Whether it ended well; what it says is shown."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode == 0


def sanitizers(_: argparse.Namespace) -> bool:
    return called(sys.executable, "-m", "pytest", "-q", "tests/test_c.py", "tests/isolated/test_sanitizers.py")


def valgrind(_: argparse.Namespace) -> bool:
    if shutil.which("valgrind") is None:
        print("valgrind is not installed: apt-get install valgrind")
        return False
    good = True
    with tempfile.TemporaryDirectory(prefix="perfsuite-valgrind-") as folder:
        for source in sorted((ROOT / "tests/c").glob("test_*.c")):
            binary = Path(folder) / source.stem
            build("gcc", source, binary, "-O2")
            done = subprocess.run([*VALGRIND, binary], cwd=folder, capture_output=True, text=True, check=False)
            said = {
                0: "ok",
                FAILED: "no error; checks failed that want 80-bit long doubles or speed, which valgrind has not",
            }
            print(f"{source.stem}: {said.get(done.returncode, 'FOUND SOMETHING')}", flush=True)
            if done.returncode not in said:
                good = False
                print(done.stdout[-SAID:] + done.stderr[-SAID:])
    return good


def fuzz(options: argparse.Namespace) -> bool:
    return called(sys.executable, "tests/fuzz/deep.py", "--seconds", str(options.seconds))


LOOKS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "sanitizers": sanitizers,
    "valgrind": valgrind,
    "fuzz": fuzz,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("looks", nargs="*", metavar="LOOK", help=", ".join(LOOKS))
    parser.add_argument("--seconds", type=int, default=60, help="for each fuzzer [60]")
    options = parser.parse_args()
    unknown = set(options.looks) - set(LOOKS)
    if unknown:
        parser.error(f"no such look: {', '.join(sorted(unknown))}; there are {', '.join(LOOKS)}")
    found = [name for name in options.looks or LOOKS if not LOOKS[name](options)]
    print(f"found something: {', '.join(found)}" if found else "nothing was found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

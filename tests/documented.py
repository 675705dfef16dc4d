"""What a document of docs/ shows, done as its reader would do it, in a folder of its own.

Its blocks are done in order, by their languages:

- ``console``: what follows ``$`` is run by bash (``>`` goes on with it), and the lines below are what it says.  One
  that ends with ``&`` goes on, until the document ends, and what it says at first is compared.  One that fails has to
  be followed by ``$ echo $?`` and its number.
- any whose first line is a comment with the name of a file: is that file.
- ``python``: is run, all such blocks of a document in one process, with ``await`` where a notebook has it.
- ``text``: what the Python before it has printed.

What is said is compared line by line and by its shape: for a number any will do, for a time any unit of time, for room
any number of blanks; ``…`` is any text, and as a line of its own any lines.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from plugged import MODULES, PACKAGE

PATIENCE_S = 300.0
PORTS = re.compile(r"\b800\d\b")
"""Of the services in documents; whoever runs them is given others, which are free."""
OWN = """
import ast, asyncio, inspect, json, sys
names = {"__name__": "__main__"}
for line in sys.stdin:
    done = eval(compile(json.loads(line), "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)
    if inspect.iscoroutine(done):
        asyncio.run(done)
    print(chr(0), flush=True)
"""
TOKEN = re.compile(
    r"(?P<any>…)|∞|[-+]?\d[\d,._:]*(?:e[-+]?\d+)?(?:(?P<time> (?:ns|µs|ms|s|min|h)\b)|(?P<size> (?:B|[KMGT]iB)\b))?"
    r"|(?P<room>\s+)|(?P<bars>[▁-▏]+)|(?P<literal>\D)"
)
NUMBER = r"(?:[-+]?\d[\d,._:]*(?:e[-+]?\d+)?|∞)"  # the end of an interval that a busy machine's samples do not reach


READERS: dict[str, Callable[[str], object]] = {".toml": tomllib.loads, ".yaml": yaml.safe_load}
"""Of files that have a form, by their ending."""


class Differs(AssertionError):
    """What came is not what the document shows."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the number of its first line in the document."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A line of a console with what it is shown to say."""

    text: str
    says: list[str]
    line: int


def blocks(text: str) -> list[Block]:
    """All of a document."""
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(one[1], one[2], text.count("\n", 0, one.start()) + 2) for one in found]


def commands(block: Block) -> list[Command]:
    """Of a console."""
    found: list[Command] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            found.append(Command(line[2:], [], number))
        elif not found:
            raise Differs(f"line {number}: a console begins with '$ ' and a command")
        elif line.startswith("> ") and not found[-1].says:
            found[-1] = Command(f"{found[-1].text}\n{line[2:]}", [], found[-1].line)
        else:
            found[-1].says.append(line)
    return found


def shape(line: str) -> re.Pattern[str]:
    """What a shown line stands for."""
    parts = []
    for token in TOKEN.finditer(line.strip()):
        kind = token.lastgroup
        if kind is None:
            parts.append(NUMBER)
        elif kind == "time":
            parts.append(NUMBER + r" (?:ns|µs|ms|s|min|h)\b")
        elif kind == "size":
            parts.append(NUMBER + r" (?:B|[KMGT]iB)\b")
        else:
            parts.append({"any": ".*", "room": r"\s+", "bars": "[▁-▏ ]+"}.get(kind, re.escape(token[0])))
    return re.compile("".join(parts))


def compare(shown: list[str], came: str) -> None:
    """Differs, with the first line that is not there."""
    lines = [line.strip() for line in came.splitlines() if line.strip()]
    at, gap = 0, False
    for line in filter(str.strip, shown):
        if line.strip() == "…":
            gap = True
            continue
        wanted = shape(line)
        tried = range(at, len(lines)) if gap else range(at, min(at + 1, len(lines)))
        found = next((index for index in tried if wanted.fullmatch(lines[index])), None)
        if found is None:
            raise Differs(f"it shows\n  {line.strip()}\nand there came, from line {at + 1} on:\n" + "\n".join(lines))
        at, gap = found + 1, False
    if at < len(lines) and not gap:
        raise Differs("it does not show, of what came:\n" + "\n".join(lines[at:]))


def free_port() -> int:
    """One of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Reader:
    """Does what a document says, in ``folder``."""

    folder: Path
    environment: dict[str, str]
    ports: dict[str, str] = field(default_factory=dict)
    before: str = ""
    """What the last Python printed."""
    status: int = 0
    """Of the last command."""
    closing: ExitStack = field(default_factory=ExitStack)
    python: subprocess.Popen[str] | None = None

    def read(self, text: str) -> int:
        """The whole document; how many blocks were done."""
        found = blocks(text)
        for block in found:
            try:
                self.do(Block(block.language, PORTS.sub(self.port, block.text), block.line))
            except Differs as error:
                raise Differs(f"line {block.line}, {block.language}: {error}") from None
        if self.status:
            raise Differs(f"the last command ended with {self.status}, and no 'echo $?' shows that")
        return len(found)

    def port(self, shown: re.Match[str]) -> str:
        """The one that stands for it, the same in all of a document."""
        return self.ports.setdefault(shown[0], str(free_port()))

    def do(self, block: Block) -> None:
        """One block."""
        name = re.match(r"(?:#|//|<!--) ([\w./-]+\.\w+)\b", block.text)
        if name is not None:
            path = self.folder / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            try:
                READERS.get(path.suffix, str)(block.text)
            except (tomllib.TOMLDecodeError, yaml.YAMLError) as error:
                raise Differs(f"{name[1]}: {error}") from None
        elif block.language == "console":
            for command in commands(block):
                self.run(command)
        elif block.language == "python":
            self.execute(block.text)
        elif block.language == "text":
            compare(block.text.splitlines(), self.before)
        else:
            raise Differs("nobody does such a block; is it a file whose name its first line tells?")

    def run(self, command: Command) -> None:
        """One command."""
        if self.status and "$?" not in command.text:
            raise Differs(f"the command before ended with {self.status}, and no 'echo $?' shows that")
        if command.text.rstrip().endswith("&"):
            compare(command.says, self.begin(command.text.rstrip().removesuffix("&"), len(command.says)))
            return
        done = subprocess.run(
            ["bash", "-c", f"(exit {self.status})\n{command.text}"],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            timeout=PATIENCE_S,
            check=False,
        )
        self.status = done.returncode
        try:
            compare(command.says, done.stdout)
        except Differs as error:
            raise Differs(f"$ {command.text}\n{error}\n(it ended with {done.returncode})") from None

    def begin(self, command: str, lines: int) -> str:
        """Starts what goes on, and gives what it says at first, so many lines."""
        said = self.folder / f".said-{time.monotonic_ns()}"
        with said.open("wb") as out:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.closing.callback(_end, process)
        last = time.monotonic() + PATIENCE_S
        while said.read_text(encoding="utf-8").count("\n") < lines:
            if process.poll() is not None or time.monotonic() > last:
                raise Differs(f"$ {command}&\nit ended with {process.poll()} and said:\n{said.read_text()}")
            time.sleep(0.02)
        return said.read_text(encoding="utf-8")

    def execute(self, code: str) -> None:
        """Python, after what was executed before it."""
        if self.python is None:
            self.python = subprocess.Popen(
                [sys.executable, "-c", OWN],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                start_new_session=True,
            )
            self.closing.callback(_end, self.python)
        assert self.python.stdin is not None
        assert self.python.stdout is not None
        self.python.stdin.write(json.dumps(code) + "\n")
        self.python.stdin.flush()
        said = []
        for line in self.python.stdout:
            if line.startswith("\0"):
                self.before = "".join(said)
                return
            said.append(line)
        raise Differs("it ended with\n" + "".join(said))


def _end(process: subprocess.Popen[bytes] | subprocess.Popen[str]) -> None:
    """It, and what it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


@contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    """A reader who has installed the package, and nothing else, in an empty folder."""
    tools, work = folder / "bin", folder / "work"
    tools.mkdir()
    work.mkdir()
    for name, command in (("perfsuite", "-m perfsuite"), ("pytest", "-m pytest"), ("python", "")):
        (tools / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {command} "$@"\n', encoding="utf-8")
        (tools / name).chmod(0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "PERFSUITE_", "COV_"))}
    environment = {
        **own,
        "PATH": f"{tools}{os.pathsep}{own.get('PATH', os.defpath)}",
        "PYTHONPATH": os.pathsep.join([str(PACKAGE), *filter(None, sys.path)]),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # what else is installed here is not the reader's
        "PYTEST_PLUGINS": MODULES["perfsuite"],
        "PYTHONUTF8": "1",
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "COLUMNS": "100",
        "NO_COLOR": "1",
    }
    with ExitStack() as closing:
        closing.callback(shutil.rmtree, work, ignore_errors=True)
        yield Reader(work, environment, closing=closing)

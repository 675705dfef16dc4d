"""Memory systems made for tests: one that works and says what it is asked to, and ones that go wrong in a known way.

They are named to the host as ``memory_systems:Faulty`` with ``options={"fault": …}``.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from perfsuite.memory.base import Hit


class Plain:
    """A list in memory: recall finds what has the most of the question's words."""

    concurrent = False

    def __init__(self, *, delay_s: float = 0.0, held_bytes: int = 0, concurrent: bool | None = None) -> None:
        self.delay_s = delay_s
        self.held_bytes = held_bytes
        if concurrent is not None:
            self.concurrent = concurrent
        self.texts: dict[str, str] = {}
        self.held: list[bytes] = []

    def info(self) -> Mapping[str, object]:
        return {"name": "plain", "version": "1", "class": "raw", "concurrent": self.concurrent}

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        self.path = workdir / "plain.txt"

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        if self.delay_s:
            time.sleep(self.delay_s)
        identifier = f"p{len(self.texts)}"
        self.texts[identifier] = text
        if self.held_bytes:
            self.held.append(os.urandom(self.held_bytes))
        return [identifier]

    def flush(self) -> None:
        self.path.write_text("\n".join(self.texts.values()), encoding="utf-8")

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        words = {word for word in query.strip("?.").split() if len(word) > 3}
        found = [(sum(word in text for word in words), name, text) for name, text in self.texts.items()]
        best = sorted((one for one in found if one[0]), key=lambda one: -one[0])
        return [Hit(name, text, score) for score, name, text in best[:k]]

    def reset(self) -> None:
        self.texts.clear()
        self.held.clear()

    def close(self) -> None:
        pass


class Detaching(Plain):
    """A list beside which a process runs that left its tree, as a database does that makes itself a daemon; ``die``
    aborts in the next store."""

    HELD_BYTES = 32 << 20

    def __init__(self, *, die: bool = False) -> None:
        super().__init__()
        self.die = die

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        super().initialize(workdir, model_url, dim)
        program = (
            "import os, time\n"
            "if os.fork(): os._exit(0)\n"
            "os.setsid()\n"
            "middle = os.getpid()\n"
            "if os.fork(): os._exit(0)\n"
            "while os.getppid() == middle: time.sleep(0.001)\n"
            f"held = os.urandom({self.HELD_BYTES})\n"
            "os.rename('number', 'daemon') if open('number', 'w').write(str(os.getpid())) else None\n"
            "time.sleep(600)\n"
        )
        environment = {"PATH": os.defpath}
        subprocess.run([sys.executable, "-I", "-c", program], cwd=workdir, env=environment, check=True)
        while not (workdir / "daemon").exists():
            time.sleep(0.01)

    def store(self, *arguments: object, **keywords: object) -> Sequence[str]:
        if self.die:
            os.abort()
        return super().store(*arguments, **keywords)  # type: ignore[arg-type]


class Littering(Plain):
    """A list that leaves a temporary folder behind, whose name it knows."""

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        super().initialize(workdir, model_url, dim)
        self.left = Path(tempfile.mkdtemp())
        (self.left / "server.config").write_text("port 0", encoding="utf-8")

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        return [Hit("left", str(self.left), 1.0)]


class Overlapping(Plain):
    """Coroutines that wait; what was under way at a time at most is in ``info``."""

    def __init__(self, *, delay_s: float = 0.01, concurrent: bool = True) -> None:
        super().__init__()
        self.wait_s = delay_s
        self.concurrent = concurrent
        self.now = self.most = 0

    async def recall(self, query: str, k: int = 5) -> Sequence[Hit]:  # type: ignore[override]
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(self.wait_s)
        self.now -= 1
        return [Hit("most", str(self.most), 1.0)]


class Threaded(Plain):
    """The same in threads."""

    concurrent = True

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.now = self.most = 0

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.01)
        with self.lock:
            self.now -= 1
        return [Hit("most", str(self.most), 1.0)]


class Tiered(Plain):
    """Tells tiers: the oldest third cold, then warm, then hot; or ``lies`` that all are, what is not there too."""

    def __init__(self, *, lies: bool = False) -> None:
        super().__init__()
        self.lies = lies

    def tier_of(self, id: str) -> str | None:
        if self.lies:
            return "hot"
        if id not in self.texts:
            return None
        return ("cold", "warm", "hot")[min(2, 3 * int(id[1:]) // max(1, len(self.texts)))]

    def synthesize(self, query: str) -> str:
        return " ".join(hit.text for hit in self.recall(query))


class Faulty(Plain):
    """Goes wrong in the way that ``fault`` names, at the call with the number ``at``, counted from 0."""

    def __init__(self, *, fault: str, at: int = 0) -> None:
        super().__init__()
        self.fault = fault
        self.at = at
        self.made = 0
        if fault == "start":
            raise RuntimeError("no licence found")

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        super().initialize(workdir, model_url, dim)
        if self.fault == "die at start":
            print("cannot open the vault", flush=True)
            os._exit(3)

    def store(self, text: str, **about: object) -> Sequence[str]:
        self.made += 1
        if self.made - 1 < self.at:
            return super().store(text)
        if self.fault == "hang":
            print("waiting for the quorum", flush=True)
            while True:
                time.sleep(1)
        if self.fault == "die":
            print("segment 7 is damaged", file=sys.stderr, flush=True)
            os.abort()
        if self.fault == "raise":
            raise ValueError(f"refused {text!r}")
        if self.fault == "exit":
            sys.exit(4)
        if self.fault == "chatty":
            print("x" * 100_000)
            os.write(1, b"\x00\x00\x00\x05hello\xff")
        if self.fault == "break the talk":
            for number in range(3, 64):
                try:
                    os.write(number, b"\xff" * 64)
                except OSError:
                    continue
        if self.fault == "nothing":
            return None  # type: ignore[return-value]
        if self.fault == "numbers":
            return [1, 2]  # type: ignore[list-item]
        return super().store(text)

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        if self.fault == "too many":
            return [Hit(str(n), "x", 1.0) for n in range(k + 1)]
        if self.fault == "garbage":
            return ["x", 3, None]  # type: ignore[list-item]
        if self.fault == "text":
            return "found it"  # type: ignore[return-value]
        return super().recall(query, k)


class Liar(Tiered):
    """Claims that everything is hot."""

    def __init__(self) -> None:
        super().__init__(lies=True)


class AllHot(Tiered):
    """Has one tier, and says so."""

    def tier_of(self, id: str) -> str | None:
        return "hot" if id in self.texts else None


class Forgetful(Plain):
    """Stores, and finds nothing, at once."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        return []


class Nothing(Forgetful):
    """Does nothing at all: what is measured is the measuring."""

    def store(self, text: str, **about: object) -> Sequence[str]:  # type: ignore[override]
        return ()


class Slow(Nothing):
    """Waits in each call."""

    def store(self, text: str, **about: object) -> Sequence[str]:  # type: ignore[override]
        time.sleep(0.005)
        return ()

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        time.sleep(0.005)
        return []


class Answers(Nothing):
    """Does nothing, and has an answer at hand."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        return [Hit("1", "an answer", 1.0)]


class AnswersSlowly(Slow):
    """Waits in each call, and has an answer then."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        super().recall(query, k)
        return [Hit("1", "an answer", 1.0)]


class Holder(Plain):
    """Holds 64 KiB of its own for each memory."""

    def __init__(self) -> None:
        super().__init__(held_bytes=65536)


class HangsLater(Faulty):
    """Hangs at the 60th store."""

    def __init__(self) -> None:
        super().__init__(fault="hang", at=60)


class DiesLater(Faulty):
    """Aborts at the 76th store."""

    def __init__(self) -> None:
        super().__init__(fault="die", at=75)


class NeverStarts(Faulty):
    """Raises when it is made."""

    def __init__(self) -> None:
        super().__init__(fault="start")


class Refuser(Faulty):
    """Raises in each store; recall works."""

    def __init__(self) -> None:
        super().__init__(fault="raise")


class AlwaysRefuses(Refuser):
    """Raises in each call."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        raise ValueError("refused as well")


class Lingering(Plain):
    """Takes three milliseconds for a store."""

    def __init__(self) -> None:
        super().__init__(delay_s=0.003)


class MySystemAdapter(Plain):
    """As the document's example makes one."""

    def __init__(self, config: object) -> None:
        super().__init__()
        self.config = config

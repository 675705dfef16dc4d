"""Memory systems for tests: an honest one, and some that cheat, lie, hang, die or talk nonsense.

They are run in processes of their own, by name: ``systems_made:Honest``.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perfsuite.memory.base import Hit

WORD = re.compile(r"\w+")


def words(text: str) -> set[str]:
    return {word for word in WORD.findall(text.lower()) if len(word) > 2}


class Honest:
    """Ranks by shared words; each store is a line that is on the disk when it returns."""

    name = "honest"
    durable = True

    def __init__(self) -> None:
        self.stored: list[tuple[str, str]] = []
        self.file: Path

    def info(self) -> Mapping[str, object]:
        return {"name": self.name, "version": "1", "class": "raw", "configuration": {"file": "json lines"}}

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        self.file = workdir / "memories.jsonl"
        if self.file.exists():
            self.stored = [tuple(json.loads(line)) for line in self.file.read_text("utf-8").splitlines()]

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        one = (f"h{len(self.stored)}", text)
        self.stored.append(one)
        if self.durable:
            self.write([one])
        return [one[0]]

    def write(self, some: Sequence[tuple[str, str]]) -> None:
        with self.file.open("a", encoding="utf-8") as file:
            for one in some:
                file.write(json.dumps(one) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def flush(self) -> None:
        """Nothing is left to do."""

    def recall(self, query: str, k: int = 5) -> Any:
        wanted = words(query)
        scored = [(len(wanted & words(text)) / len(wanted), one, text) for one, text in self.stored]
        scored.sort(key=lambda each: -each[0])
        return [Hit(one, text, value) for value, one, text in scored[:k] if value > 0]

    def reset(self) -> None:
        self.stored = []

    def close(self) -> None:
        """Nothing is open."""


class Liar(Honest):
    """Acknowledges, finds, and keeps nothing until it is flushed."""

    name = "liar"
    durable = False
    written = 0

    def flush(self) -> None:
        self.write(self.stored[self.written :])
        self.written = len(self.stored)


class Forgetful(Honest):
    """Keeps everything in the process alone, flushed or not."""

    name = "forgetful"
    durable = False


class Newest(Honest):
    """Returns what was stored last, whatever is asked."""

    name = "newest"

    def recall(self, query: str, k: int = 5) -> Any:
        return [Hit(one, text, 1.0) for one, text in reversed(self.stored[-k:])]


class Giant(Honest):
    """Returns everything, as one hit."""

    name = "giant"

    def recall(self, query: str, k: int = 5) -> Any:
        return [Hit("all", "\n".join(text for _, text in self.stored), 1.0)]


class Nothing(Honest):
    """Returns nothing, fast."""

    name = "nothing"

    def recall(self, query: str, k: int = 5) -> Any:
        return []


class Slow(Honest):
    """Finds what was stored only after a flush: the background is at rest then."""

    name = "slow"
    seen = 0

    def flush(self) -> None:
        self.seen = len(self.stored)

    def recall(self, query: str, k: int = 5) -> Any:
        every, self.stored = self.stored, self.stored[: self.seen]
        try:
            return super().recall(query, k)
        finally:
            self.stored = every


class Hangs(Honest):
    """Never answers a question."""

    name = "hangs"

    def recall(self, query: str, k: int = 5) -> Any:
        while True:
            time.sleep(60)


class NeverCloses(Honest):
    """Does all that is asked of it, and hangs when it is to end."""

    name = "never-closes"

    def close(self) -> None:
        while True:
            time.sleep(60)


class TakesItsTime(Honest):
    """Starts slower than a call may be."""

    name = "takes-its-time"
    seconds = 2.5

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        time.sleep(self.seconds)
        super().initialize(workdir, model_url, dim)


class NeverOpens(TakesItsTime):
    """Is still starting when nobody waits any more."""

    seconds = 600.0


class Dies(Honest):
    """Ends at the thirtieth memory."""

    name = "dies"

    def store(self, text: str, **about: Any) -> Sequence[str]:
        if len(self.stored) == 30:
            print("out of ideas", flush=True)
            os._exit(7)
        return super().store(text, **about)


class DiesLater(Honest):
    """Ends at the first question of its second life."""

    name = "dies-later"

    def recall(self, query: str, k: int = 5) -> Any:
        mark = self.file.parents[1] / "second"
        if mark.exists():
            os._exit(9)
        return super().recall(query, k)

    def close(self) -> None:
        (self.file.parents[1] / "second").touch()


class Garbage(Honest):
    """Answers with what is no list of hits."""

    name = "garbage"

    def recall(self, query: str, k: int = 5) -> Any:
        return {"results": "many"}


class NeverStarts(Honest):
    """Cannot be opened."""

    name = "never-starts"

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        raise RuntimeError("no licence found")


class Moody(Honest):
    """Fails at every seventh question, and gives an answer of its mood otherwise."""

    name = "moody"
    asked = 0

    def recall(self, query: str, k: int = 5) -> Any:
        self.asked += 1
        if self.asked % 7 == 0:
            raise ValueError("not today")
        found = super().recall(query, k)
        return [Hit(one.id, f"{one.text} ({os.getpid()})", one.score) for one in found]


class AsksModel(Honest):
    """Asks the model's endpoint for embeddings of what it stores, and for a chat about it."""

    name = "asks-model"

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        super().initialize(workdir, model_url, dim)
        assert model_url is not None
        self.url, self.dim = model_url, dim

    def info(self) -> Mapping[str, object]:
        return {**super().info(), "class": "extracting", "disabled": ["telemetry"], "patches": ["none of note"]}

    def store(self, text: str, **about: Any) -> Sequence[str]:
        vector = self.ask("embeddings", {"model": "stand-in-embedding", "input": text, "dimensions": self.dim})
        assert len(vector["data"][0]["embedding"]) == self.dim
        self.ask("chat/completions", {"model": "stand-in", "messages": [{"role": "user", "content": text}]})
        return super().store(text, **about)

    def ask(self, path: str, body: Mapping[str, object]) -> Any:
        import urllib.request

        request = urllib.request.Request(
            f"{self.url}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

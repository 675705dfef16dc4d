"""A memory system: lines in a list, found by the words that they share with a question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from perfsuite.memory.base import Hit


class Notebook:
    """Forgets with its process, and reads every page to answer."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def info(self) -> Mapping[str, object]:
        """What it is."""
        return {"name": "notebook", "version": "1.0", "class": "raw", "concurrent": False, "configuration": {}}

    def initialize(self, workdir: Path, model_url: str | None, dim: int) -> None:
        """An empty one."""

    def store(
        self,
        text: str,
        *,
        metadata: Mapping[str, object] | None = None,
        session: str | None = None,
        timestamp: float | None = None,
    ) -> Sequence[str]:
        """One more line."""
        self._lines.append(text)
        return [str(len(self._lines) - 1)]

    def flush(self) -> None:
        """Nothing waits."""

    def recall(self, query: str, k: int = 5) -> Sequence[Hit]:
        """The lines with most words of the question."""
        asked = set(query.lower().split())
        scores = [(len(asked & set(line.lower().split())), number) for number, line in enumerate(self._lines)]
        best = sorted(((score, number) for score, number in scores if score), reverse=True)[:k]
        return [Hit(str(number), self._lines[number], float(score)) for score, number in best]

    def reset(self) -> None:
        """A new one."""
        self._lines.clear()

    def close(self) -> None:
        """Nothing is held."""

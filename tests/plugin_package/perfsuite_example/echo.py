"""A target: ``echo:plain`` says what it is told, ``echo:loud`` in capitals."""

from __future__ import annotations

from pathlib import Path

from perfsuite import Target, UsageError
from perfsuite.plan import Plan
from perfsuite.targets.function import FunctionTarget

VOICES = {"plain": str, "loud": str.upper}


def make(plan: Plan, rest: str, workdir: Path) -> Target:
    """The target of that voice."""
    if rest not in VOICES:
        raise UsageError(f"echo:{rest}: there is no such voice; write echo:plain or echo:loud")
    return FunctionTarget(lambda messages: VOICES[rest](str(messages[-1]["content"])), f"echo:{rest}")

"""Memory systems: one protocol, a table of the systems that are known, each driven in a process of its own."""

from __future__ import annotations

from perfsuite.memory.base import Hit, MemorySystem

__all__ = ["Hit", "MemorySystem"]

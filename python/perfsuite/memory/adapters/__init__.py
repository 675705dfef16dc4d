"""Adapters: one file for each memory system, and what several share.

They run in the system's own process, perhaps under another Python: only the standard library, perfsuite.memory.base and
the system itself are imported."""

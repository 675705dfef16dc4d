"""Says what of a file of conversations could not be used."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perfsuite.workloads.files import ConversationFile

SHOWN = 5
"""Unusable parts of a file that are shown without --verbose."""


def say_unusable(file: ConversationFile, *, everything: bool) -> None:
    """On stderr, as a compiler would: file:line: reason."""
    shown = file.unusable if everything else file.unusable[:SHOWN]
    for part in shown:
        print(f"{file.path}:{part.line}: {part.reason}", file=sys.stderr)
    if file.unusable_count > len(shown):
        hint = "" if everything else " (--verbose shows more)"
        print(f"{file.path}: and {file.unusable_count - len(shown):,} more that cannot be used{hint}", file=sys.stderr)

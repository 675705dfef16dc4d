"""Tables of text: every cell as wide as its column."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

NARROWEST = 20
DEEPEST = 8
"""Spaces, before the lines that a line goes on in."""
_STEERING = re.compile(r"(\x1b\[[0-9;]*m)")


def padded(rows: Sequence[Sequence[str]], *, right: bool = False) -> list[list[str]]:
    """The cells of rows of one length, filled up with spaces; ``right``: before the text, but in the first column."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        [
            cell.rjust(width) if right and at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        for row in rows
    ]


def lines(rows: Sequence[Sequence[str]], *, before: str = "", right: bool = False) -> Iterator[str]:
    """A line for each row, the columns two spaces apart; ``before`` each of them."""
    for cells in padded(rows, right=right):
        yield (before + "  ".join(cells)).rstrip()


def folded(line: str, width: int) -> list[str]:
    """A line as lines of at most ``width`` columns (20 at least): broken at spaces where it has any, the further ones
    indented a little deeper than the first.  Colours take no room, and go on from line to line."""
    width = max(NARROWEST, width)
    if len(line) <= width and line.isascii():
        return [line]
    indent = " " * min(DEEPEST, len(line) - len(line.lstrip(" ")) + 4)
    made, room, used, bare = [""], width, 0, True
    for piece in re.findall(r"\x1b\[[0-9;]*m| +|[^ \x1b]+|\x1b", line):
        if _STEERING.fullmatch(piece):
            made[-1] += piece
            continue
        size = columns(piece)
        if piece.isspace():
            if used + size < room:
                made[-1] += piece
                used += size
                continue
            if not bare:
                made[-1] = made[-1].rstrip(" ")
                made.append(indent)
                used, bare = len(indent), True
            continue
        if used + size > room and not bare:
            made[-1] = made[-1].rstrip(" ")
            made.append(indent)
            used = len(indent)
        for character in piece:
            one = columns(character)
            if used + one > room:
                made.append(indent)
                used = len(indent)
            made[-1] += character
            used += one
        bare = False
    return made


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: letters of Chinese, Japanese and Korean take two, accents none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)

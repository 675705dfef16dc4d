"""Tables of text: every cell as wide as its column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence


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

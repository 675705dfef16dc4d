"""The colours of all charts, for a light page and for a dark one.

Both sets are Okabe and Ito's, the light one darkened until it stands out from white: every line keeps 3:1 against its
background (WCAG 1.4.11), and any two are told apart without red, without green or without blue vision.  Lines differ in
their dashes as well.  A figure is made in the light set; `paint.js` changes the colours by their places in these rows.
"""

from __future__ import annotations

LIGHT = ("#0060A8", "#D95F02", "#008060", "#CC5FA0", "#1A1A1A")
DARK = ("#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F5F5F5")
DASHES = ("solid", "dashed", "dotdash", "dotted", "dashdot")
MOST_LINES = len(LIGHT)

INK = "#5A5A5B"
"""Axes, ticks and legends on a light page; nothing else has this colour, so that a dark page can find them."""
INK_DARK = "#B8B8B9"
RULE = "#75757A"
"""Grids, events and the warm-up: to be seen on either page."""
FAILED = "#C0200F"
FAILED_DARK = "#FF7A66"

HEAT_LIGHT = ("#DCE9F4", "#B5D0E6", "#86B3D6", "#5592C2", "#2E6FA8", "#154D85", "#0A2F5C", "#04173A")
HEAT_DARK = ("#0E2B4D", "#15467B", "#1F66A5", "#3888C4", "#65A9D8", "#98C8E8", "#C9E3F5", "#F4FAFF")
"""From few to many: one hue, so that order is seen with any eyes, and many stands out from either page."""

SWAPS = {
    **dict(zip(LIGHT, DARK, strict=True)),
    INK: INK_DARK,
    FAILED: FAILED_DARK,
}
"""What a dark page draws in the place of each colour of a light one."""

"""Colours: seen against their page, and told apart without red, green or blue vision."""

from __future__ import annotations

from itertools import combinations

import pytest

from perfsuite.charts.colours import DARK, FAILED, FAILED_DARK, HEAT_DARK, HEAT_LIGHT, INK, INK_DARK, LIGHT, SWAPS

Triple = tuple[float, float, float]
LEAST_APART = 12.0
"""CIE 1976 difference; about 2.3 is just noticeable."""

# Machado, Oliveira and Fernandes 2009, severity 1.
EYES = {
    "any": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "no red": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "no green": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
    "no blue": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.303900)),
}


def linear(colour: str) -> Triple:
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares)
    return r, g, b


def luminance(colour: str) -> float:
    r, g, b = linear(colour)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def seen(colour: str, eyes: tuple[Triple, ...]) -> Triple:
    rgb = linear(colour)
    r, g, b = (min(1.0, max(0.0, sum(m * c for m, c in zip(row, rgb, strict=True)))) for row in eyes)
    x = (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    z = (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089
    fx, fy, fz = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def apart(one: str, other: str, eyes: tuple[Triple, ...]) -> float:
    return sum((a - b) ** 2 for a, b in zip(seen(one, eyes), seen(other, eyes), strict=True)) ** 0.5


@pytest.mark.parametrize("eyes", EYES)
@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_are_told_apart_by_any_eyes(colours: tuple[str, ...], eyes: str) -> None:
    assert min(apart(a, b, EYES[eyes]) for a, b in combinations(colours, 2)) > LEAST_APART


def test_red_and_green_of_one_lightness_would_not_be() -> None:
    assert apart("#C04040", "#6E7A1E", EYES["no green"]) < LEAST_APART < apart("#C04040", "#6E7A1E", EYES["any"])


@pytest.mark.parametrize(
    ("colours", "page"),
    [((*LIGHT, FAILED), "#ffffff"), ((*LIGHT, FAILED), "#f6f6f6"), ((*DARK, FAILED_DARK), "#161616")],
)
def test_lines_stand_out_from_their_page(colours: tuple[str, ...], page: str) -> None:
    assert min(contrast(colour, page) for colour in colours) >= 3.0


def test_text_is_read_on_its_page() -> None:
    assert contrast(INK, "#f6f6f6") >= 4.5
    assert contrast(INK_DARK, "#161616") >= 4.5


def test_a_heat_map_goes_one_way_in_lightness() -> None:
    down, up = [luminance(c) for c in HEAT_LIGHT], [luminance(c) for c in HEAT_DARK]
    assert down == sorted(down, reverse=True)
    assert up == sorted(up)


def test_each_light_colour_has_one_dark_one_and_back() -> None:
    assert len(set(SWAPS.values())) == len(SWAPS)
    assert not set(SWAPS) & set(SWAPS.values())
    assert all(colour == colour.upper() for pair in SWAPS.items() for colour in pair)

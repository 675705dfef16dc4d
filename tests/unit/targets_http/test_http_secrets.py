"""What of a text is taken for a key."""

from __future__ import annotations

import pytest

from perfsuite.targets.http.secret import MASK, Secret

KEY = "sk-live-0a1b2c3d4e5f6g7h8i9j"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"a {KEY} b {KEY}", f"a {MASK} b {MASK}"),
        (f"cut {KEY[:12]}", f"cut {MASK}"),
        (f"cut {KEY[:12]}…", f"cut {MASK}…"),
        (f"{KEY}{KEY}", f"{MASK}{MASK}"),
        (f"too short to tell: {KEY[:7]}", f"too short to tell: {KEY[:7]}"),
        (f"its middle {KEY[3:17]}, its end {KEY[-13:]}", f"its middle {MASK}, its end {MASK}"),
        (f"too short of its middle {KEY[3:14]}", f"too short of its middle {KEY[3:14]}"),
        ("nothing", "nothing"),
    ],
)
def test_what_is_masked(text: str, shown: str) -> None:
    assert Secret(KEY).hidden_in(text) == shown


def test_a_short_value_is_not_looked_for_and_a_middling_one_is_whole() -> None:
    assert Secret("abc").hidden_in("abc") == "abc"
    assert Secret("abcdefg").hidden_in("abcdef abcdefg") == f"abcdef {MASK}"

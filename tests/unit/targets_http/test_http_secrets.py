"""What of a text is taken for a key."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote, quote_plus

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


@pytest.mark.parametrize("before", ["", "B", "Be", "Bearer ", "user:"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_key_in_base64_is_masked_whatever_stands_before_it(before: str, encode: Callable[[bytes], bytes]) -> None:
    for key in (KEY, "pass?>word~~/+ÿÿ", "12345678"):
        encoded = encode(f"{before}{key}, and more".encode()).decode()
        shown = Secret(key).hidden_in(f"Basic {encoded}.")
        assert MASK in shown
        left = shown.removeprefix("Basic ").removesuffix(".").split(MASK)
        assert len(left) == 2
        # What is left of it has no whole byte of the key.
        assert len(left[0]) <= -(-len(before.encode()) * 8 // 6)
        assert len(left[1]) <= -(-len(b", and more") * 8 // 6) + 4


def test_a_key_in_a_url_is_masked() -> None:
    key = "pass word/with&all=of?it"
    for text in (quote(key, safe=""), quote_plus(key), key):
        assert Secret(key).hidden_in(f"http://a/?key={text}&b=1") == f"http://a/?key={MASK}&b=1"
    assert Secret(key).hidden_in("password with all of it") == "password with all of it"

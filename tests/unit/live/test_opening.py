"""Where a live page may listen, and what it answers to."""

from __future__ import annotations

import socket

import pytest

from perfsuite.errors import UsageError
from perfsuite.live.opening import TOKEN_VARIABLE, answers_to, opened, url_of

TOKEN = "0123456789abcdef"


def test_the_loopback_needs_no_token() -> None:
    listener, token = opened("127.0.0.1:0", "--live", {})
    with listener:
        assert token is None
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize(
    ("address", "token", "expected"),
    [
        ("0.0.0.0:0", None, f"--live 0.0.0.0:0: others could reach it there; put a secret .* into {TOKEN_VARIABLE}"),
        ("[::]:0", None, "others could reach it there"),
        ("127.0.0.1:0", "short", "must be 16 or more plain characters"),
        ("127.0.0.1:0", TOKEN + "\n", "must be 16 or more plain characters"),
        ("192.0.2.1:0", TOKEN, "name a free port"),
    ],
)
def test_what_is_refused(address: str, token: str | None, expected: str) -> None:
    with pytest.raises(UsageError, match=expected):
        opened(address, "--live", {} if token is None else {TOKEN_VARIABLE: token})


def test_other_addresses_with_a_token() -> None:
    listener, token = opened("0.0.0.0:0", "--live", {TOKEN_VARIABLE: TOKEN})
    with listener:
        assert token == TOKEN
        assert answers_to(listener, "any.name")  # the token keeps others out


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UsageError, match="name a free port"):
        opened(f"127.0.0.1:{taken.getsockname()[1]}", "--live", {})


def test_only_the_loopback_s_own_names_are_answered() -> None:
    listener, _ = opened("127.0.0.1:0", "--live", {})
    with listener:
        port = listener.getsockname()[1]
        for good in ("localhost", "LocalHost", "127.0.0.1", "[::1]"):
            assert answers_to(listener, f"{good}:{port}"), good
        for bad in (
            "evil.test",
            f"evil.test:{port}",
            f"localhost:{port + 1}",
            "localhost",
            "",
            f"127.0.0.1.evil.test:{port}",
        ):
            assert not answers_to(listener, bad), bad

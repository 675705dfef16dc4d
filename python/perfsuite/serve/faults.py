"""How the server misbehaves when it is asked to: ``stall=200@50, cut@30, 429``.

``@K`` means: once K tokens were sent [0].  The faults, each with its value where it takes one:

stall=MS@K        pauses, and is late by that much from then on
cut@K             closes in mid-stream, without an end
reset@K           the same with RST
429[=SECONDS]     refuses, with Retry-After [1]; any other status from 400 to 599: refuses, ``=TEXT`` is its message
garbage           answers with bytes that are not HTTP
bad_json@K        one event is not JSON
error_in_200@K    one event is an error in the API's form; then the stream ends
partial_utf8@K    a character's bytes come in two pieces: legal, and to be joined
big=SIZE@K        one event of that size [10MB]
never_end         tokens go on until the client leaves
slowloris[=MS]    every byte by itself, MS apart [1]
no_done           ends properly, but without the API's last event
close_keepalive   advertises keep-alive, and closes after the answer

Of /v1/realtime alone:

silence           never answers
grow              each piece of audio is longer than the last, by a token's length
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, fields, replace
from typing import Any

from perfsuite.errors import UsageError, shown, unknown
from perfsuite.units import parse_duration, parse_size

_ITEM = re.compile(r"([a-z_0-9]+)(?:=([^@,]*))?(?:@(\d{1,9}))?")
MAX_BIG = 256 * 10**6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What to do to one answer.  A number of tokens is None where the fault was not asked for."""

    stall: int | None = None
    stall_s: float = 0.0
    cut: int | None = None
    reset: int | None = None
    status: int = 0
    message: str = ""
    retry_after_s: float = 1.0
    garbage: bool = False
    bad_json: int | None = None
    error_in_200: int | None = None
    partial_utf8: int | None = None
    big: int | None = None
    big_bytes: int = 10 * 10**6
    never_end: bool = False
    slowloris_s: float = 0.0
    no_done: bool = False
    close_keepalive: bool = False
    silence: bool = False
    grow: bool = False

    def __bool__(self) -> bool:
        return self != NONE


NONE = Fault()
AT_TOKEN = ("stall", "cut", "reset", "bad_json", "error_in_200", "partial_utf8", "big")
SPOKEN = ("silence", "grow")
"""Of /v1/realtime alone."""
SWITCHES = ("garbage", "never_end", "no_done", "close_keepalive", *SPOKEN)
KNOWN = (*AT_TOKEN, *SWITCHES, "slowloris", "429", "500")
assert set(AT_TOKEN) | set(SWITCHES) <= {field.name for field in fields(Fault)}


def parse(text: str, where: str = "") -> Fault:
    """The fault that a text asks for; UsageError when it cannot be read."""
    fault = NONE
    at = f"{where}: " if where else ""
    for item in filter(None, (part.strip() for part in text.split(","))):
        match = _ITEM.fullmatch(item)
        if match is None:
            raise UsageError(f"{at}{shown(item)} is not a fault: write NAME, NAME@TOKENS or NAME=VALUE@TOKENS")
        name, value, tokens = match[1], match[2], int(match[3] or 0)
        if name.isdigit():
            fault = _refusal(fault, name, value, match[3], where)
        elif name in AT_TOKEN:
            fault = replace(fault, **_at_token(name, value, tokens, where))
        elif name == "slowloris":
            _no_tokens(name, match[3], at)
            fault = replace(fault, slowloris_s=parse_duration(value or 1, where, bare="ms"))
        elif name in SWITCHES:
            _no_tokens(name, match[3], at)
            if value is not None:
                raise UsageError(f"{at}the fault {name} takes no value, not {shown(value)}")
            fault = replace(fault, **_switched(name))
        else:
            raise unknown("fault", name, KNOWN, where)
    return fault


def check_unspoken(fault: Fault, path: str) -> None:
    """Raises UsageError for what cannot be done to an answer over HTTP."""
    for name in SPOKEN:
        if getattr(fault, name):
            raise UsageError(f"the fault {name} is of /v1/realtime alone, not of {path}")


def _refusal(fault: Fault, name: str, value: str | None, tokens: str | None, where: str) -> Fault:
    at = f"{where}: " if where else ""
    status = int(name)
    if not 400 <= status <= 599:
        raise UsageError(f"{at}the status {name} is no failure: name one from 400 to 599")
    _no_tokens(name, tokens, at)
    if status == 429:
        return replace(fault, status=status, retry_after_s=parse_duration(value or 1, where))
    return replace(fault, status=status, message=value or "")


def _at_token(name: str, value: str | None, tokens: int, where: str) -> dict[str, Any]:
    made: dict[str, Any] = {name: tokens}
    if name == "stall":
        if value is None:
            raise UsageError(f"{f'{where}: ' if where else ''}a stall needs its length: write stall=200@50")
        made["stall_s"] = parse_duration(value, where, bare="ms")
    elif name == "big":
        size = round(parse_size(value or "10MB", where))
        if size > MAX_BIG:
            raise UsageError(f"{f'{where}: ' if where else ''}an event of {shown(value)} is too big: at most 256MB")
        made["big_bytes"] = size
    elif value is not None:
        raise UsageError(f"{f'{where}: ' if where else ''}the fault {name} takes no value: write {name}@{tokens}")
    return made


def _switched(name: str) -> dict[str, Any]:
    return {name: True}


def _no_tokens(name: str, tokens: str | None, at: str) -> None:
    if tokens is not None:
        raise UsageError(f"{at}the fault {name} has no place in the stream: leave @{tokens} away")


class Misfortune:
    """The faults that strike requests which did not ask for one: the same ones for the same seed."""

    def __init__(self, fault: Fault, probability: float, seed: int) -> None:
        self._fault = fault
        self._probability = probability
        self._random = random.Random(seed)

    def draw(self) -> Fault:
        """The next request's fault."""
        if not self._fault or self._random.random() >= self._probability:
            return NONE
        return self._fault

"""Keeping a conversation short: which messages go when a history grows past its thresholds or its token budget.

The thresholds are those of the chat-loop guide.  A history is counted in messages, less the system messages and the
pinned ones; safe = 2 × max_history_pairs + 5.

- above trim_threshold × safe: the newest floor(safe_trim_level × max_history_pairs) turns stay (reason "trigger")
- above emergency_threshold × safe: forced (reason "emergency"): however long the turns are, no more messages stay than
  that number of turns has at two each, and a history in which no user speaks goes altogether
- above max_tokens: the newest turns that fit stay (reason "tokens")

A turn is a user message with everything up to the next one; turns go whole, oldest first.  The newest turn always
stays, even if it is too long by itself.  So nothing ever parts a tool's reply from its call, or leaves a history that
starts with an assistant's answer.  A reply that comes turns after its call holds these turns together.  What stands
before the first user message goes with the first trim.

System (or developer) and pinned messages stay where they are.  With a pinned call or reply stays its whole group (the
call and all its replies); and if the first of all these is not the user's, the user message that opens its turn.
"""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from perfsuite import _core

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["TrimPolicy", "TrimReport", "trim"]


class TrimPolicy:
    """When to trim, and down to what.  Immutable, comparable, hashable.

    max_history_pairs: turns that a history is meant to have, 1 or more.
    trim_threshold, emergency_threshold: of the safe length, where trimming begins and where it is forced.
    safe_trim_level: of max_history_pairs, how many turns a trim leaves.
    max_tokens: a budget for everything that stays, system and pinned messages included; None: no budget.
    keep_system: whether system messages stay; if not, they count, and go, like an assistant's.

    Raises TypeError or ValueError for a field that makes no sense.  0 < safe_trim_level <= trim_threshold <=
    emergency_threshold, since otherwise a trim would leave a history that is to be trimmed.
    """

    __slots__ = (
        "emergency_threshold",
        "keep_system",
        "max_history_pairs",
        "max_tokens",
        "safe_trim_level",
        "trim_threshold",
    )

    max_history_pairs: int
    trim_threshold: float
    safe_trim_level: float
    emergency_threshold: float
    max_tokens: int | None
    keep_system: bool

    def __init__(
        self,
        max_history_pairs: int = 100,
        trim_threshold: float = 1.5,
        safe_trim_level: float = 1.2,
        emergency_threshold: float = 2.0,
        max_tokens: int | None = None,
        keep_system: bool = True,
    ) -> None:
        _whole("max_history_pairs", max_history_pairs)
        for name, value in (
            ("safe_trim_level", safe_trim_level),
            ("trim_threshold", trim_threshold),
            ("emergency_threshold", emergency_threshold),
        ):
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} is {value!r}; it must be a number")
            if not (isfinite(value) and value > 0):
                raise ValueError(f"{name} is {value!r}; it must be finite and above 0")
        if not safe_trim_level <= trim_threshold <= emergency_threshold:
            raise ValueError(
                f"safe_trim_level {safe_trim_level!r}, trim_threshold {trim_threshold!r} and emergency_threshold "
                f"{emergency_threshold!r} must not fall: a trim must end below where the next one begins"
            )
        if max_tokens is not None:
            _whole("max_tokens", max_tokens)
        if not isinstance(keep_system, bool):
            raise TypeError(f"keep_system is {keep_system!r}; it must be True or False")
        put = object.__setattr__
        put(self, "max_history_pairs", max_history_pairs)
        put(self, "trim_threshold", trim_threshold)
        put(self, "safe_trim_level", safe_trim_level)
        put(self, "emergency_threshold", emergency_threshold)
        put(self, "max_tokens", max_tokens)
        put(self, "keep_system", keep_system)

    @classmethod
    def development(cls) -> TrimPolicy:
        """The guide's settings for development and tests: trims late, keeps more of little."""
        return cls(max_history_pairs=20, trim_threshold=2.0, safe_trim_level=1.5)

    @classmethod
    def production(cls) -> TrimPolicy:
        """The guide's standard settings."""
        return cls(max_history_pairs=100, trim_threshold=1.5, safe_trim_level=1.2)

    @classmethod
    def high_throughput(cls) -> TrimPolicy:
        """The guide's settings for high throughput: trims early, keeps less."""
        return cls(max_history_pairs=50, trim_threshold=1.3, safe_trim_level=1.1)

    @property
    def safe_size(self) -> int:
        """Messages that a history may have, before the thresholds: 2 × max_history_pairs + 5."""
        return 2 * self.max_history_pairs + 5

    def _fields(self) -> tuple[int, float, float, float, int | None, bool]:
        return (
            self.max_history_pairs,
            self.trim_threshold,
            self.safe_trim_level,
            self.emergency_threshold,
            self.max_tokens,
            self.keep_system,
        )

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a TrimPolicy cannot be changed: make another one to set {name}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a TrimPolicy cannot be changed: {name} stays")

    def __eq__(self, other: object) -> bool:
        return self._fields() == other._fields() if isinstance(other, TrimPolicy) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._fields())

    def __reduce__(self) -> tuple[type[TrimPolicy], tuple[int, float, float, float, int | None, bool]]:
        return TrimPolicy, self._fields()

    def __repr__(self) -> str:
        names = ("max_history_pairs", "trim_threshold", "safe_trim_level", "emergency_threshold", "max_tokens")
        fields = [f"{name}={getattr(self, name)!r}" for name in (*names, "keep_system")]
        return f"TrimPolicy({', '.join(fields)})"


class TrimReport(NamedTuple):
    """What a trim did.

    bytes_before, bytes_after: UTF-8 length of the messages' contents (the text in them), before and after.
    tokens_after: by the token counter, of all that stayed; None without a counter.
    tokens_before: tokens counted before the budget was full; all of them if tokens_exact, else at least this many.
    over_budget: whether what had to stay (system, pinned, the newest turn) is more than max_tokens.
    """

    removed: int
    kept: int
    reason: Literal["none", "trigger", "emergency", "tokens"]
    bytes_before: int
    bytes_after: int
    tokens_before: int | None
    tokens_after: int | None
    elapsed_ms: float
    over_budget: bool
    tokens_exact: bool


def trim(
    messages: list[dict[str, Any]], policy: TrimPolicy, token_counter: Callable[[str], int] | None = None
) -> TrimReport:
    """Shorten a list of messages in place, as the policy says; the module's text says which messages go.

    messages: dicts in OpenAI's form: role (user, assistant, system, developer, tool, function), content (text, parts or
    None), tool_calls, tool_call_id, and `"pinned": True` for those that must stay.  Anthropic's tool_use and
    tool_result parts are understood.  After an error (TypeError, ValueError: names the message) the list is as before.

    token_counter: gets a message's text (with the names and arguments of its calls) and returns its tokens, 0 or more.
    It is called once for each message that stays, newest first, and once more when the budget is full; without
    max_tokens, for every message.  If it raises, the error passes through and the list is as before; if the list is
    changed meanwhile, RuntimeError, and the list is as it was changed.
    """
    if not isinstance(policy, TrimPolicy):
        raise TypeError(f"policy is of type {type(policy).__name__}; it must be a TrimPolicy")
    fields = _core.trim(
        messages,
        policy.max_history_pairs,
        policy.trim_threshold,
        policy.safe_trim_level,
        policy.emergency_threshold,
        policy.max_tokens,
        policy.keep_system,
        token_counter,
    )
    return TrimReport(*fields)


def _whole(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} is {value!r}; it must be a whole number")
    if not 1 <= value < 2**62:
        raise ValueError(f"{name} is {value!r}; it must be 1 or more, and less than 2**62")

"""Where the tokens of conversations go, and what would save some.

A chat service without memory is sent the whole history with every message, so a conversation of n turns is paid for
about n² / 2 times a turn: ``resent`` is most of what is sent.  The savings are of that traffic, each setting alone, and
by the stated tokenizer; they say what would be sent, not whether the answers stay as good.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from perfsuite.tiktoken_files import at_hand
from perfsuite.trimming import TrimPolicy, trim

MESSAGE_OVERHEAD = 4
"""Tokens that a chat template adds to a message, about (OpenAI's counting guide has 3 to 4)."""
WINDOWS = (2_048, 4_096, 8_192, 16_384)
MOST_DIGESTS = 2_000_000
"""Different messages that are told apart; those after them count as new, and the report says so."""
ENCODINGS = ("o200k_base", "cl100k_base")
"""Of tiktoken, the first that is here counts."""
_PIECE = re.compile(r" ?[A-Za-z]{1,8}| ?[0-9]{1,3}| ?[!-/:-@\[-`{-~]{1,3}|\s+|[^\x00-\x7f]{1,2}")


@dataclass(frozen=True, slots=True)
class Tokenizer:
    """A counter of tokens and its name.  ``estimate``: it is not any model's own."""

    name: str
    count: Callable[[str], int]
    estimate: bool


def tokenizer() -> Tokenizer:
    """tiktoken where it is installed with its files at hand (nothing is downloaded), else an estimate."""
    try:
        for name in ENCODINGS:
            encoding = at_hand(name)
            if encoding is not None:
                return Tokenizer(f"tiktoken {name}", partial(_encoded_length, encoding), False)
    except ImportError:
        return estimate("tiktoken is not installed")
    return estimate("tiktoken's files are not on this machine")


def estimate(why: str) -> Tokenizer:
    """Pieces of words, digits and punctuation, as the usual tokenizers cut English; no model's own count."""
    return Tokenizer(f"estimate by word pieces ({why})", lambda text: len(_PIECE.findall(text)), True)


def _encoded_length(encoding: Any, text: str) -> int:
    return len(encoding.encode(text, disallowed_special=()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What a setting would save of the tokens sent."""

    setting: str
    tokens: int
    share: float


@dataclass(slots=True, kw_only=True)
class TokenReport:
    """Tokens of all conversations.  ``stored``: each message once.  ``sent``: the prompts of all turns, each with its
    whole history; ``resent`` of it had been sent before.  ``by_role`` is of what is stored; ``tools`` in it are tool
    replies and calls.  ``repeated_system`` and ``duplicates``: messages whose text was seen before, after the first.
    """

    tokenizer: str
    estimate: bool
    conversations: int = 0
    turns: int = 0
    messages: int = 0
    stored: int = 0
    sent: int = 0
    resent: int = 0
    longest_prompt: int = 0
    by_role: dict[str, int] = field(default_factory=dict)
    tools: int = 0
    repeated_system: int = 0
    duplicates: int = 0
    sent_duplicates: int = 0
    all_told_apart: bool = True
    savings: list[Saving] = field(default_factory=list)

    def rows(self) -> Iterator[tuple[str, int, float]]:
        """(what, tokens, share): shares of what is stored, from ``sent`` on of what is sent."""
        about = " (estimate)" if self.estimate else ""
        stored, sent = max(1, self.stored), max(1, self.sent)
        yield f"stored once{about}", self.stored, self.stored / stored
        for role, tokens in sorted(self.by_role.items(), key=lambda pair: -pair[1]):
            yield f"  {role}", tokens, tokens / stored
        yield "  of it tool calls and replies", self.tools, self.tools / stored
        yield "  of it repeated system prompts", self.repeated_system, self.repeated_system / stored
        yield "  of it other repeated messages", self.duplicates, self.duplicates / stored
        yield f"sent in prompts{about}", self.sent, self.sent / sent
        yield "  of it sent before", self.resent, self.resent / sent
        for saving in self.savings:
            yield f"saved by {saving.setting}", saving.tokens, saving.share


class TokenCount:
    """Counts conversations one by one, in bounded memory; ``report`` at the end."""

    def __init__(
        self,
        count: Tokenizer | None = None,
        policies: Mapping[str, TrimPolicy] | None = None,
        windows: Sequence[int] = WINDOWS,
    ) -> None:
        self._tokenizer = count or tokenizer()
        if policies is None:
            policies = {
                "trimming, 50 pairs (high throughput)": TrimPolicy.high_throughput(),
                "trimming, 20 pairs (development)": TrimPolicy.development(),
            }
        self._policies = policies
        self._windows = tuple(windows)
        self._report = TokenReport(tokenizer=self._tokenizer.name, estimate=self._tokenizer.estimate)
        self._seen: set[bytes] = set()
        self._by_policy = dict.fromkeys(policies, 0)
        self._by_window = dict.fromkeys(self._windows, 0)

    def add(self, messages: Sequence[Mapping[str, object]]) -> None:
        """Counts one conversation: each user message (or tool reply that an assistant answers) is a prompt."""
        report = self._report
        costs = []
        prefix = shared = before = 0
        local: set[bytes] = set()
        prompts = []
        for number, message in enumerate(messages):
            text = _text(message)
            cost = self._tokenizer.count(text) + MESSAGE_OVERHEAD
            costs.append(cost)
            role = str(message.get("role", "user"))
            digest = hashlib.blake2b(f"{role}\0{text}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
            self._count_message(role, message, cost, digest)
            if digest in local:
                shared += cost
            local.add(digest)
            prefix += cost
            following = messages[number + 1].get("role") if number + 1 < len(messages) else None
            if role in ("user", "tool", "function") and following in (None, "assistant"):
                report.turns += 1
                report.sent += prefix
                report.resent += before
                report.sent_duplicates += shared
                report.longest_prompt = max(report.longest_prompt, prefix)
                for window in self._windows:
                    self._by_window[window] += min(prefix, window)
                before = prefix
                prompts.append(number)
        report.conversations += 1
        report.messages += len(messages)
        for name, policy in self._policies.items():
            self._by_policy[name] += _replay(messages, costs, prompts, policy)

    def _count_message(self, role: str, message: Mapping[str, object], cost: int, digest: bytes) -> None:
        report = self._report
        report.stored += cost
        report.by_role[role] = report.by_role.get(role, 0) + cost
        if role in ("tool", "function") or message.get("tool_calls"):
            report.tools += cost
        if digest in self._seen:
            if role in ("system", "developer"):
                report.repeated_system += cost
            else:
                report.duplicates += cost
        elif len(self._seen) < MOST_DIGESTS:
            self._seen.add(digest)
        else:
            report.all_told_apart = False

    def report(self) -> TokenReport:
        """What was counted so far."""
        report = self._report
        sent = max(1, report.sent)

        def saving(setting: str, left: int) -> Saving:
            return Saving(setting=setting, tokens=report.sent - left, share=(report.sent - left) / sent)

        report.savings = [saving(name, left) for name, left in self._by_policy.items()]
        report.savings.append(saving("sending a repeated message once", report.sent - report.sent_duplicates))
        report.savings += [saving(f"a window of {size:,} tokens", left) for size, left in self._by_window.items()]
        return report


def analyse(
    conversations: Iterable[Sequence[Mapping[str, object]]],
    count: Tokenizer | None = None,
    policies: Mapping[str, TrimPolicy] | None = None,
    windows: Sequence[int] = WINDOWS,
) -> TokenReport:
    """Where the tokens of these conversations go.  See TokenCount for reading them one by one."""
    counting = TokenCount(count, policies, windows)
    for messages in conversations:
        counting.add(messages)
    return counting.report()


def _text(message: Mapping[str, object]) -> str:
    content = message.get("content")
    if isinstance(content, str):
        text = content
    elif isinstance(content, Sequence):
        text = "".join(str(part.get("text", "")) for part in content if isinstance(part, Mapping))
    else:
        text = ""
    calls = message.get("tool_calls")
    return text + json.dumps(calls, ensure_ascii=False) if calls else text


def _replay(
    messages: Sequence[Mapping[str, object]], costs: Sequence[int], prompts: Sequence[int], policy: TrimPolicy
) -> int:
    """Tokens sent when the history is trimmed by the policy before each prompt, as a chat loop does it."""
    history: list[dict[str, object]] = []
    kept = 0  # tokens in the history
    sent = done = 0
    for number in prompts:
        for index in range(done, number + 1):
            history.append({**messages[index], "_cost": costs[index]})
            kept += costs[index]
        done = number + 1
        if trim(history, policy).removed:
            kept = sum(int(str(one["_cost"])) for one in history)
        sent += kept
    return sent

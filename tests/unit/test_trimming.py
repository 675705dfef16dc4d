"""Trimming: against a plain Python model of the rules, and every way in which a history or a counter can be bad."""

from __future__ import annotations

import copy
import itertools
import json
import pickle
import random
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perfsuite
from perfsuite.trimming import TrimPolicy, TrimReport, trim

Message = dict[str, Any]


def turns(n: int, *, system: bool = False) -> list[Message]:
    messages: list[Message] = [{"role": "system", "content": "be brief"}] if system else []
    for i in range(n):
        messages += [{"role": "user", "content": f"question {i}"}, {"role": "assistant", "content": f"answer {i}"}]
    return messages


def call(*ids: str) -> Message:
    calls = [{"id": i, "type": "function", "function": {"name": "find", "arguments": '{"q": 1}'}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def reply(i: str) -> Message:
    return {"role": "tool", "tool_call_id": i, "content": f"result {i}"}


USER = {"role": "user", "content": "question"}
ANSWER = {"role": "assistant", "content": "answer"}


# ── the policy ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_policy_is_a_value() -> None:
    policy = TrimPolicy(max_tokens=100)
    assert policy == TrimPolicy(100, 1.5, 1.2, 2.0, 100, True)
    assert policy != TrimPolicy()
    assert policy != 5
    assert len({policy, copy.deepcopy(policy), pickle.loads(pickle.dumps(policy))}) == 1
    assert eval(repr(policy)) == policy
    assert policy.safe_size == 205
    with pytest.raises(AttributeError, match="cannot be changed"):
        policy.max_tokens = 5
    with pytest.raises(AttributeError, match="cannot be changed"):
        del policy.max_tokens
    assert perfsuite.TrimPolicy is TrimPolicy
    assert perfsuite.trim is trim
    assert perfsuite.TrimReport is TrimReport


def test_presets_are_the_guides() -> None:
    assert TrimPolicy.development() == TrimPolicy(20, 2.0, 1.5)
    assert TrimPolicy.production() == TrimPolicy(100, 1.5, 1.2) == TrimPolicy()
    assert TrimPolicy.high_throughput() == TrimPolicy(50, 1.3, 1.1)


@pytest.mark.parametrize(
    ("fields", "kind", "message"),
    [
        ({"max_history_pairs": 0}, ValueError, "max_history_pairs is 0"),
        ({"max_history_pairs": 2**62}, ValueError, "max_history_pairs"),
        ({"max_history_pairs": 1.5}, TypeError, "max_history_pairs is 1.5"),
        ({"max_history_pairs": True}, TypeError, "max_history_pairs"),
        ({"trim_threshold": float("nan")}, ValueError, "trim_threshold is nan"),
        ({"emergency_threshold": float("inf")}, ValueError, "emergency_threshold is inf"),
        ({"safe_trim_level": 0}, ValueError, "safe_trim_level is 0"),
        ({"safe_trim_level": "1"}, TypeError, "safe_trim_level is '1'"),
        ({"safe_trim_level": 1.6}, ValueError, "must not fall"),
        ({"trim_threshold": 2.5}, ValueError, "must not fall"),
        ({"max_tokens": 0}, ValueError, "max_tokens is 0"),
        ({"max_tokens": 1.0}, TypeError, "max_tokens is 1.0"),
        ({"keep_system": 1}, TypeError, "keep_system is 1"),
    ],
)
def test_policies_that_make_no_sense(fields: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        TrimPolicy(**fields)


# ── by length ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("policy", "last_whole", "kept"),
    [
        (TrimPolicy.production(), 153, 240),  # 1.5 × 205 = 307.5: 306 messages stay, 308 are trimmed to 120 pairs
        (TrimPolicy.development(), 45, 60),  # 2.0 × 45 = 90
        (TrimPolicy.high_throughput(), 68, 110),  # 1.3 × 105 = 136.5
    ],
)
def test_thresholds_of_the_guide(policy: TrimPolicy, last_whole: int, kept: int) -> None:
    messages = turns(last_whole, system=True)
    report = trim(messages, policy)
    assert (report.removed, report.kept, report.reason) == (0, 2 * last_whole + 1, "none")
    assert messages == turns(last_whole, system=True)
    messages = turns(last_whole + 1, system=True)
    report = trim(messages, policy)
    assert (report.removed, report.kept) == (2 * last_whole + 2 - kept, kept + 1)
    assert messages == [turns(0, system=True)[0], *turns(last_whole + 1)[-kept:]]
    assert trim(messages, policy).reason == "none"


def test_trigger_and_emergency() -> None:
    reasons = {n: trim(turns(n), TrimPolicy()).reason for n in (153, 154, 205, 206)}
    assert reasons == {153: "none", 154: "trigger", 205: "trigger", 206: "emergency"}
    messages = [*turns(206), USER]  # outside of a turn too: the last question has no answer yet
    assert trim(messages, TrimPolicy()).reason == "emergency"
    assert messages == [*turns(206)[-238:], USER]


def test_bytes_are_of_the_contents() -> None:
    parts = [
        {"type": "text", "text": "é"},
        {"type": "image_url", "image_url": {"url": "x" * 99}},
        "日本",
        {"text": "𝄞a"},
    ]
    messages = [{"role": "user", "content": "añ\ud800"}, {"role": "user", "content": parts}, call("a")]
    report = trim(messages, TrimPolicy())
    assert report.bytes_before == report.bytes_after == (1 + 2 + 3) + 2 + 6 + 5
    messages = turns(200)
    before = sum(len(m["content"]) for m in messages)
    report = trim(messages, TrimPolicy())
    assert (report.bytes_before, report.bytes_after) == (before, sum(len(m["content"]) for m in messages))
    assert report.elapsed_ms > 0
    assert report.tokens_before is report.tokens_after is None


def test_the_list_keeps_its_identity_and_its_messages() -> None:
    messages = turns(200, system=True)
    alias, last = messages, messages[-1]
    trim(messages, TrimPolicy())
    assert alias is messages
    assert messages[-1] is last
    assert json.loads(json.dumps(messages)) == messages


def test_json_messages_are_read_like_literals() -> None:
    """json.loads makes keys and roles that are equal to literals but other objects."""
    text = json.dumps([{**m, "pinned": i == 3} for i, m in enumerate(turns(200, system=True))])
    messages = json.loads(text)
    trim(messages, TrimPolicy())
    assert [m["content"] for m in messages[:3]] == ["be brief", "question 1", "question 80"]
    assert len(messages) == 242


# ── tools, pins ───────────────────────────────────────────────────────────────────────────────────────────────────────

SMALL = TrimPolicy(max_history_pairs=1, trim_threshold=1.0, safe_trim_level=1.0, emergency_threshold=1.0)  # above 7: 1


def test_messages_of_every_shape_are_read_alike() -> None:
    """In a long history the plain ones, whose keys are the same objects as before, are read in a way of their own."""

    def word(text: str) -> str:
        return "".join([text[:1], text[1:]])  # equal to the literal, and another object

    class Held:
        def __init__(self, role: str, content: object) -> None:
            self.role = role
            self.content = content

    shapes: list[Callable[[str, object], Message]] = [
        lambda role, content: {"role": role, "content": content},
        lambda role, content: {"content": content, "role": role},
        lambda role, content: {word("role"): word(role), word("content"): content},
        lambda role, content: json.loads(json.dumps({"role": role, "content": content})),
        lambda role, content: vars(Held(role, content)),
        lambda role, content: type("Own", (dict,), {})(role=role, content=content),
        lambda role, content: {"role": role, "text": "", "content": content},
    ]
    contents = ["text", "é", "日本語", "𝄞", "", None, ["a", {"type": "text", "text": "b"}]]
    roles = ["user", "assistant", "tool", "function", "user", "developer", "assistant"]
    made = random.Random(1)
    for _ in range(60):
        parts = [(made.choice(roles), made.choice(contents)) for _ in range(made.randrange(300))]
        usual = made.choice(shapes)
        messages = [(usual if made.random() < 0.8 else made.choice(shapes))(*part) for part in parts]
        slow = [{"role": role, "content": content, "name": "x"} for role, content in parts]
        policy = TrimPolicy(20, max_tokens=100)
        found, expected = trim(messages, policy, len), trim(slow, policy, len)
        assert found._replace(elapsed_ms=0) == expected._replace(elapsed_ms=0)
        assert [(m["role"], m["content"]) for m in messages] == [(m["role"], m["content"]) for m in slow]
    assert found.removed > 0


def test_a_reply_in_a_later_turn_holds_its_turns_together() -> None:
    late = [USER, call("x", "y"), reply("y"), USER, ANSWER, reply("x")]
    messages = [*turns(3), *late, ANSWER]
    assert trim(messages, SMALL).removed == 6
    assert messages == [*late, ANSWER]
    # Its negative control: a reply to a call of its own turn holds nothing.
    messages = [*turns(3), USER, call("x"), reply("x"), USER, call("y"), reply("y")]
    trim(messages, SMALL)
    assert messages == [USER, call("y"), reply("y")]


def test_ids_that_come_again_mean_the_latest_call() -> None:
    messages = [*turns(3), USER, call("1"), reply("1"), USER, call("1"), reply("1"), ANSWER]
    trim(messages, SMALL)
    assert messages == [USER, call("1"), reply("1"), ANSWER]
    messages = [*turns(3), USER, call("1"), reply("1"), USER, call("2"), reply("1")]  # the first is answered again
    trim(messages, SMALL)
    assert messages == [USER, call("1"), reply("1"), USER, call("2"), reply("1")]


def test_a_pinned_reply_keeps_its_group_and_the_question() -> None:
    group = [USER, call("a", "b"), reply("a"), {**reply("b"), "pinned": True}]
    messages = [USER, ANSWER, *group, ANSWER, *turns(4)]
    trim(messages, SMALL)
    assert messages == [*group, *turns(4)[-2:]]
    # Two calls in a row: only the one that the pinned reply answers.
    messages = [USER, call("a"), call("b"), {**reply("a"), "pinned": True}, reply("b"), *turns(4)]
    trim(messages, SMALL)
    assert messages == [USER, call("a"), {**reply("a"), "pinned": True}, *turns(4)[-2:]]


def test_replies_without_ids_and_in_other_forms() -> None:
    legacy = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}
    messages = [*turns(4), USER, legacy, USER, {"role": "function", "name": "f", "content": "1"}]
    trim(messages, SMALL)
    assert messages == [USER, legacy, USER, {"role": "function", "name": "f", "content": "1"}]
    use = {"role": "assistant", "content": [{"type": "tool_use", "id": "u", "name": "f", "input": {}}]}
    result = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "u", "content": "1"}]}
    messages = [*turns(4), USER, use, result, ANSWER]
    trim(messages, SMALL)
    assert messages == [USER, use, result, ANSWER]
    messages = [reply("nobody asked"), *turns(4)]
    trim(messages, SMALL)
    assert messages == turns(4)[-2:]


def test_keep_system_false() -> None:
    messages = [*turns(2, system=True), {"role": "developer", "content": "x"}, *turns(3)]
    trim(messages, TrimPolicy(1, 1.0, 1.0, 1.0, keep_system=False))
    assert messages == turns(3)[-2:]


# ── a model of the rules ──────────────────────────────────────────────────────────────────────────────────────────────


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Histories with unique contents, parallel calls, late and lost replies, and pins."""
    messages: list[Message] = []
    ids: list[str] = []
    for i in range(draw(st.integers(0, 40))):
        kind = draw(st.sampled_from(["user", "user", "assistant", "assistant", "calls", "tool", "tool", "system"]))
        message: Message = {"role": kind, "content": f"{kind} {i} " + "word " * draw(st.integers(0, 3))}
        if kind == "calls":
            fresh = [f"id {i} {j}" for j in range(draw(st.integers(1, 3)))]
            message = {**call(*fresh), "content": message["content"]}
            ids += fresh
        elif kind == "tool":
            message["tool_call_id"] = draw(st.sampled_from([*ids[-4:], "lost"]))
        if draw(st.integers(0, 7)) == 0:
            message["pinned"] = True
        messages.append(message)
    return messages


def ids_of(message: Message) -> list[str]:
    return [c["id"] for c in message.get("tool_calls") or ()]


class Model:
    """The rules, as plainly as possible: sets of indices, no thought for speed."""

    def __init__(self, messages: list[Message], keep_system: bool) -> None:
        n = len(messages)
        self.calls = {i: next((c for c in range(i) if m["tool_call_id"] in ids_of(messages[c])), None)
                      for i, m in enumerate(messages) if m["role"] == "tool"}  # fmt: skip
        self.exempt = {i for i, m in enumerate(messages) if m.get("pinned") or (keep_system and m["role"] == "system")}
        self.opens = [i for i, m in enumerate(messages) if m["role"] == "user"
                      and not any(c is not None and c < i < r for r, c in self.calls.items())]  # fmt: skip
        self.fixed = set(self.exempt)
        if any(m.get("pinned") for m in messages):
            # A reply that answers nothing is taken to belong to the calls before it in its turn.
            for i, c in self.calls.items():
                if c is None:
                    start = max((o for o in range(i) if messages[o]["role"] == "user"), default=-1)
                    self.calls[i] = max((k for k in range(start + 1, i) if ids_of(messages[k])), default=None)
            self.fixed |= {c for i, c in self.calls.items() if i in self.fixed and c is not None}
            self.fixed |= {i for i, c in self.calls.items() if c in self.fixed}
            first = next((i for i in sorted(self.fixed) if messages[i]["role"] != "system"), None)
            if first is not None and messages[first]["role"] != "user":
                self.fixed |= set([o for o in self.opens if o < first][-1:])
        starts = [*self.opens, n]
        self.turns = [range(a, b) for a, b in itertools.pairwise(starts)]
        self.length = n - len(self.exempt)

    def cut_by_length(self, policy: TrimPolicy) -> tuple[int, str]:
        if self.length <= policy.trim_threshold * policy.safe_size:
            return 0, "none"
        emergency = self.length > policy.emergency_threshold * policy.safe_size
        keep = max(1, int(policy.safe_trim_level * policy.max_history_pairs))
        cut, counted, total = None, 0, 0
        for turn in reversed(self.turns):
            size = len(set(turn) - self.exempt)
            counted += size > 0
            total += size
            if counted > keep or (emergency and counted > 1 and total > 2 * keep):
                break
            cut = turn.start
        if cut is None:
            cut = len(self.exempt) + self.length if emergency else 0
        if set(range(cut)) <= self.fixed:
            return 0, "none"
        return cut, "emergency" if emergency else "trigger"

    def cut_by_tokens(self, cut: int, budget: int, tokens: list[int]) -> int:
        total = sum(tokens[i] for i in self.fixed)
        start, newest = len(tokens), True
        ends = sorted({0, cut, *self.opens} - set(range(cut)), reverse=True)
        for end in ends:
            inside = [i for i in range(end, start) if i not in self.fixed]
            cost = sum(tokens[i] for i in inside)
            if inside and not newest and total + cost > budget:
                break
            newest &= not inside
            total += cost
            start = end
        return start if start > cut and not set(range(start)) <= self.fixed else cut


@settings(max_examples=400)
@given(histories(), st.integers(1, 6), st.booleans(), st.one_of(st.none(), st.integers(1, 60)))
def test_trim_is_the_model(messages: list[Message], pairs: int, keep_system: bool, budget: int | None) -> None:
    policy = TrimPolicy(pairs, 1.0, 1.0, 1.5, budget, keep_system)
    model = Model(messages, keep_system)
    cut, reason = model.cut_by_length(policy)
    counter = None if budget is None else lambda text: text.count(" ")
    tokens = [str(m["content"]).count(" ") + len(ids_of(m)) for m in messages]  # '{"q": 1}': one each
    if budget is not None and (tighter := model.cut_by_tokens(cut, budget, tokens)) != cut:
        cut, reason = tighter, "tokens"
    expected = [m for i, m in enumerate(messages) if i >= cut or i in model.fixed]
    trimmed = list(messages)
    report = trim(trimmed, policy, counter)
    assert trimmed == expected
    assert (report.removed, report.kept, report.reason) == (len(messages) - len(expected), len(expected), reason)
    assert report.bytes_before == sum(len(m["content"]) for m in messages)
    assert report.bytes_after == sum(len(m["content"]) for m in expected)
    if budget is not None:
        kept = sum(t for i, t in enumerate(tokens) if i >= cut or i in model.fixed)
        assert report.tokens_after == kept
        assert report.over_budget == (kept > budget)
        assert report.tokens_before is not None
        assert kept <= report.tokens_before <= sum(tokens)
        assert report.tokens_exact == (report.removed == 0)
    # What holds whatever the model thinks:
    assert all(m in trimmed for m in messages if m.get("pinned") or (keep_system and m["role"] == "system"))
    calls = {i for m in trimmed for i in ids_of(m)}
    answered = {i for m in messages for i in ids_of(m)}
    assert all(m["tool_call_id"] in calls for m in trimmed if m["role"] == "tool" and m["tool_call_id"] in answered
               and any(m["tool_call_id"] in ids_of(c) for c in messages[: messages.index(m)]))  # fmt: skip


# ── by tokens ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Counter:
    """One token a character; remembers what it was asked."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __call__(self, text: str) -> int:
        self.seen.append(text)
        return len(text)


def test_each_kept_message_is_counted_once_newest_first() -> None:
    messages = turns(100, system=True)
    counter = Counter()
    report = trim(messages, TrimPolicy(max_tokens=50), counter)
    # "be brief" is 8; a turn of "question 99" and "answer 99" is 20
    assert [m["content"] for m in messages] == ["be brief", "question 98", "answer 98", "question 99", "answer 99"]
    assert counter.seen == ["be brief", "answer 99", "question 99", "answer 98", "question 98", "answer 97"]
    assert report[:3] == (196, 5, "tokens")
    assert (report.tokens_after, report.tokens_before, report.tokens_exact) == (48, 57, False)
    assert not report.over_budget
    counter = Counter()
    report = trim(messages, TrimPolicy(max_tokens=48), counter)
    assert (report.reason, report.tokens_before, report.tokens_after, report.tokens_exact) == ("none", 48, 48, True)
    assert len(counter.seen) == 5


def test_without_a_budget_every_message_is_counted_once() -> None:
    messages = turns(200)
    counter = Counter()
    report = trim(messages, TrimPolicy(), counter)
    assert len(counter.seen) == 400
    assert (report.reason, report.tokens_exact) == ("trigger", True)
    assert report.tokens_before == report.bytes_before
    assert report.tokens_after == report.bytes_after


def test_what_must_stay_may_be_over_budget() -> None:
    messages = turns(5, system=True)
    report = trim(messages, TrimPolicy(max_tokens=3), len)
    assert messages == [turns(0, system=True)[0], *turns(5)[-2:]]
    assert report.over_budget
    assert report.tokens_after == 8 + 18
    messages = [{"role": "user", "content": "x" * 100, "pinned": True}, *turns(2)]
    report = trim(messages, TrimPolicy(max_tokens=50), len)
    assert len(messages) == 3
    assert (report.over_budget, report.reason) == (True, "tokens")
    assert trim([], TrimPolicy(max_tokens=1), len) == (0, 0, "none", 0, 0, 0, 0, pytest.approx(0, abs=1e3), False, True)


def test_the_counter_gets_the_text() -> None:
    use = {"type": "tool_use", "id": "u", "name": "look", "input": {"k": 1}}
    result = {"type": "tool_result", "tool_use_id": "u", "content": "found"}
    odd = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "g", "arguments": {"a": 1}}}]}
    messages: list[Message] = [
        {"role": "user", "content": [{"type": "text", "text": "one"}, "two", {"type": "image_url"}]},
        call("a", "b"), {**call("c"), "content": "text"}, odd,
        {"role": "assistant", "content": [use]}, {"role": "user", "content": [result]}, {"role": "user"},
    ]  # fmt: skip
    counter = Counter()
    trim(messages, TrimPolicy(), counter)
    arguments = '{"q": 1}'
    assert counter.seen[::-1] == ["one\ntwo", f"find\n{arguments}\nfind\n{arguments}", f"text\nfind\n{arguments}",
                                  "g\n{'a': 1}", "look\n{'k': 1}", "found", ""]  # fmt: skip


def test_huge_counts_saturate() -> None:
    messages = turns(3)
    report = trim(messages, TrimPolicy(max_tokens=2**61), lambda text: 2**80)
    assert len(messages) == 2
    assert report.over_budget


def test_integers_of_other_kinds() -> None:
    numpy = pytest.importorskip("numpy")
    assert trim(turns(1), TrimPolicy(max_tokens=99), lambda text: numpy.int64(3)).tokens_after == 6


class Boom(Exception):
    pass


def boom(text: str) -> int:
    raise Boom("no tokens")


@pytest.mark.parametrize(
    ("counter", "kind", "message"),
    [
        (boom, Boom, "no tokens"),
        (lambda text: -1, ValueError, r"returned -1 for messages\[399\]"),
        (lambda text: -(2**80), ValueError, "must be 0 or more"),
        (lambda text: 1.5, TypeError, r"returned 1.5 for messages\[399\]"),
        (lambda text: None, TypeError, "returned None"),
        ("len", TypeError, "token_counter is of type str"),
        (None, ValueError, "needs a token_counter"),
    ],
)
def test_a_bad_counter_leaves_the_list_whole(counter: Any, kind: type[Exception], message: str) -> None:
    messages = turns(200)
    with pytest.raises(kind, match=message):
        trim(messages, TrimPolicy(max_tokens=100), counter)
    assert messages == turns(200)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.clear(),
        lambda m: m.append({"role": "user", "content": "new"}),
        lambda m: m.pop(0),
        lambda m: m.__setitem__(0, {"role": "user", "content": "other"}),
        lambda m: m.reverse(),
        lambda m: m.__setitem__(slice(None), [dict(message) for message in m]),  # equal, but others
    ],
)
@pytest.mark.parametrize("budget", [100, 10**9, None])
def test_a_counter_that_changes_the_list(change: Callable[[list[Message]], None], budget: int | None) -> None:
    messages = turns(20)
    changed = turns(20)
    change(changed)
    done: list[int] = []

    def counter(text: str) -> int:
        if not done:
            change(messages)
            done.append(1)
        return len(text)

    with pytest.raises(RuntimeError, match="changed while it was being trimmed"):
        trim(messages, TrimPolicy(max_tokens=budget), counter)
    assert messages == changed  # as the counter left it


def test_the_messages_are_not_held() -> None:
    """A counter sees the references that the list and itself have, and the one message that is being counted."""
    messages = turns(20)
    before = [sys.getrefcount(message) for message in messages]
    held: list[int] = []

    def counter(text: str) -> int:
        held.append(sum(sys.getrefcount(message) for message in messages) - sum(before))
        return len(text)

    trim(messages, TrimPolicy(max_tokens=10**9), counter)
    assert held == [1] * len(held)
    assert [sys.getrefcount(message) for message in messages] == before


def test_a_counter_that_trims() -> None:
    messages = turns(20)
    with pytest.raises(RuntimeError, match="changed"):
        trim(messages, TrimPolicy(max_tokens=100), lambda text: trim(messages, TrimPolicy(max_tokens=100), len).kept)
    assert messages == turns(20)[-10:]


def test_a_counter_that_empties_the_messages() -> None:
    messages = [call("a") for _ in range(20)]

    def counter(text: str) -> int:
        for message in messages:
            message.clear()
        return 1

    assert trim(messages, TrimPolicy(max_tokens=100), counter).kept == 20


# ── bad histories ─────────────────────────────────────────────────────────────────────────────────────────────────────


class Sly(dict):  # type: ignore[type-arg]
    """A dict whose methods must not be asked."""

    def __getitem__(self, key: object) -> object:
        raise Boom

    get = keys = items = __iter__ = __contains__ = __getitem__


class Sticky:
    """A key that collides with "role" and must not be compared."""

    armed = False

    def __hash__(self) -> int:
        return hash("role")

    def __eq__(self, other: object) -> bool:
        if Sticky.armed:
            raise Boom
        return False


@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        ("text", TypeError, r"messages\[308\] is of type str; it must be a dict"),
        (None, TypeError, r"messages\[308\] is of type NoneType"),
        ({"content": "x"}, ValueError, r"messages\[308\] has no role"),
        ({"role": None, "content": "x"}, TypeError, r"messages\[308\]\['role'\] is of type NoneType"),
        ({"role": "User", "content": "x"}, ValueError, r"\['role'\] is 'User'; it must be user, assistant"),
        ({"role": "user", "content": 5}, TypeError, r"\['content'\] is of type int; it must be a str"),
        ({"role": "user", "content": [5]}, TypeError, r"one of its parts, is of type int"),
        ({"role": "user", "pinned": "yes"}, TypeError, r"\['pinned'\] is of type str"),
        ({"role": "assistant", "tool_calls": "x"}, TypeError, r"\['tool_calls'\] is of type str"),
    ],
)
def test_bad_messages_leave_the_list_whole(bad: Any, kind: type[Exception], message: str) -> None:
    messages: list[Any] = [*turns(154), bad]
    with pytest.raises(kind, match=message):
        trim(messages, TrimPolicy())
    assert messages == [*turns(154), bad]


def test_hostile_dicts(monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[Any] = [*turns(154), Sly(role="user", content="x"), {Sticky(): 1, "role": "user", 5: None}]
    monkeypatch.setattr(Sticky, "armed", True)
    assert trim(messages, TrimPolicy()).reason == "trigger"
    assert len(messages) == 2 * 118 + 2


@pytest.mark.parametrize("messages", [(), None, "text", {}, 5])
def test_what_is_no_list(messages: Any) -> None:
    with pytest.raises(TypeError, match="must be a list, to be trimmed in place"):
        trim(messages, TrimPolicy())


def test_what_is_no_policy() -> None:
    with pytest.raises(TypeError, match="must be a TrimPolicy"):
        trim([], None)  # type: ignore[arg-type]


def test_messages_whose_end_changes_the_list() -> None:
    """A message's __del__ may touch the list while it is being shortened: it must find it shortened already."""
    lengths: list[int] = []

    class Told(dict):  # type: ignore[type-arg]
        def __del__(self) -> None:
            lengths.append(len(messages))
            messages.append({"role": "assistant", "content": "from __del__"})

    messages: list[Any] = [Told(role="user", content="x"), *turns(200)]
    trim(messages, TrimPolicy())
    assert lengths == [240]
    assert messages[-1]["content"] == "from __del__"

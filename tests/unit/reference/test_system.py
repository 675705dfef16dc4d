from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.errors import PerfsuiteError, UsageError
from perfsuite.plan import Workload
from perfsuite.reference.configuration import ReferenceConfig
from perfsuite.reference.context import BudgetExceeded, Context
from perfsuite.reference.embedding import DIMENSION, embed, similarity
from perfsuite.reference.model import SimulatedModel
from perfsuite.reference.system import ChatSystem, RateLimited
from perfsuite.workloads.requests import requests

QUICK = ReferenceConfig(path=":memory:").without_delays()
FACT = "The access code for the Marlow depot is kite-77."
QUESTION = "What is the access code for the Marlow depot?"


@asynccontextmanager
async def opened(config: ReferenceConfig = QUICK) -> AsyncIterator[ChatSystem]:
    system = ChatSystem(config)
    await system.open()
    try:
        yield system
    finally:
        await system.close()


def using(test: Callable[[ChatSystem], Awaitable[None]], config: ReferenceConfig = QUICK) -> None:
    async def run() -> None:
        async with opened(config) as system:
            await test(system)

    asyncio.run(run())


async def recalled(system: ChatSystem, count: int) -> tuple[int, int, int]:
    """Facts found in the context, in the answer, and asked for."""
    in_context = in_answer = asked = 0
    for request in islice(requests(1, slots=3, workload=Workload()), count):
        answer = await system.chat(request.message, user_id=request.user_id, conversation_id=request.conversation_id)
        if request.expects is not None:
            asked += 1
            in_context += any(request.expects.value in message["content"] for message in answer.context.messages)
            in_answer += request.expects.value in answer.text
    return in_context, in_answer, asked


def test_facts_of_every_age_are_found() -> None:
    async def test(system: ChatSystem) -> None:
        in_context, in_answer, asked = await recalled(system, 300)
        assert asked > 60
        assert in_context == in_answer == asked

    using(test)


@pytest.mark.parametrize("broken", ["no memories", "no history and no memories"])
def test_a_broken_assembler_loses_facts_and_the_measure_sees_it(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(system: ChatSystem) -> None:
        whole = system.assembler.assemble

        def without(*arguments: Any, **fields: Any) -> Context:
            fields["notes"] = ()
            if "history" in broken:
                fields["history"] = ()
            return whole(*arguments, **fields)

        monkeypatch.setattr(system.assembler, "assemble", without)
        in_context, in_answer, asked = await recalled(system, 200)
        assert in_answer <= in_context < 0.9 * asked
        if "history" in broken:
            assert in_context == 0

    using(test)


def test_two_runs_say_the_same() -> None:
    def run() -> list[str]:
        found: list[str] = []

        async def test(system: ChatSystem) -> None:
            for request in islice(requests(2, slots=2, workload=Workload()), 60):
                answer = await system.chat(
                    request.message, user_id=request.user_id, conversation_id=request.conversation_id
                )
                found.append(f"{answer.text} {answer.prompt_tokens} {answer.context.memories}")

        using(test)
        return found

    assert run() == run()


def test_the_budget_of_a_message_is_kept_by_all_agents_together() -> None:
    async def test(system: ChatSystem) -> None:
        for number, words in enumerate((1, 10, 100, 500, 700)):
            answer = await system.chat(f"{FACT} " + "word " * words, user_id="u", conversation_id=f"c{number}")
            await system._conversations[f"c{number}"].remembering  # type: ignore[misc]
            used = system.store.connection.execute(
                "SELECT sum(prompt_tokens + completion_tokens) FROM agent_logs WHERE session_id = ?",
                (system._conversations[f"c{number}"].session,),
            ).fetchone()[0]
            assert used <= system.config.message_budget
            assert {one.agent for one in answer.spent} == {"planner", "responder"}
        with pytest.raises(BudgetExceeded):
            await system.chat("word " * 3000, user_id="u", conversation_id="c9")
        assert system.refused_budget == 1
        assert set(system.store.spent_by_agent()) == {"planner", "memory", "responder"}

    using(test, replace(QUICK, message_budget=1500))


def test_a_limited_user_is_refused_and_others_are_not() -> None:
    async def test(system: ChatSystem) -> None:
        for _ in range(2):
            await system.chat("hello", user_id="u", conversation_id="c")
        with pytest.raises(RateLimited, match="retry after") as caught:
            await system.chat("hello", user_id="u", conversation_id="c")
        assert caught.value.retry_after_s > 1
        await system.chat("hello", user_id="v", conversation_id="d")
        assert system.refused_rate == 1

    using(test, replace(QUICK, rate_per_s=0.01, rate_burst=2))


def test_conversations_go_and_come_back() -> None:
    async def test(system: ChatSystem) -> None:
        await system.chat(FACT, user_id="u", conversation_id="first")
        for number in range(10):
            for _ in range(8):
                await system.chat("hello there", user_id=f"v{number}", conversation_id=f"c{number}")
        assert len(system._conversations) <= 3
        assert "first" not in system._conversations
        assert system.store.count("archives") == 8, "what is let go of is compressed"
        assert len(system.store.transcript("c0")) == 16
        answer = await system.chat(QUESTION, user_id="u", conversation_id="first")
        assert "kite-77" in answer.text
        other = await system.chat(QUESTION, user_id="u", conversation_id="second")
        assert "kite-77" in other.text, "memories are the user's, whatever the conversation"
        assert "kite-77" not in (await system.chat(QUESTION, user_id="v", conversation_id="third")).text

    using(test, replace(QUICK, max_conversations=2))


def test_history_of_an_unknown_conversation_is_taken_in() -> None:
    history: list[dict[str, Any]] = [
        {"role": "system", "content": "Speak plainly."},
        {"role": "user", "content": [{"type": "text", "text": FACT}]},
        {"role": "assistant", "content": "Noted."},
    ]

    async def test(system: ChatSystem) -> None:
        answer = await system.chat(QUESTION, user_id="u", conversation_id="c", history=history)
        assert "kite-77" in answer.text
        assert "Speak plainly." in answer.context.messages[0]["content"]
        again = await system.chat(QUESTION, user_id="u", conversation_id="c", history=history)
        assert sum(FACT in str(message) for message in again.context.messages) <= 2, "taken in once"

    using(test)


def test_long_conversations_are_archived_whole() -> None:
    async def test(system: ChatSystem) -> None:
        said = []
        for number in range(60):
            said.append(f"message {number} " + "lorem ipsum dolor sit amet " * 8)
            await system.chat(said[-1], user_id="u", conversation_id="c")
        assert system.store.count("archives") >= 3
        assert system.store.count("messages") < 60
        transcript = [one["content"] for one in system.store.transcript("c") if one["role"] == "user"]
        assert transcript == said
        assert len(system._conversations["c"].history) <= 2 * (2 * system.config.max_history_pairs + 5)

    using(test, replace(QUICK, archive_bytes=4000))


def test_statements_and_commits_a_message() -> None:
    """The database is used on the event loop because a message needs few statements: this keeps them few."""

    async def test(system: ChatSystem) -> None:
        await system.chat("warm up", user_id="u", conversation_id="c")
        statements: list[str] = []
        system.store.connection.set_trace_callback(statements.append)
        for _ in range(10):
            await system.chat(f"{FACT} It is so.", user_id="u", conversation_id="c")
        system.store.connection.set_trace_callback(None)
        plain = [one for one in statements if not one.startswith("--")]
        assert sum(one.startswith("COMMIT") for one in plain) <= 2 * 10
        assert len(plain) <= 16 * 10

    using(test)


def test_concurrent_messages_of_one_conversation_take_turns() -> None:
    async def test(system: ChatSystem) -> None:
        await asyncio.gather(*(system.chat(f"m {n}", user_id="u", conversation_id="c") for n in range(20)))
        roles = [one["role"] for one in system.store.transcript("c")]
        assert roles == ["user", "assistant"] * 20

    using(test)


def test_a_cancelled_message_does_not_undo_the_last_one() -> None:
    slow = replace(QUICK, utility=replace(QUICK.utility, ttft_ms=50), path=":memory:")

    async def test(system: ChatSystem) -> None:
        await system.chat(FACT, user_id="u", conversation_id="c")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(system.chat("hello", user_id="u", conversation_id="c"), 0.02)
        await asyncio.sleep(0.06)
        assert system.store.count("memories") == 1
        assert "kite-77" in (await system.chat(QUESTION, user_id="u", conversation_id="d")).text

    using(test, slow)


def test_an_error_of_the_memory_agent_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(system: ChatSystem) -> None:
        def fail(user: str, texts: list[str]) -> list[str]:
            raise RuntimeError("the disk is on fire")

        monkeypatch.setattr(system.memories, "add", fail)
        await system.chat(FACT, user_id="u", conversation_id="c")
        with pytest.raises(RuntimeError, match="on fire"):
            await system.chat("hello", user_id="u", conversation_id="c")
        await system.chat(FACT, user_id="u", conversation_id="d")

    with pytest.raises(RuntimeError, match="on fire"):
        using(test)


def test_files_go_with_the_system_unless_they_were_asked_for(tmp_path: Path) -> None:
    async def run() -> Path:
        async with opened(replace(QUICK, path=None)) as system:
            own = Path(system.store.path)
            assert own in list(own.parent.iterdir())
        async with opened(replace(QUICK, path=tmp_path / "mine.sqlite")) as system:
            await system.chat(FACT, user_id="u", conversation_id="c")
        async with opened(replace(QUICK, path=tmp_path / "mine.sqlite")) as system:
            assert "kite-77" in (await system.chat(QUESTION, user_id="u", conversation_id="d")).text
        return own

    own = asyncio.run(run())
    assert not own.parent.exists()
    assert (tmp_path / "mine.sqlite").exists()
    with pytest.raises(PerfsuiteError, match="not open"):
        ChatSystem(QUICK).store  # noqa: B018


def test_unknown_model() -> None:
    async def test(system: ChatSystem) -> None:
        with pytest.raises(UsageError, match="sim-large"):
            await system.chat("hello", user_id="u", conversation_id="c", model="sim-larg")

    using(test)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda role, text, name: {"role": role, "content": text} | ({"name": name} if name else {}),
            st.sampled_from(["system", "user", "assistant"]),
            st.text(alphabet="ab c.", max_size=30),
            st.sampled_from(["", "a long name indeed"]),
        ),
        max_size=20,
    ),
    st.integers(0, 200),
)
def test_truncation_keeps_its_budget(history: list[dict[str, Any]], budget: int) -> None:
    system = ChatSystem(QUICK)
    before = [dict(message) for message in history]
    kept = system.truncate(history, budget)
    assert history == before, "a copy is cut"
    assert not kept or system.counter.prompt(kept) <= budget
    assert [message for message in history if message in kept] == [m for m in history if m in kept]
    if system.counter.prompt(history) <= budget:
        assert kept == history


def test_embeddings_tell_spellings_apart() -> None:
    vector = embed("The quick brown fox")
    assert len(vector) == DIMENSION
    assert similarity(vector, vector) == pytest.approx(1, abs=1e-5)
    assert embed("The quick brown fox") == vector
    assert similarity(vector, embed("A quick brown foxes")) > similarity(vector, embed("tax return 1987"))
    assert list(embed("...")) == [0.0] * DIMENSION


def test_the_answer_reports_the_models_own_count() -> None:
    async def test(system: ChatSystem) -> None:
        answer = await system.chat(FACT, user_id="u", conversation_id="c", max_tokens=5)
        assert answer.completion_tokens == 5
        assert answer.context.tokens == answer.prompt_tokens
        assert isinstance(system.utility, SimulatedModel)

    using(test)


def test_a_database_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> NoReturn:
        raise sqlite3.OperationalError("locking protocol")

    monkeypatch.setattr("perfsuite.reference.system.Memories", broken)
    file = tmp_path / "a.sqlite"
    system = ChatSystem(ReferenceConfig(path=file))
    with pytest.raises(PerfsuiteError, match=f"cannot read the database {file}: locking protocol"):
        asyncio.run(system.open())
    with pytest.raises(PerfsuiteError, match="is not open"):
        _ = system.store  # and its file is closed
    assert not any(Path(one).exists() and Path(one).resolve() == file for one in Path("/proc/self/fd").iterdir())

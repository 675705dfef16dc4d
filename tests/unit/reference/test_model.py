from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from perfsuite.errors import UsageError
from perfsuite.reference.configuration import MIB, ModelSpec, ReferenceConfig
from perfsuite.reference.model import ModelPool, PromptTooLong, SimulatedModel, answer, find_statement
from perfsuite.reference.tokenizer import count_text, render


def spec(
    name: str = "m", *, ttft: float = 0, token: float = 0, window: int = 1000, weights: int = 0, load: float = 0
) -> ModelSpec:
    return ModelSpec(name=name, ttft_ms=ttft, token_ms=token, window_tokens=window, weights_bytes=weights, load_ms=load)


def ask(question: str, *said: str, system: str = "Answer.") -> str:
    messages = [{"role": "system", "content": system}, *({"role": "user", "content": text} for text in said)]
    return answer(render([*messages, {"role": "user", "content": question}]))


def test_it_answers_from_its_prompt_alone() -> None:
    said = "The access code for the Marlow depot is kite-77. Other things happened."
    assert "kite-77" in ask("What is the access code for the Marlow depot?", said)
    assert "kite-77" not in ask("What is the access code for the Marlow depot?", "Other things happened.")
    assert "kite-77" in ask("Can you remind me of the Marlow depot access code?", system=f"Notes. {said}")


def test_the_latest_statement_counts_and_questions_do_not() -> None:
    said = (
        "The access code for the Marlow depot is old-1.",
        "The access code for the Marlow depot is now new-2.",
        "What is the access code for the Marlow depot?",
        "The access code for the Harlow depot is other-3.",
    )
    assert "new-2" in ask("What is the access code for the Marlow depot?", *said)


def test_what_is_about_something_else_is_no_answer() -> None:
    assert find_statement("The access code for the Harlow depot is x-1.", "What is the fax number of Marlow?") is None


def test_planning_and_extracting() -> None:
    assert ask("What is it?", system="Plan: x") == "recall"
    assert ask("It is so.", system="Plan: x") == "answer"
    assert ask("1. Cats chase mice.\n2. Why?\n3. Oh.", system="Extract: x") == "1"


def test_small_talk_is_deterministic_and_of_the_stated_length() -> None:
    assert ask("It rained today.") == ask("It rained today.")
    assert 20 <= count_text(ask("It rained today.")) <= 32


def test_delays_are_those_stated() -> None:
    async def run() -> list[float]:
        model = SimulatedModel(spec(ttft=20, token=5))
        began = time.monotonic()
        return [time.monotonic() - began async for _ in model.stream(render([{"role": "user", "content": "hm"}]), 10)]

    times = asyncio.run(run())
    assert len(times) == 10
    assert all(at >= 0.020 + 0.005 * number - 1e-4 for number, at in enumerate(times))


def test_a_prompt_beyond_the_window_is_refused() -> None:
    async def run() -> None:
        async for _ in SimulatedModel(spec(window=50)).stream(render([{"role": "user", "content": "a " * 60}]), 9):
            pass

    with pytest.raises(PromptTooLong, match="takes 50 tokens"):
        asyncio.run(run())


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_weights_are_really_held_and_really_released() -> None:
    async def run() -> list[int]:
        model = SimulatedModel(spec(weights=64 * MIB))
        seen = [resident()]
        await model.load()
        seen.append(resident())
        model.release()
        seen.append(resident())
        return seen

    before, held, after = asyncio.run(run())
    assert held - before > 60 * MIB
    assert held - after > 60 * MIB


def test_one_model_at_a_time_in_the_order_of_arrival() -> None:
    async def run() -> None:
        pool = ModelPool((spec("a", weights=MIB), spec("b", weights=2 * MIB)))
        order: list[str] = []

        async def use(name: str, label: str) -> None:
            async with pool.use(name):
                order.append(label)
                assert pool.loaded == name
                assert pool.resident_bytes == (MIB if name == "a" else 2 * MIB)
                await asyncio.sleep(0.01)
                assert pool.loaded == name, "not taken away while in use"

        await asyncio.gather(use("a", "1"), use("a", "2"), use("b", "3"), use("a", "4"), use("b", "5"))
        assert order == ["1", "2", "3", "4", "5"], "nobody overtakes, so nobody starves"
        assert pool.switches == 3
        with pytest.raises(UsageError, match="known: a, b"):
            pool.get("c" * 20)
        pool.close()
        assert pool.resident_bytes == 0

    asyncio.run(run())


def test_a_cancelled_switch_leaves_nothing_behind() -> None:
    async def run() -> None:
        pool = ModelPool((spec("a"), spec("b", weights=MIB, load=10_000)))
        async with pool.use("a"):
            pass

        async def use() -> None:
            async with pool.use("b"):
                pass

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(use(), 0.02)
        assert pool.resident_bytes == 0
        async with asyncio.timeout(1), pool.use("a"):
            assert pool.loaded == "a"

    asyncio.run(run())


def test_configurations_that_make_no_sense() -> None:
    with pytest.raises(UsageError, match="one model"):
        ReferenceConfig(models=())
    with pytest.raises(UsageError, match="different names"):
        ReferenceConfig(models=(spec("x"), spec("x")))
    with pytest.raises(UsageError, match="MAYBE"):
        ReferenceConfig(synchronous="MAYBE")
    with pytest.raises(UsageError, match="hot_memories"):
        ReferenceConfig(hot_memories=0)
    with pytest.raises(UsageError, match="recent_share"):
        ReferenceConfig(recent_share=2.0)

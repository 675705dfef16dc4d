"""The samples of the performance guide, adapted to this package's names."""

from __future__ import annotations

import asyncio
import cProfile
import gc
import io
import logging
import multiprocessing
import pstats
import threading
import time
import traceback
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any
from unittest.mock import MagicMock

import pytest

from perfsuite import ChatLoop, ChatLoopConfig, PerformanceMonitor, TrimReport
from perfsuite.chatloop.config import MAX_INPUT_LENGTH
from perfsuite.chatloop.profiling import FunctionTime, call_profile, flame_graph, stack_samples, table
from perfsuite.chatloop.resources import memory_bytes

logger = logging.getLogger("guide")


def answer(messages: list[dict[str, Any]]) -> str:
    return "answer"


def get_memory_usage() -> float:
    return memory_bytes() / 1e6


def turns(n: int) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": f"message_{i}"} for i in range(n)]


# ── optimization ──────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "config",
    [
        {"max_history_pairs": 100, "trim_threshold": 1.5, "safe_trim_level": 1.2},
        {"max_history_pairs": 50, "trim_threshold": 1.3, "safe_trim_level": 1.1},
    ],
)
def test_configurations_for_longer_conversations(config: dict[str, Any]) -> None:
    chat_loop = ChatLoop(config, model=answer)
    chat_loop.ctx.conversation_history = turns(2000)
    chat_loop.run_iteration("hello")
    kept = int(config["safe_trim_level"] * config["max_history_pairs"])
    assert len(chat_loop.ctx.conversation_history) == 2 * kept + 2


def test_optimized_chat_loop() -> None:
    class OptimizedChatLoop(ChatLoop):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(**kwargs)
            self._context_cache: dict[int, str] = {}

        def _inject_context(self, user_input: str) -> str:
            if len(user_input) < 10:  # Skip context for short inputs
                return user_input
            cache_key = hash(user_input)
            if cache_key in self._context_cache:
                return self._context_cache[cache_key]
            result = super()._inject_context(user_input)
            self._context_cache[cache_key] = result
            if len(self._context_cache) > 5:
                self._context_cache.clear()
            return result

    asked: list[str] = []
    seen: list[str] = []

    def context(text: str) -> str:
        asked.append(text)
        return "What is known."

    def model(messages: list[dict[str, Any]]) -> str:
        seen.append(messages[-1]["content"])
        return "answer"

    chat_loop = OptimizedChatLoop(config={"context_cache_size": 0}, model=model, context=context)
    for text in ["short", "a longer message", "a longer message", *(f"another message {i}" for i in range(10))]:
        chat_loop.run_iteration(text)
    assert seen[0] == "short"
    assert seen[1] == seen[2] == "What is known.\n\na longer message"
    assert len(asked) == 11
    assert len(chat_loop._context_cache) <= 6


def test_tuned_chat_loop(caplog: pytest.LogCaptureFixture) -> None:
    class TunedChatLoop(ChatLoop):
        def _should_trim_memory(self) -> bool:
            current_length = len(self.ctx.conversation_history)
            max_pairs = self.config.max_history_pairs
            return current_length > max_pairs * 3  # earlier than 1.5 of the safe size

        def _monitor_performance(self, operation: str, start_time: float) -> None:
            elapsed = time.time() - start_time
            if elapsed > 0.02:
                logger.warning("Critical slow operation: %s took %.2fs", operation, elapsed)
            super()._monitor_performance(operation, start_time)

    def model(messages: list[dict[str, Any]]) -> str:
        if messages[-1]["content"] == "think":
            time.sleep(0.03)
        return "answer"

    chat_loop = TunedChatLoop({"max_history_pairs": 10}, model=model)
    longest = 0
    for i in range(60):
        chat_loop.run_iteration(f"message {i}")
        longest = max(longest, len(chat_loop.ctx.conversation_history))
    assert longest == 30
    assert chat_loop.trims > 0
    chat_loop.run_iteration("think")
    assert any("Critical slow operation: llm_invocation took 0.0" in message for message in caplog.messages)


def test_memory_optimized_chat_loop() -> None:
    cleaned: list[int] = []

    class MemoryOptimizedChatLoop(ChatLoop):
        def _cleanup_memory(self) -> None:
            cleaned.append(gc.collect())
            super()._cleanup_memory()

    chat_loop = MemoryOptimizedChatLoop({"max_history_pairs": 5}, model=answer, context=lambda text: "known")
    for i in range(30):
        chat_loop.run_iteration(f"message {i}")
    assert len(cleaned) == chat_loop.trims > 0
    assert len(chat_loop.context) < 30


def test_async_context_injection() -> None:
    """The guide hands the lookup to an executor; arun_iteration does."""
    threads: list[int] = []

    def context(text: str) -> str:
        threads.append(threading.get_ident())
        return "known"

    chat_loop = ChatLoop("production", model=answer, context=context)
    assert asyncio.run(chat_loop.arun_iteration("hello")) == "answer"
    assert threads
    assert threads[0] != threading.get_ident()


def test_debug_chat_loop(capsys: pytest.CaptureFixture[str]) -> None:
    class DebugChatLoop(ChatLoop):
        def _monitor_performance(self, operation: str, start_time: float) -> None:
            elapsed = time.time() - start_time
            if elapsed > 0.01:
                print("SLOW OPERATION DETECTED:")
                print(f"   Operation: {operation}")
                print(f"   Duration: {elapsed:.3f}s")
                print(f"   Memory: {self._get_memory_usage():.2f}MB")
                print(f"   Thread: {threading.current_thread().ident}")
                traceback.print_stack()
            super()._monitor_performance(operation, start_time)

    def slow(messages: list[dict[str, Any]]) -> str:
        time.sleep(0.02)
        return "answer"

    DebugChatLoop("production", model=slow).run_iteration("hello")
    said = capsys.readouterr()
    assert "Operation: llm_invocation" in said.out
    assert "run_iteration" in said.err


def test_the_high_memory_solutions() -> None:
    chat_loop = ChatLoop(ChatLoopConfig.production(), model=answer)
    chat_loop.config.trim_threshold = 1.2  # More aggressive
    chat_loop.config.max_history_pairs = 50  # Lower limit
    chat_loop.ctx.conversation_history = turns(128)
    chat_loop.run_iteration("hello")
    assert len(chat_loop.ctx.conversation_history) == 120


# ── monitoring ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_performance_statistics_collection() -> None:
    alerts: list[str] = []

    def monitor_performance(chat_loop: ChatLoop) -> None:
        stats = chat_loop._get_performance_stats()
        if stats["memory_utilization"] > 0.8:
            alerts.append("memory")
        if stats.get("last_operation_time", 0) > 0.01:
            alerts.append("slow")

    chat_loop = ChatLoop("production", model=answer)
    chat_loop.run_iteration("hello")
    monitor_performance(chat_loop)
    assert alerts == []
    small = ChatLoop("production", model=answer, monitor=PerformanceMonitor(memory_limit_bytes=1 << 20))
    small.run_iteration("hello")
    small.monitor.record_operation("tool_execution", 20.0)
    monitor_performance(small)
    assert alerts == ["memory", "slow"]


def test_the_sample_monitor() -> None:
    monitor = PerformanceMonitor()
    for ms in range(1, 101):
        monitor.record_request(response_time_ms=float(ms), memory_bytes=10**8, success=ms != 50)
    data = monitor.dashboard_data()
    assert data["avg_response_time_ms"] == 50.5
    assert data["p95_response_time_ms"] == pytest.approx(95.0, rel=0.01)
    assert data["error_rate"] == 0.01


# ── tests of the guide ────────────────────────────────────────────────────────────────────────────────────────────────


def test_load_test() -> None:
    monitor = PerformanceMonitor()

    def load_test(num_users: int, messages: int) -> None:
        def simulate_user() -> None:
            chat_loop = ChatLoop("production", model=answer, monitor=monitor)
            for _ in range(messages):
                chat_loop.run_iteration(f"Test message {threading.current_thread().ident}")
                time.sleep(0.001)

        with ThreadPoolExecutor(max_workers=num_users) as executor:
            futures = [executor.submit(simulate_user) for _ in range(num_users)]
            for future in futures:
                future.result()

    load_test(num_users=10, messages=20)
    assert monitor.statistics()["complete_iteration"].count == 200
    assert monitor.dashboard_data()["error_rate"] == 0.0


def test_stress_test() -> None:
    many_tools = {"content": "", "tool_calls": [{"name": "test_tool", "args": {}}] * 20}

    def model(messages: list[dict[str, Any]]) -> Any:
        return many_tools if messages[-1]["content"] == "use tools" else "answer"

    chat_loop = ChatLoop("production", model=model, tools={"test_tool": lambda: "done"})
    assert chat_loop.run_iteration("x" * MAX_INPUT_LENGTH) == "answer"
    chat_loop.run_iteration("use tools")
    assert chat_loop.monitor.statistics()["tool_execution"].count == 20
    for i in range(1000):  # the guide's 10,000: perfsuite chat-loop stress
        chat_loop.run_iteration(f"Stress test message {i}")
    assert len(chat_loop.ctx.conversation_history) <= 1.5 * chat_loop.config.max_safe_size


def test_performance_regression() -> None:
    def run_performance_benchmark(slower_ms: float = 0.0) -> PerformanceMonitor:
        monitor = PerformanceMonitor()
        chat_loop = ChatLoop("production", model=answer, monitor=monitor)
        for _ in range(1000):
            with monitor.operation("input_validation"):
                chat_loop._validate_input("test input")
        for i in range(100):
            monitor.record_operation("memory_trimming", 5.0 + 0.01 * i + slower_ms)
        return monitor

    baseline = run_performance_benchmark().baseline()
    found = run_performance_benchmark(slower_ms=1.0).check_regression(baseline, threshold=0.1)
    assert "memory_trimming" in [change.operation for change in found]
    unchanged = run_performance_benchmark().check_regression(baseline, threshold=0.1)
    assert "memory_trimming" not in [change.operation for change in unchanged]


def test_memory_leaks() -> None:
    chat_loop = ChatLoop("production", model=answer)
    growths = []
    for _ in range(3):
        initial_memory = get_memory_usage()
        for i in range(500):
            chat_loop.run_iteration(f"Memory test {i}")
        growths.append(get_memory_usage() - initial_memory)
    assert min(growths) < 10, f"Memory leak detected: {min(growths)}MB growth"


def test_memory_efficiency() -> None:
    """What the messages hold: the process's own memory is measured by ``perfsuite chat-loop efficiency``."""
    chat_loop = ChatLoop("production", model=answer)
    mock_ctx = MagicMock()
    chat_loop.ctx = mock_ctx
    for size in (10, 100, 1000, 5000):
        mock_ctx.conversation_history = turns(size)
        report = chat_loop._trim_conversation_history_incremental()
        assert isinstance(report, TrimReport)
        efficiency = 1 - report.bytes_after / report.bytes_before
        assert efficiency > 0.5 if size >= 1000 else efficiency == 0.0


def test_a_history_of_texts_as_the_guide_has_it() -> None:
    chat_loop = ChatLoop("production", model=answer)
    mock_ctx = MagicMock()
    chat_loop.ctx = mock_ctx
    for size in (10, 100, 1000, 5000):
        mock_ctx.conversation_history = [f"message_{i}" for i in range(size)]
        report = chat_loop._trim_conversation_history_incremental()
        assert report.removed == max(0, size - 240)
        history = mock_ctx.conversation_history
        assert [one["content"] for one in history] == [f"message_{i}" for i in range(size)][-240:]
        assert {one["role"] for one in history[::2]} == {"user"}
    mock_ctx.conversation_history = ["hello", "hi"]
    assert chat_loop.run_iteration("how are you?") == answer([])
    assert [one["role"] for one in mock_ctx.conversation_history] == ["user", "assistant"] * 2
    mock_ctx.conversation_history = [{"role": "user", "content": "x"}, 7, {"role": "user", "content": "y"}]
    with pytest.raises(TypeError, match="a role and a content"):
        chat_loop._trim_conversation_history_incremental()


# ── profiling ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_performance_profiling() -> None:
    profiler = cProfile.Profile()
    profiler.enable()
    ChatLoop("production").run_iteration("test input")
    profiler.disable()
    out = io.StringIO()
    pstats.Stats(profiler, stream=out).sort_stats("cumulative").print_stats(20)
    assert "run_iteration" in out.getvalue()


def hot(n: int) -> int:
    return sum(i * i for i in range(n))


def cold(n: int) -> int:
    return sum(i * i for i in range(n))


def work() -> None:
    for _ in range(40):
        hot(20_000)
        cold(1_000)


def table_of_work() -> list[FunctionTime]:
    return call_profile(work)


def test_the_table_says_what_was_called_and_what_it_took() -> None:
    """In a process of its own: since CPython 3.12 cProfile counts one stack for all threads of a process, and threads
    that other tests left behind mix theirs into it."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        rows = {row.name: row for row in alone.submit(table_of_work).result()}
    assert (rows["hot"].calls, rows["cold"].calls) == (40, 40)
    assert rows["work"].total_ms >= rows["hot"].total_ms > rows["cold"].total_ms
    assert "hot" in table(rows.values())


def test_the_flame_graph_shows_what_was_seen() -> None:
    import xml.etree.ElementTree as ElementTree

    stacks = stack_samples(lambda: [work() for _ in range(5)])
    assert stacks.share("hot") > stacks.share("cold")
    assert stacks.share("nothing") == 0.0
    assert sum(int(line.rpartition(" ")[2]) for line in stacks.folded().splitlines()) == stacks.samples
    root = ElementTree.fromstring(flame_graph(stacks, "a <title>"))
    titles = [one.text or "" for one in root.iter("{http://www.w3.org/2000/svg}title")]
    assert any(text.startswith("hot ") for text in titles)
    assert titles[0] == f"all: {stacks.samples:,} samples, 100.0%"

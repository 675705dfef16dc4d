"""Several models in turn: what a switch costs, what is remembered across it, and when the resources have moved.

Every round names the next model.  Its first request asks for the fact that was planted under the model before, its
second plants the next one and is that model's steady use.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Iterator, Mapping, Sequence

from perfsuite._core import Histogram, Row
from perfsuite.evidence import Evidence, NotMeasured, Samples
from perfsuite.suites.reallocation import MemoryWatch
from perfsuite.suites.recall import Recall
from perfsuite.suites.session import Session
from perfsuite.suites.streaming import streaming_evidence
from perfsuite.suites.window_limit import window_limit
from perfsuite.targets.base import Fact, Failure, Message, Reply, Request
from perfsuite.workloads.prose import sentences
from perfsuite.workloads.topics import invented_name

ANSWER_TOKENS = 4
REMEMBERED = 12
"""Messages of the conversation that a stateless service is sent again."""
LIMIT_SHARE = 0.1
"""Share of the time for the search of the context window's limit."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Switches for most of the time, then looks for the window's limit."""
    recall = Recall()
    steady = {model: Histogram(10) for model in session.target.models}
    switches = {model: Histogram(10) for model in session.target.models}
    failed_switches = 0
    watch = MemoryWatch(session)
    last: str | None = None

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Row) -> None:
        nonlocal last, failed_switches
        recall.add(request, reply)
        switched, last = request.model != last and last is not None, request.model
        if request.model is None:
            return
        if row.ttft_ms is None:
            failed_switches += switched
        elif switched:
            switches[request.model].record(row.ttft_ms)
        else:
            steady[request.model].record(row.ttft_ms)

    watcher = asyncio.create_task(watch.run())
    try:
        stretch = await session.drive(
            "switching",
            rounds(session.seed, session.target.models, watch),
            duration_s=session.remaining_s() * (1.0 - LIMIT_SHARE),
            concurrency=1,
            on_reply=on_reply,
        )
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
    found = streaming_evidence(stretch)
    found.update(switch_evidence(switches, steady, failed_switches, stretch.events.longest_wait_ms))
    found["context_accuracy"] = recall.evidence()
    found["resource_reallocation"] = watch.evidence()
    found["context_window_limit"] = await window_limit(session)
    return found


def rounds(seed: int, models: Sequence[str], watch: MemoryWatch) -> Iterator[Request]:
    """Two requests a model, the models in turn, in one conversation; tells ``watch`` of each switch as it is sent."""
    rng = random.Random(f"switching {seed}")
    prose = sentences(seed)
    messages: list[Message] = []
    planted: Fact | None = None
    number = 0

    def request(model: str, text: str, expects: Fact | None) -> Request:
        messages.append({"role": "user", "content": text})
        del messages[:-REMEMBERED]
        return Request(
            message=text,
            messages=list(messages),
            user_id="switching",
            conversation_id=f"switching-{seed}",
            model=model,
            max_tokens=ANSWER_TOKENS,
            expects=expects,
            age=1 if expects is not None else 0,
        )

    while True:
        model = models[number % len(models)]
        watch.switching_to(model)
        yield request(model, planted.question if planted is not None else next(prose), planted)
        name = invented_name(rng)
        planted = Fact(
            key=name,
            value=f"{rng.randrange(16**6):06x}",
            statement="",
            question=f"What is the access code of {name}?",
            turn=number,
        )
        yield request(model, f"The access code of {name} is {planted.value}. {next(prose)}", None)
        number += 1


def switch_evidence(
    switches: Mapping[str, Histogram],
    steady: Mapping[str, Histogram],
    failed: int,
    longest_wait_ms: float,
) -> dict[str, Evidence]:
    """model_switch_time, and the same less the model's median time to first token in steady use."""
    whole, overhead = Histogram(10), Histogram(10)
    usual = {model: times.quantile(0.5) for model, times in steady.items() if times.count}
    for model, times in switches.items():
        whole.merge(times)
        if model in usual:
            for low, high, count in times.buckets():  # 0.05 % wide: finer than any median
                overhead.record_n(max(0.0, (low + high) / 2 - usual[model]), count)
    if not whole.count and not failed:
        reason = NotMeasured("no second model was answered by in the measured time")
        return {"model_switch_time": reason, "switch_overhead": reason}
    return {
        "model_switch_time": Samples(histogram=whole, failed=failed, longest_wait=longest_wait_ms),
        "switch_overhead": Samples(histogram=overhead, details={"steady_ttft_ms": usual})
        if overhead.count
        else NotMeasured("no model had a steady time to first token"),
    }

"""Several models in turn: what a switch costs, what is remembered across it, and when the resources have moved.

Every round names the next model and asks it for a fact that was planted under the model before.  In every other turn
through the models a second request plants the next facts, and is that model's steady use: the time to first token that
a switch is held against needs fewer samples than the switch.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count

from perfsuite._core import Histogram
from perfsuite.evidence import Evidence, NotMeasured, Samples
from perfsuite.loadgen import Times
from perfsuite.suites.course import Course
from perfsuite.suites.reallocation import MemoryWatch
from perfsuite.suites.recall import SAME_MESSAGE, Recall
from perfsuite.suites.session import Session
from perfsuite.suites.streaming import streaming_evidence
from perfsuite.suites.window_limit import window_limit
from perfsuite.targets.base import Fact, Failure, Message, Reply, Request
from perfsuite.workloads.conversations import acknowledgement
from perfsuite.workloads.prose import sentences
from perfsuite.workloads.topics import invented_name

ANSWER_TOKENS = 2
"""Where the context shows what is remembered; two, for the time between tokens."""
SAID_TOKENS = 48
"""Where only the answer does: a sentence with the value in it."""
REMEMBERED = 12
"""Messages of the user that a stateless service is sent again, or FOR_EACH_MODEL if they are more."""
FOR_EACH_MODEL = 4
LIMIT_SHARE = 0.05
"""Share of the time for the search of the context window's limit."""


async def measure(session: Session) -> Mapping[str, Evidence]:
    """Switches for most of the time, then looks for the window's limit."""
    recall = Recall()
    steady = {model: Histogram(10) for model in session.target.models}
    switches = {model: Histogram(10) for model in session.target.models}
    courses = {model: Course() for model in session.target.models}
    failed_switches = 0
    watch = MemoryWatch(session)
    last: str | None = None

    def on_reply(request: Request, reply: Reply | None, failure: Failure | None, row: Times) -> None:
        nonlocal last, failed_switches
        recall.add(request, reply, session.now_s)
        before, last = last, request.model
        if request.model is None or before is None:
            return  # the first has nothing to switch from, and is no steady use either
        switched = request.model != before
        if row.ttft_ms is None:
            failed_switches += switched
        elif switched:
            switches[request.model].record(row.ttft_ms)
            courses[request.model].add(session.now_s, row.ttft_ms)
        else:
            steady[request.model].record(row.ttft_ms)

    watcher = asyncio.create_task(watch.run())
    try:
        stretch = await session.drive(
            "switching",
            rounds(
                session.seed, session.target.models, watch.switching_to, black_box=session.target.inspection is None
            ),
            duration_s=session.remaining_s() * (1.0 - LIMIT_SHARE),
            concurrency=1,
            on_reply=on_reply,
        )
    finally:
        watcher.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watcher
    found = streaming_evidence(stretch)
    found.update(switch_evidence(switches, courses, steady, failed_switches, stretch.events.longest_wait_ms))
    found["context_accuracy"] = recall.evidence()
    found["resource_reallocation"] = watch.evidence()
    found["context_window_limit"] = await window_limit(session)
    return found


def rounds(
    seed: int, models: Sequence[str], switching_to: Callable[[str], object], *, black_box: bool
) -> Iterator[Request]:
    """The models in turn, in one conversation; ``switching_to`` is told of each switch as it is sent.

    A ``black_box`` is given room to say what it was asked for, and asked for it in the message that plants it as well.
    """
    rng = random.Random(f"switching {seed}")
    prose = sentences(seed)
    remembered = max(REMEMBERED, FOR_EACH_MODEL * len(models))
    messages: list[Message] = []
    planted: dict[str, deque[tuple[Fact, int]]] = {model: deque() for model in models}
    sent = 0

    def request(model: str, text: str, expects: Fact | None, age: int) -> Request:
        nonlocal sent
        sent += 1
        if messages:  # many chat templates take nothing but turns
            messages.append({"role": "assistant", "content": acknowledgement(sent)})
        messages.append({"role": "user", "content": text})
        del messages[: 1 - 2 * remembered]  # the first that stays is the user's too
        return Request(
            message=text,
            messages=list(messages),
            user_id="switching",
            conversation_id=f"switching-{seed}",
            model=model,
            max_tokens=SAID_TOKENS if black_box else ANSWER_TOKENS,
            expects=expects,
            age=age,
        )

    for number in count():
        turn, place = divmod(number, len(models))
        model = models[place]
        switching_to(model)
        known = planted[models[place - 1]]
        if known:
            fact, at = known.popleft()
            yield request(model, fact.question, fact, sent + 1 - at)
        else:  # the very first, and of a single model
            yield request(model, next(prose), None, 0)
        if turn % 2 == 0:
            facts = [invented_fact(rng, sent + 1) for _ in range(2)]
            planted[model] = deque((fact, sent + 1) for fact in facts)
            text = " ".join([*(fact.statement for fact in facts), next(prose)])
            if black_box:
                yield request(model, f"{text} {facts[0].question}", facts[0], SAME_MESSAGE)
            else:
                yield request(model, text, None, 0)


def invented_fact(rng: random.Random, turn: int) -> Fact:
    """An access code that nobody could guess."""
    name, value = invented_name(rng), f"{rng.randrange(16**6):06x}"
    return Fact(
        key=name,
        value=value,
        statement=f"The access code of {name} is {value}.",
        question=f"What is the access code of {name}?",
        turn=turn,
    )


def switch_evidence(
    switches: Mapping[str, Histogram],
    courses: Mapping[str, Course],
    steady: Mapping[str, Histogram],
    failed: int,
    longest_wait_ms: float,
) -> dict[str, Evidence]:
    """model_switch_time, and the same less the model's median time to first token in steady use.

    ``courses``: how the times of ``switches`` went; ``failed``: switches that were never answered.
    """
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
    points = sorted((t_s, ms, model) for model, course in courses.items() for t_s, ms in course.series())
    took = [(t_s, ms) for t_s, ms, _ in points]
    more = [(t_s, max(0.0, ms - usual[model])) for t_s, ms, model in points if model in usual]
    return {
        "model_switch_time": Samples(histogram=whole, failed=failed, longest_wait=longest_wait_ms, series=took),
        "switch_overhead": Samples(histogram=overhead, series=more, details={"steady_ttft_ms": usual})
        if overhead.count
        else NotMeasured("no model had a steady time to first token"),
    }

"""What the requests of many conversations share."""

from __future__ import annotations

from collections import deque

from perfsuite.plan import Workload
from perfsuite.targets.base import Request
from perfsuite.units import TokenLength
from perfsuite.workloads.conversations import ACKNOWLEDGEMENTS
from perfsuite.workloads.requests import LONGEST_SHARED, _shared, requests


def outstanding(workload: Workload, slots: int, rounds: int) -> list[Request]:
    """The last request of each slot, when each has asked so often."""
    source = requests(7, slots=slots, workload=workload, expecting=False)
    kept: deque[Request] = deque(maxlen=slots)
    for _ in range(slots * rounds):
        kept.append(next(source))
    return list(kept)


def test_what_is_said_again_and_again_is_there_once() -> None:
    """An hour's conversations are long: their histories would be most of what a run needs."""
    told = [message for request in outstanding(Workload(), 64, 40) for message in request.messages]
    kinds = {(str(message["role"]), str(message["content"])) for message in told}
    different = len({id(message) for message in told})
    assert len(told) > 64 * 40
    assert len(kinds) <= different < 0.4 * len(told)
    answers = {id(message) for message in told if message["role"] == "assistant"}
    assert len(answers) < 32  # of thousands


def test_long_messages_are_not_kept_for_others() -> None:
    """Hundreds of them would be no small thing."""
    _shared.cache_clear()
    asked = outstanding(Workload(prompt_tokens=TokenLength(800)), 8, 3)
    told = [message for request in asked for message in request.messages]
    assert all(len(str(message["content"])) > LONGEST_SHARED for message in told if message["role"] == "user")
    assert _shared.cache_info().currsize <= len(ACKNOWLEDGEMENTS)
    outstanding(Workload(), 8, 3)  # the negative control
    assert _shared.cache_info().currsize > len(ACKNOWLEDGEMENTS)


def test_histories_say_what_was_said() -> None:
    """Sharing changes no word: every conversation goes on from what it was."""
    source = requests(7, slots=3, workload=Workload(), expecting=False)
    before: dict[str, list[tuple[object, object]]] = {}
    for _ in range(90):
        request = next(source)
        now = [(message["role"], message["content"]) for message in request.messages]
        known = before.get(request.conversation_id, [])
        assert now[: len(known)] == known
        assert now[-1] == ("user", request.message)
        before[request.conversation_id] = now

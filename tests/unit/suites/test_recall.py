"""Facts planted and asked for: what counts as remembered, and what a black box has to show first."""

from __future__ import annotations

from perfsuite.evidence import NotMeasured, Share
from perfsuite.suites.recall import CLUSTERS, Recall
from perfsuite.targets.base import Fact, Message, Reply, Request

FACT = Fact(key="k", value="b7f3", statement="The code is b7f3.", question="What is the code?", turn=0)


def request(age: int = 3, conversation: str = "c") -> Request:
    return Request(message=FACT.question, messages=[], user_id="u", conversation_id=conversation, expects=FACT, age=age)


def reply(text: str = "", context: list[Message] | None = None) -> Reply:
    return Reply(text=text, context=context)


def test_a_shown_context_is_judged_not_the_answer() -> None:
    recall = Recall()
    recall.add(request(), reply("I do not know.", [{"role": "system", "content": FACT.statement}]), 0.0)
    recall.add(request(), reply("It is b7f3.", [{"role": "user", "content": FACT.question}]), 0.0)
    found = recall.evidence()
    assert isinstance(found, Share)
    assert (found.hits, found.trials, found.details["judged_by"]) == (1, 2, "context")


def test_a_black_box_is_judged_by_its_answer() -> None:
    recall = Recall()
    recall.add(request(), reply("The code is b7f3"), 1.0)
    recall.add(request(), reply("I forgot"), 2.0)
    found = recall.evidence()
    assert isinstance(found, Share)
    assert (found.hits, found.trials, found.details["judged_by"]) == (1, 2, "answer")


def test_a_black_box_that_cannot_repeat_the_same_message_shows_nothing() -> None:
    recall = Recall()
    for _ in range(10):
        recall.add(request(age=0), reply("hello"), 0.0)
        recall.add(request(age=5), reply("hello"), 0.0)
    found = recall.evidence()
    assert isinstance(found, NotMeasured)
    assert "0 of 10" in found.reason


def test_one_that_can_is_judged_by_the_older_facts_only() -> None:
    recall = Recall()
    for _ in range(10):
        recall.add(request(age=0), reply("b7f3"), 0.0)
        recall.add(request(age=5), reply("hello"), 0.0)
    found = recall.evidence()
    assert isinstance(found, Share)
    assert (found.hits, found.trials) == (0, 10)


def test_requests_without_an_answer_or_a_fact_do_not_count() -> None:
    recall = Recall()
    recall.add(request(), None, 0.0)
    plain = Request(message="hello", messages=[], user_id="u", conversation_id="c")
    recall.add(plain, reply("b7f3"), 0.0)
    assert isinstance(recall.evidence(), NotMeasured)


def test_clusters_are_conversations_and_bounded() -> None:
    recall = Recall()
    for number in range(10 * CLUSTERS):
        recall.add(request(conversation=f"c{number}"), reply("b7f3"), 0.0)
    found = recall.evidence()
    assert isinstance(found, Share)
    assert len(found.clusters) <= CLUSTERS
    assert sum(trials for _, trials in found.clusters) == 10 * CLUSTERS


def test_every_age_has_its_row() -> None:
    recall = Recall()
    for age in (1, 2, 4, 5, 19, 20, 49, 50, 4000):
        recall.add(request(age=age), reply("b7f3"), 0.0)
    found = recall.evidence()
    assert isinstance(found, Share)
    rows = found.details["by_age"]
    assert isinstance(rows, list)
    assert [(row["turns"], row["facts"]) for row in rows] == [
        ("1", 1), ("2–4", 2), ("5–9", 1), ("10–19", 1), ("20–49", 2), ("50 and more", 2),
    ]  # fmt: skip

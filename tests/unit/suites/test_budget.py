"""What may be sent, in all."""

from __future__ import annotations

import math

from perfsuite.suites.budget import Budget, parts


def test_nothing_is_bounded_unless_it_was_said() -> None:
    budget = Budget(whose="the run's")
    budget.spend(10**9, 10**12)
    assert budget.requests_left is budget.tokens_left is budget.reached is None


def test_what_a_phase_sends_is_taken_from_the_run() -> None:
    run = Budget(whose="the run's", most_requests=10)
    first = Budget(whose="the phase's", within=run, most_requests=4, most_tokens=100)
    assert (first.requests_left, first.tokens_left) == (4, 100)
    first.spend(3, 40)
    assert (first.requests_left, first.tokens_left, run.requests_left) == (1, 60, 7)
    first.spend(1, 10)
    assert first.reached == "the phase's limit of 4 requests was reached"
    assert run.reached is None
    second = Budget(whose="the phase's", within=run)
    assert second.requests_left == 6
    second.spend(8, 0)
    assert second.requests_left == 0
    assert second.reached == "the run's limit of 10 requests was reached"


def test_tokens_reach_their_limit_too() -> None:
    run = Budget(whose="the run's", most_tokens=50)
    run.spend(1, 49)
    assert run.reached is None
    run.spend(1, 30)
    assert run.tokens_left == 0
    assert run.reached == "the run's limit of 50 tokens was reached"


def test_a_share_is_of_what_is_left_and_what_it_does_not_spend_stays() -> None:
    run = Budget(whose="the run's", most_requests=100, most_tokens=1000)
    first = run.share(0.4)
    assert (first.requests_left, first.tokens_left) == (40, 400)
    first.spend(10, 400)
    assert first.reached == "its share of the limit, 400 tokens, was sent"
    assert run.reached is None
    assert (run.requests_left, run.tokens_left) == (90, 600)
    last = run.share(1.0)
    last.spend(90, 0)
    assert last.reached == first.reached == "the run's limit of 100 requests was reached", "the wider limit is named"
    assert Budget(whose="the run's").share(0.1).requests_left is None
    assert Budget(whose="the run's", most_requests=3).share(0.01).requests_left == 1


def test_parts_are_of_what_those_before_left() -> None:
    assert parts([20.0, 0.0, 60.0, 20.0]) == [0.2, 1.0, 0.75, 1.0]
    assert parts([0.0]) == [1.0]
    assert parts([]) == []


def test_about_how_many_requests_a_limit_is() -> None:
    assert Budget(whose="the run's").about == math.inf
    run = Budget(whose="the run's", most_requests=10, most_tokens=1600)
    assert run.about == 2.0
    run.spend(2, 400)
    assert run.about == 6.0
    assert run.share(0.5).about == 3.0, "by what the whole run saw"
    assert Budget(whose="the run's", most_requests=10).about == 10.0

"""What may be sent, in all."""

from __future__ import annotations

from perfsuite.suites.budget import Budget


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

"""What is shown: the latest, whole, to as many as look."""

from __future__ import annotations

import asyncio
import json
import threading

from perfsuite.live.board import Board


def test_each_part_is_the_latest_that_was_put() -> None:
    board = Board(target="x")
    board.put(counts={"sent": 1}, rate=2.0)
    board.put(counts={"sent": 2})
    version, text = board.text()
    assert json.loads(text) == {"version": version, "ended": None, "target": "x", "counts": {"sent": 2}, "rate": 2.0}
    assert board.text()[1] is text  # written once, however many ask


def test_nothing_comes_after_the_end() -> None:
    board = Board()
    board.end("over", counts=1)
    board.put(counts=2)
    board.end("over again", counts=3)
    version, text = board.text()
    assert board.last == version
    assert json.loads(text)["ended"] == "over"
    assert json.loads(text)["counts"] == 1


def test_what_is_no_number_is_null() -> None:
    board = Board()
    board.put(rate=float("nan"))
    assert json.loads(board.text()[1])["rate"] is None


def test_who_looks_is_woken_by_another_thread() -> None:
    async def look() -> tuple[int, bytes] | None:
        board = Board()
        board.serve_in(asyncio.get_running_loop())
        board.viewers = 1
        seen, _ = board.text()
        assert await board.following(seen, 0.0) is None
        threading.Thread(target=board.put, kwargs={"rate": 1.0}).start()
        return await board.following(seen, 60.0)

    found = asyncio.run(look())
    assert found is not None
    assert json.loads(found[1])["rate"] == 1.0


def test_a_loop_that_has_ended_is_no_trouble() -> None:
    board = Board()

    async def come_and_go() -> None:
        board.serve_in(asyncio.get_running_loop())
        board.viewers = 1

    asyncio.run(come_and_go())
    board.put(rate=1.0)
    assert json.loads(board.text()[1])["rate"] == 1.0

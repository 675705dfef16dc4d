"""What is kept of self checks, and which of them says something of a load."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from checks_made import EXACT, a_check, load
from perfsuite import selfchecks
from perfsuite.errors import PerfsuiteError
from perfsuite.selfchecks import covering, covers, keep, kept, place


def test_an_error_is_at_least_what_each_view_of_it_says() -> None:
    assert EXACT.central == 0.004
    assert EXACT.tail == 0.02
    assert msgspec.structs.replace(EXACT, mean=-0.5).tail == 0.5
    assert msgspec.structs.replace(EXACT, shift_p99=-0.7).tail == 0.7
    assert msgspec.structs.replace(EXACT, shift_p99=-0.7).central == 0.004


@pytest.mark.parametrize(
    ("changes", "covered"),
    [
        ({}, True),
        ({"streams": 1, "chunks_per_s": 50.0}, True),
        ({"streams": 129}, False),
        ({"scheme": "https"}, False),
        ({"engine": "asyncio"}, False),
        ({"tokens_per_chunk": 4.0}, True),
        ({"tokens_per_chunk": 0.7}, True),  # chunks without a token of their own are no harder than one token each
        ({"chunks_per_s": 7_000.0}, True),
        ({"chunks_per_s": 8_000.0}, False),
    ],
)
def test_a_check_covers_what_is_no_harder(changes: dict[str, Any], covered: bool) -> None:
    assert covers(load(), load(**changes)) is covered


def test_a_check_of_several_tokens_a_chunk_says_nothing_of_one() -> None:
    assert not covers(load(tokens_per_chunk=4.0), load())
    assert covers(load(tokens_per_chunk=4.0), load(tokens_per_chunk=4.5))


def test_of_several_that_cover_a_load_the_nearest_and_newest_counts() -> None:
    checks = [a_check(streams=512), a_check(), a_check("older"), a_check("newer"), a_check(tokens_per_chunk=4.0)]
    assert covering(load(streams=40), checks) == checks[3]
    assert covering(load(streams=40, tokens_per_chunk=4.0), checks) == checks[4]
    assert covering(load(streams=200), checks) == checks[0]
    assert covering(load(streams=600), checks) is None
    assert covering(load(), []) is None


def test_checks_are_kept_for_this_machine_and_replaced_by_newer_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert place() == tmp_path / "perfsuite" / "selfcheck.json"
    assert kept() == []
    keep([a_check("first"), a_check(streams=512)])
    assert keep([a_check("second")]) == place()
    assert [one.at for one in kept()] == ["2026-11-21T12:00:00+00:00", "second"]
    assert list(place().parent.iterdir()) == [place()], "nothing is left beside it"
    here = selfchecks.machine()
    for changes in ({"host": "other"}, {"cores": 99}, {"kernel": "Linux 1"}, {"python": "x"}, {"perfsuite": "9"}):
        monkeypatch.setattr(selfchecks, "machine", lambda changes=changes: msgspec.structs.replace(here, **changes))
        assert kept() == [], changes
    keep([a_check("elsewhere")])
    monkeypatch.setattr(selfchecks, "machine", lambda: here)
    assert [one.at for one in kept()][-1] == "second"
    assert len(json.loads(place().read_bytes())["machines"]) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"version": 2, "machines": []}', b"\xff", b"[" * 100_000])
def test_a_file_that_cannot_be_used_covers_nothing_and_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "selfcheck.json"
    path.write_bytes(content)
    assert kept(path) == []
    keep([a_check()], path)
    assert len(kept(path)) == 1


def test_the_file_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfchecks, "MOST_CHECKS", 3)
    monkeypatch.setattr(selfchecks, "MOST_MACHINES", 2)
    path = tmp_path / "selfcheck.json"
    here = selfchecks.machine()

    @dataclass
    class At:
        number: int

        def __call__(self) -> selfchecks.Machine:
            return msgspec.structs.replace(here, cores=self.number)

    for number in range(4):
        monkeypatch.setattr(selfchecks, "machine", At(number))
        for streams in range(1, 6):
            keep([a_check(streams=streams)], path)
        assert [one.load.streams for one in kept(path)] == [3, 4, 5]
    assert len(json.loads(path.read_bytes())["machines"]) == 2


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PerfsuiteError, match="XDG_CACHE_HOME"):
        keep([a_check()], tmp_path / "file" / "selfcheck.json")

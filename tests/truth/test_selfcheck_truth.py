"""Does the self check tell a good client from one that is slowed on purpose?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from perfsuite.selfchecks import Book, Load, covering

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the wire engine is for Linux")
LIMITS = ["--limit-p50", "20ms", "--limit-p99", "60ms", "--limit-rate", "20%"]
"""Loose: this machine may be busy with anything.  What is slowed on purpose is further off than that."""
COMMAND = [sys.executable, "-m", "perfsuite"]
STOPPED_S, RUNNING_S = 0.3, 0.15


def selfcheck(cache: Path, *arguments: str, slowed: bool = False) -> tuple[int, Any, str]:
    """(exit code, what it printed as JSON, stderr).  ``slowed``: the client is stopped again and again, each time for
    longer than the limits allow; the server, a process of its own, goes on."""
    process = subprocess.Popen(
        [*COMMAND, "selfcheck", "--json", "-", *LIMITS, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
    )
    over = threading.Event()

    def slow() -> None:
        while not over.wait(RUNNING_S):
            process.send_signal(signal.SIGSTOP)
            over.wait(STOPPED_S)
            process.send_signal(signal.SIGCONT)

    slowing = threading.Thread(target=slow)
    if slowed:
        slowing.start()
    try:
        out, errors = process.communicate(timeout=120)
    finally:
        over.set()
        if slowed:
            slowing.join()
        if process.poll() is None:
            process.kill()
            process.wait()
    return process.returncode, json.loads(out) if out.strip() else None, errors.decode()


@LINUX
def test_a_client_left_alone_is_within_limits_and_one_slowed_on_purpose_is_not(tmp_path: Path) -> None:
    arguments = ["--engine", "wire", "--scheme", "http", "--streams", "1,24", "--tokens-per-chunk", "1"]
    code, found, errors = selfcheck(tmp_path, *arguments, "--duration", "1s")
    assert code == 0, (errors, found)
    assert found["beyond"] == []
    assert [one["load"]["streams"] for one in found["checks"]] == [1, 24]
    for one in found["checks"]:
        assert one["requests"] > 1
        assert one["itl"]["count"] == one["requests"] * 39
    kept = json.loads((tmp_path / "perfsuite" / "selfcheck.json").read_bytes())
    assert kept["machines"][0]["checks"] == found["checks"]
    code, found, errors = selfcheck(tmp_path, *arguments, "--duration", "2s", slowed=True)
    assert code == 3, (errors, found)
    assert found["beyond"]
    assert max(one["coalesced"] for one in found["checks"]) > 0.05, "it says what it comes from"


@pytest.mark.parametrize("engine", ["asyncio", pytest.param("wire", marks=LINUX)])
def test_both_engines_are_checked_over_tls(tmp_path: Path, engine: str) -> None:
    arguments = ["--engine", engine, "--scheme", "https", "--streams", "4", "--tokens-per-chunk", "4"]
    for _ in range(3):  # a machine that is busy for a moment adds to an error, and takes nothing from it
        code, found, errors = selfcheck(tmp_path, *arguments, "--duration", "1s")
        if code == 0:
            break
    assert code == 0, (errors, found)
    (one,) = found["checks"]
    assert (one["load"]["engine"], one["load"]["scheme"]) == (engine, "https")
    if engine == "asyncio":
        assert one["kernel"] == 0.0
    assert one["itl"]["count"] == one["requests"] * 9, "40 tokens are 10 chunks of 4"


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_the_realtime_api_is_checked_over_a_websocket(tmp_path: Path, scheme: str) -> None:
    arguments = ["--scheme", scheme, "--streams", "3", "--tokens-per-chunk", "4", "--duration", "2s"]
    for _ in range(3):  # on a machine that is busy a time may end without an answer
        code, found, errors = selfcheck(tmp_path, *arguments)
        if code in (0, 3):
            break
    assert code in (0, 3), errors  # how far off it is, is the machine's; that every chunk is held against its own, ours
    (one,) = found["checks"]
    assert (one["load"]["engine"], one["load"]["scheme"], one["asked"]) == ("asyncio", scheme, 3)
    assert one["requests"] > 1
    assert one["itl"]["count"] == one["requests"] * 9, "40 tokens are 10 chunks of 4"
    assert one["ttft"]["mean"] > -1.0, "nothing is heard before it was said"
    book = msgspec.json.decode((tmp_path / "perfsuite" / "selfcheck.json").read_bytes(), type=Book)
    (check,) = book.machines[0].checks
    load = Load(engine="asyncio", scheme=scheme, streams=2, tokens_per_chunk=4.0, chunks_per_s=1.0)
    assert covering(load, [check]) == check, "a run over the same has its errors by it"
    assert covering(msgspec.structs.replace(load, scheme="http"), [check]) is None
    for _ in range(3):
        code, found, errors = selfcheck(tmp_path, *arguments[:-1], "3s", slowed=True)
        if code == 3:
            break
    assert code == 3, (errors, found)
    assert found["beyond"]


def test_the_wire_engine_speaks_no_websocket(tmp_path: Path) -> None:
    code, found, errors = selfcheck(tmp_path, "--engine", "wire", "--scheme", "ws", "--streams", "1")
    assert (code, found) == (2, None)
    assert "check them with --engine asyncio" in errors


@LINUX
def test_a_run_has_the_errors_that_a_self_check_of_its_own_load_found(tmp_path: Path) -> None:
    """A service of four tokens to an event, which no check has seen: "error not measured", until ``--for-run``."""
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    served = [
        "--engine",
        "paced",
        "--model",
        "paced:30:10",
        "--tokens",
        "24",
        "--tokens-per-chunk",
        "4",
        "--for",
        "240s",
    ]

    def run(url: str) -> tuple[Path, Any]:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        command = [*COMMAND, "run", "baseline", "--target", url, "--duration", "2s", "-o", str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=150)
        assert done.returncode in (0, 3), done.stderr
        (path,) = folder.glob("results-*.json")
        (phase,) = json.loads(path.read_bytes())["phases"]
        return path, phase

    with subprocess.Popen([*COMMAND, "serve", *served], stdout=subprocess.PIPE, env=environment) as server:
        assert server.stdout is not None
        try:
            url = server.stdout.readline().decode().strip()
            path, before = run(url)
            for _ in range(3):  # a check that was starved of time says nothing of a denser load
                code, found, errors = selfcheck(tmp_path / "cache", "--for-run", str(path), "--duration", "2s")
                assert code in (0, 3), errors  # how far off it is, is the machine's
                after = run(url)[1]["error_bars"]
                if all(one["checked"] for one in after):
                    break
        finally:
            server.terminate()
    assert before["error_bars"]
    assert {one["text"] for one in before["error_bars"]} == {"error not measured"}
    assert all("selfcheck" in one["command"] for one in before["error_bars"]), "it says what would tell"
    loads = [one["load"] for one in found["checks"]]
    assert [(one["engine"], one["scheme"], round(one["tokens_per_chunk"])) for one in loads] == [("wire", "http", 4)]
    assert all(one["checked"] and "ttft ±" in one["text"] for one in after), after

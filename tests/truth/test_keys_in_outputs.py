"""What a run and ``init`` put out: keys are on the wire and nowhere else, whatever a server repeats of them."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection

import perfsuite
from perfsuite.targets.http.secret import MASK
from served import Asked, beside, chunked, delta, sse, whole
from talking import event, talking

KEY = "sk-live-0a1b2c3d4e5f6g7h8i9j"
ENCODED = [
    base64.b64encode(before + KEY.encode()).decode()[4 + -(-len(before) * 8 // 6) : -4] for before in (b"", b"B", b"Be")
]
PARTS = [*(KEY[:length] for length in range(8, len(KEY) + 1)), *(part[:12] for part in ENCODED)]


def repeated(asked: Asked) -> str:
    return asked.headers.get("authorization", "")


ECHOES: dict[str, Callable[[Asked], bytes]] = {
    "a refusal": lambda asked: whole("403 No", {"error": {"message": f"no access with {repeated(asked)}"}}),
    "a refusal in HTML": lambda asked: whole("500 No", f"<p>{repeated(asked)}</p>".encode(), kind="text/html"),
    "a refusal in text": lambda asked: whole("500 No", repeated(asked).encode(), kind="text/plain"),
    "cut in the middle": lambda asked: whole("500 No", {"error": {"message": "x" * 270 + repeated(asked)}}),
    "a refusal in base64": lambda asked: whole(
        "403 No", {"error": {"message": f"no {base64.b64encode(repeated(asked).encode()).decode()}"}}
    ),
    "an error in a stream": lambda asked: chunked(*sse({"error": {"message": f"bad {repeated(asked)}"}})),
    "no JSON": lambda asked: chunked(*sse(f"{repeated(asked)} is no JSON")),
    "a redirect": lambda asked: whole("302 Found", b"", f"Location: /login?{KEY}"),
    "when to come back": lambda asked: whole("429 Slow", {}, f"Retry-After: {KEY}"),
    "the answer itself": lambda asked: chunked(*sse(delta(repeated(asked)), "[DONE]")),
}


def clean(*texts: str | bytes) -> bool:
    """Nothing of a key is in them that is as long as what is masked."""
    return not any(
        part in (text if isinstance(text, str) else text.decode("utf-8", "replace")) for text in texts for part in PARTS
    )


@pytest.mark.parametrize("echo", list(ECHOES))
@pytest.mark.parametrize("engine", ["wire", "asyncio"])
def test_no_output_of_a_run_has_the_key(echo: str, engine: str, tmp_path: Path) -> None:
    def answer(asked: Asked) -> bytes:
        if asked.path == "/v1/models":
            return whole("200 OK", {"object": "list", "data": [{"id": "m1"}]})
        return ECHOES[echo](asked) if asked.path == "/v1/chat/completions" else b""

    forced = (
        "from perfsuite.targets.http import wired; wired.WIRE_SCHEMES = frozenset(); " if engine == "asyncio" else ""
    )
    program = f"{forced}from perfsuite.cli import main; raise SystemExit(main())"
    with beside(answer) as server:
        process = subprocess.run(
            [sys.executable, "-c", program, "run", "baseline", "--target", server.url, "--api-key-env", "SHOP_KEY",
             "--duration", "300ms", "--max-requests", "8", "-v", "--raw", "raw.ndjson"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(perfsuite.__file__).parents[1]), "PATH": "/usr/bin:/bin", "SHOP_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=60,
        )  # fmt: skip
        assert any(repeated(asked) == f"Bearer {KEY}" for asked in server.asked)  # it was on the wire
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {Path(name).suffix for name in files} == {".json", ".md", ".html", ".ndjson"}, process.stderr
    assert clean(process.stdout, process.stderr, *files.values())
    (result,) = (data for name, data in files.items() if name.endswith(".json"))
    if echo in ("a refusal", "a refusal in base64", "a refusal in text", "an error in a stream"):
        assert MASK.encode() in result  # the words of the failure are there, and the key in them was seen


SPOKEN: dict[str, Callable[[str], list[str]]] = {
    "an error of the session": lambda key: [event("error", error={"message": f"bad key {key}"})],
    "an error in an answer": lambda key: [
        event("response.output_text.delta", delta="so "),
        event("error", error={"message": f"no more for {key}"}),
    ],
    "an answer that failed": lambda key: [
        event("response.done", response={"status": "failed", "status_details": {"error": {"message": f"no {key}"}}})
    ],
    "no JSON": lambda key: [f"{key} is no JSON"],
    "the answer itself": lambda key: [
        event("response.output_text.delta", delta=key),
        event("response.done", response={"status": "completed"}),
    ],
}


@pytest.mark.parametrize("echo", list(SPOKEN))
def test_no_output_of_a_realtime_run_has_the_key(echo: str, tmp_path: Path) -> None:
    """As above, of a service that is spoken to over a WebSocket and repeats the handshake's key in its events."""
    seen: list[str] = []

    def answer(connection: ServerConnection, message: str | bytes) -> None:
        kind = json.loads(message)["type"]
        assert connection.request is not None
        key = connection.request.headers["Authorization"].removeprefix("Bearer ")
        if kind == "response.create":
            seen.append(key)
            for one in SPOKEN[echo](key):
                connection.send(one)

    greeting = event("session.created", session={"id": "s", "model": "m1"})
    with talking(answer, greeting=greeting) as talk:
        process = subprocess.run(
            [sys.executable, "-m", "perfsuite", "run", "baseline", "--target", f"realtime+ws://{talk.address}",
             "--api-key-env", "SHOP_KEY", "--duration", "300ms", "--max-requests", "8", "-v", "--raw", "raw.ndjson"],
            cwd=tmp_path,
            env={"PYTHONPATH": str(Path(perfsuite.__file__).parents[1]), "PATH": "/usr/bin:/bin", "SHOP_KEY": KEY},
            capture_output=True,
            text=True,
            timeout=120,
        )  # fmt: skip
    assert KEY in seen, process.stderr  # it was on the wire
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {Path(name).suffix for name in files} == {".json", ".md", ".html", ".ndjson"}, process.stderr
    assert clean(process.stdout, process.stderr, *files.values())
    (result,) = (data for name, data in files.items() if name.endswith(".json"))
    if echo not in ("the answer itself", "no JSON"):
        assert MASK.encode() in result  # the words of the failure are there, and the key in them was seen


def test_init_masks_what_a_service_repeats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from perfsuite.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHOP_KEY", KEY)

    def refuses(asked: Asked) -> bytes:
        return whole("401 No", {"error": {"message": f"not {repeated(asked)}"}})

    with beside(refuses) as server:
        assert main(["init", server.url, "--api-key-env", "SHOP_KEY", "-v"]) == 2
    captured = capsys.readouterr()
    assert MASK in captured.err
    assert clean(captured.out, captured.err)

    def answers(asked: Asked) -> bytes:
        if asked.path == "/v1/models":
            return whole("200 OK", {"object": "list", "data": [{"id": "m1"}]})
        return ECHOES["the answer itself"](asked) if asked.path == "/v1/chat/completions" else b""

    with beside(answers) as server:
        assert main(["init", server.url, "--api-key-env", "SHOP_KEY", "-v"]) == 0
    captured = capsys.readouterr()
    assert MASK in captured.out
    assert clean(captured.out, captured.err, (tmp_path / "perfsuite.toml").read_text())

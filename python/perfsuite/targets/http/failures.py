"""What goes wrong between two machines, by the kinds that results know."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Iterable, Mapping

from perfsuite.targets.base import Failure
from perfsuite.targets.http.secret import Secret

LONGEST_MESSAGE = 300
UNAUTHORIZED = (401, 403)
"""Statuses of a service that wants another key."""


class HttpFailure(Failure):
    """An answer whose status says no.  ``retry_after`` as the server wrote it (seconds, or a date)."""

    def __init__(self, kind: str, text: str, status: int, message: str, retry_after: str | None = None) -> None:
        super().__init__(kind, text)
        self.status = status
        self.message = message
        self.retry_after = retry_after


def network_failure(error: BaseException, where: str, *, handshake: bool = False) -> Failure:
    """The failure for what a socket or a TLS object raised.  ``handshake``: while a TLS connection was being made."""
    text = f"{where}: {reason(error)}"
    if isinstance(error, socket.gaierror):
        return Failure("dns", f"{text}; is the host name right?")
    if isinstance(error, ssl.SSLError):
        return Failure("tls", text)
    if isinstance(error, TimeoutError):
        return Failure("connect" if handshake else "timeout", text)
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return Failure("tls", f"{text} during the TLS handshake") if handshake else Failure("reset", text)
    return Failure("connect", text)


def masked(failure: Failure, secrets: Iterable[Secret]) -> Failure:
    """The same failure, without keys that a server repeated in its words."""
    for secret in secrets:
        failure.args = (secret.hidden_in(str(failure)),)
        if isinstance(failure, HttpFailure):
            failure.message = secret.hidden_in(failure.message)
    return failure


def remedy(failure: Failure) -> str:
    """What to do where a service could not be reached."""
    if failure.kind != "tls":
        return "start the service, or correct its address (perfsuite serve starts one to try)"
    if "CERTIFICATE_VERIFY_FAILED" in str(failure):
        return "if you trust it, name the file of the authority that signed its certificate with SSL_CERT_FILE"
    return "does it speak https?"


def reason(error: BaseException) -> str:
    """An exception's words on one line, its type's name where it has none."""
    text = ""
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
        known = isinstance(error.errno, int) and error.errno > 0  # a resolver's are negative
        text = os.strerror(error.errno or 0) if known else error.strerror or ""
    return _line(text or str(error)) or type(error).__name__


def status_failure(status: int, phrase: str, headers: Mapping[str, str], body: bytes, where: str) -> HttpFailure:
    """The failure for an answer that is not a success, with what the server said about it."""
    message = message_in(body, headers.get("content-type", ""))
    retry_after = headers.get("retry-after")
    text = f"{where}: {status} {phrase}".rstrip()
    if message:
        text += f": {message}"
    if status == 429:
        kind = "http_429"
    elif 400 <= status < 500:
        kind = "http_4xx"
    elif 500 <= status < 600:
        kind = "http_5xx"
    else:
        kind = "protocol"
        location = headers.get("location")
        text += f" (redirects to {_line(location)}; give that address)" if location else " (not a success)"
    if retry_after is not None:
        text += f" (Retry-After: {_line(retry_after)})"
    return HttpFailure(kind, text, status, message, retry_after)


def message_in(body: bytes, content_type: str = "") -> str:
    """The words of an error body: the usual JSON fields (OpenAI, Anthropic, FastAPI…), else its text; bounded."""
    if not body:
        return ""
    try:
        return worded(json.loads(body)) or _line(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        if "html" in content_type:
            return "(an HTML page)"
        return _line(body[: 4 * LONGEST_MESSAGE].decode("utf-8", "replace"))


def worded(value: object) -> str:
    """What an error object says, bounded; empty where it says nothing."""
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, Mapping):
        for name in ("error", "message", "detail", "msg", "title", "reason"):
            inner = value.get(name)
            if inner:
                where = value.get("loc")
                said = worded(inner)
                also = value.get("message")
                if name == "error" and isinstance(inner, str) and isinstance(also, str) and also:
                    said = f"{said}: {also}"  # LangGraph: the kind of error, and what it says
                return _line(f"{'.'.join(map(str, where))}: {said}" if isinstance(where, list) else said)
        return _line(json.dumps(value, ensure_ascii=False)) if value else ""
    if isinstance(value, list):
        return _line("; ".join(filter(None, map(worded, value[:5]))))
    return "" if value is None or isinstance(value, bool) else _line(str(value))


def _line(text: str) -> str:
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 8 * LONGEST_MESSAGE]).split())
    return line if len(line) <= LONGEST_MESSAGE else line[: LONGEST_MESSAGE - 1] + "…"

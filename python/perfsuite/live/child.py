"""The process that serves a run's page: what the run tells goes on the board, and how many look goes back."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from perfsuite.live.board import Board
from perfsuite.live.frames import Message, Unframed, framed
from perfsuite.live.shown import Shown

NICE = 5
"""What is measured comes first."""
PIECE = 1 << 16


def child() -> None:
    """Serves until the run hangs up."""
    control, listener = (socket.socket(fileno=int(number)) for number in sys.argv[1:])
    os.nice(NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        _served(control, listener)
    except Exception as error:  # noqa: BLE001 - the run says it
        with contextlib.suppress(OSError):
            control.sendall(framed({"trouble": str(error) or type(error).__name__}))
        sys.exit(1)


def _served(control: socket.socket, listener: socket.socket) -> None:
    from perfsuite.live.making import resources
    from perfsuite.live.web import Server

    messages = _messages(control)
    first = next(messages)
    board = Board(**first["state"])
    shown = Shown(board)
    server = Server(listener, first["token"], board, resources(first["title"]))
    server.metrics = shown.metrics
    answering = threading.Lock()

    def looked_at(viewers: int) -> None:
        with answering, contextlib.suppress(OSError):  # the run is over: it asks no more
            control.sendall(framed({"viewers": viewers}))

    server.start()
    board.looked_at = looked_at
    looked_at(board.viewers)
    try:
        for message in messages:
            shown.take(message)
    finally:
        board.end("The run was broken off.")  # unless it has said how it ended
        server.close()


def _messages(control: socket.socket) -> Iterator[Message]:
    """What the run says, until it hangs up or is gone."""
    unframed = Unframed()
    with contextlib.suppress(ConnectionResetError):
        while piece := control.recv(PIECE):
            yield from unframed.feed(piece)

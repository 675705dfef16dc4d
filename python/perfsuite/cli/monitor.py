"""``perfsuite monitor``: watches a target at a low rate for as long as it is let, and says when something is wrong."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace

from perfsuite.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path

    from perfsuite.analysis.alarms import Criterion
    from perfsuite.live.web import Server
    from perfsuite.monitor.store import Store
    from perfsuite.monitor.telling import Teller
    from perfsuite.monitor.watching import Monitor, Watch
    from perfsuite.plan import Plan

RATE = 0.2
"""Requests a second, where nobody says otherwise: one every five seconds."""
CRITERIA = ("error_rate<5%",)
WINDOW = "5m"
DISK = "100MB"
SHARED = (
    "target",
    "model",
    "request_timeout",
    "api_key_env",
    "conversations",
    "prompt_tokens",
    "output_tokens",
    "seed",
)
"""Settings of a run that are a monitor's too."""


def configure(parser: ArgumentParser) -> None:
    """The monitor's options."""
    from perfsuite.cli.options import add_setting
    from perfsuite.settings import BY_NAME

    add = parser.add_argument
    add("--rate", metavar="R", help=f"requests a second [{RATE}: one every five seconds]")
    add("--duration", metavar="TIME", help="end after that time, such as 7d [until a signal]")
    add(
        "-t", "--threshold", action="append", default=[], metavar="METRIC[.STAT]<VALUE",
        help=f"alert when this does not hold: error_rate<5%%, response_time.p95<2s, ttft.mean<500ms (repeatable) "
        f"[{CRITERIA[0].replace('%', '%%')}]",
    )  # fmt: skip
    add("--window", default=WINDOW, metavar="TIME", help=f"thresholds are held against so much of the past [{WINDOW}]")
    add("--webhook", metavar="URL", help="alerts are posted there as JSON")
    add("--command", metavar="JSON", help='run for each alert, which is JSON on its stdin: \'["/bin/notify", "-x"]\'')
    add("--log", metavar="FILE", help="a line of JSON for each alert, besides stderr")
    add("--store", metavar="FILE", help="what is kept [~/.local/share/perfsuite/monitor-TARGET.db]")
    add("--keep", metavar="TIME", help="how long hours are kept [400d]; minutes are for 7d, seconds for 1h")
    add("--disk", default=DISK, metavar="SIZE", help=f"the store holds no more: the oldest goes [{DISK}]")
    add("--host", default="127.0.0.1", help="address of the page; beyond this machine with PERFSUITE_LIVE_TOKEN")
    add("--port", default="0", metavar="N", help="port of the page; 0: any that is free [0]")
    add("-v", "--verbose", action="store_true", help="show tracebacks")
    for name in SHARED:
        add_setting(parser, BY_NAME[name], BY_NAME[name].default)


def execute(arguments: Namespace) -> int:
    """Watches until the time is over or a signal comes; prints the URL of its page first."""
    import asyncio

    from perfsuite.live.board import Board
    from perfsuite.live.making import browser_monitor, resources
    from perfsuite.live.opening import opened
    from perfsuite.live.web import Server
    from perfsuite.monitor.watching import Monitor
    from perfsuite.values import listening

    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    address = str(listening(f"{host}:{arguments.port}", "--host, --port"))
    watch = watch_of(arguments)
    teller = teller_of(arguments, watch.plan.target)
    store = store_of(arguments, watch.plan.target)
    try:
        listener, token = opened(address, "--host")
        board = Board(target=watch.plan.target, doing=f"{watch.rate:g} requests a second; what is kept: {store.path}")
        server = Server(listener, token, board, {**resources(watch.plan.target, "monitor"), **browser_monitor()})
        server.start()
        try:
            print(server.url, flush=True)
            asyncio.run(_watched(Monitor(watch, store, board, teller), server))
        finally:
            board.end("The monitor has ended; what it kept is in its file.")
            server.close()
    finally:
        store.close()
    return 0


async def _watched(monitor: Monitor, server: Server) -> None:
    import asyncio
    import signal

    from perfsuite.scratch import scratch_folder

    server.metrics = monitor.metrics
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    with scratch_folder("monitor") as folder:
        await monitor.run(stop, folder)


def watch_of(arguments: Namespace) -> Watch:
    """What the flags say is to be watched; UsageError with every mistake."""
    from perfsuite.errors import Mistakes
    from perfsuite.monitor.watching import Watch
    from perfsuite.values import positive_duration, positive_rate

    mistakes = Mistakes()
    values: dict[str, object] = {"rate": RATE, "window_s": None, "duration_s": None}
    criteria: list[Criterion] = []
    with mistakes.noted():
        values["window_s"] = positive_duration(arguments.window, "--window")
    if arguments.rate is not None:
        with mistakes.noted():
            values["rate"] = positive_rate(arguments.rate, "--rate")
    if arguments.duration is not None:
        with mistakes.noted():
            values["duration_s"] = positive_duration(arguments.duration, "--duration")
    for text in arguments.threshold or CRITERIA:
        with mistakes.noted():
            criteria.append(criterion_of(text))
    with mistakes.noted():
        values["plan"] = plan_of(arguments)
    mistakes.check()
    return Watch(criteria=criteria, **values)  # type: ignore[arg-type]


def plan_of(arguments: Namespace) -> Plan:
    """The target and how it is talked to, as a run has them; no phase of it is run."""
    from perfsuite.configuration import configure

    return configure({**{name: getattr(arguments, name) for name in SHARED}, "phase": ["load"]})


def criterion_of(text: str) -> Criterion:
    """``METRIC[.STAT]<VALUE``: a share for ``error_rate``, else a time."""
    import re

    from perfsuite.analysis.alarms import Criterion
    from perfsuite.monitor.store import TIMES
    from perfsuite.statistic import quantile_level, statistic
    from perfsuite.units import parse_duration, parse_ratio

    found = re.fullmatch(r"\s*([a-z_]+)(?:\.(mean|p[\d.]+))?\s*<=?\s*(\S.*)", text)
    stat = statistic(found[2] or "p95") if found is not None else None
    if found is None or found[1] not in ("error_rate", *TIMES) or (found[1] == "error_rate" and found[2]) or not stat:
        raise UsageError(
            f"--threshold {text}: write error_rate<5%, or {' or '.join(TIMES)} with mean or a quantile, such as "
            f"{TIMES[0]}.p95<2s"
        )
    where = f"--threshold {text}"
    if found[1] == "error_rate":
        return Criterion("error_rate", parse_ratio(found[3], where))
    return Criterion(found[1], parse_duration(found[3], where) * 1000.0, quantile_level(stat))


def teller_of(arguments: Namespace, target: str) -> Teller:
    """Who is told of alerts."""
    import json
    from pathlib import Path
    from urllib.parse import urlsplit

    from perfsuite.monitor.telling import Teller

    if arguments.webhook is not None and urlsplit(arguments.webhook).scheme not in ("http", "https"):
        raise UsageError(f"--webhook {arguments.webhook}: no http:// or https:// address")
    command = None
    if arguments.command is not None:
        try:
            command = json.loads(arguments.command)
        except ValueError:
            command = None
        if not (isinstance(command, list) and command and all(isinstance(word, str) for word in command)):
            raise UsageError(f'--command {arguments.command}: write the words as JSON: \'["/bin/notify", "-x"]\'')
    log = None if arguments.log is None else Path(arguments.log)
    return Teller(target, webhook=arguments.webhook, command=command, log=log)


def store_of(arguments: Namespace, target: str) -> Store:
    """The file that the monitor keeps."""
    from pathlib import Path

    from perfsuite.monitor.store import HOUR, KEPT_S, Store
    from perfsuite.units import parse_duration, parse_size

    kept = dict(KEPT_S)
    if arguments.keep is not None:
        kept[HOUR] = parse_duration(arguments.keep, "--keep")
    path = default_store(target) if arguments.store is None else Path(arguments.store)
    return Store(path, target, most_bytes=int(parse_size(arguments.disk, "--disk")), kept_s=kept)


def default_store(target: str) -> Path:
    """A file of the target's own beside the history."""
    import hashlib

    from perfsuite.history.database import default_place

    name = "".join(c if c.isalnum() else "-" for c in target)[:40].strip("-")
    return default_place().parent / f"monitor-{name}-{hashlib.sha256(os.fsencode(target)).hexdigest()[:8]}.db"

"""``perfsuite serve``: a chat server with stated delays, which knows the truth about itself."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from perfsuite.serve.options import ServeOptions

HARDLY_EVER = 200_000
FAULTS = (
    "misbehave, separated by commas; @K: once K tokens were sent: stall=MS@K cut@K reset@K bad_json@K error_in_200@K "
    "partial_utf8@K big=SIZE@K 429=SECONDS 500=TEXT (any status) garbage never_end slowloris=MS no_done "
    "close_keepalive, and of /v1/realtime alone silence grow; a request may ask for its own with the header or query "
    "x-perfsuite-fault"
)


def configure(parser: ArgumentParser) -> None:
    """The server's options."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen at [127.0.0.1]")
    add("--port", default="0", metavar="N", help="port to listen at; 0: any that is free [0]")
    add(
        "--engine", default="reference", metavar="reference|paced",
        help="who answers: the reference chat system, or fixed delays alone [reference]",
    )  # fmt: skip
    add(
        "--model", action="append", default=[], metavar="NAME:TTFT_MS:PER_TOKEN_MS",
        help="a model and its stated delays (repeatable) [sim-small:20:2 sim-large:30:3, paced:20:20]",
    )  # fmt: skip
    add("--tokens", default="100", metavar="N", help="tokens of an answer [100]")
    add("--tokens-per-chunk", default="1", metavar="N", help="tokens in each event of a stream [1]")
    add("--seed", default="0", metavar="N", help="what is random is the same for the same seed [0]")
    add("--fault", default="", metavar="FAULTS", help=FAULTS)
    add("--fault-probability", default="1", metavar="P", help="share of the requests that --fault strikes [1]")
    add("--no-kernel-stamps", action="store_true", help="take every stamp in the process")
    add("--tls", action="store_true", help="speak TLS, with a certificate made for this run")
    add("--certfile", metavar="PEM", help="speak TLS with this certificate")
    add("--keyfile", metavar="PEM", help="the certificate's key")
    add("--cert-out", metavar="FILE", help="where --tls writes its certificate, for clients to trust")
    add("--for", dest="duration", metavar="TIME", help="end after that time, such as 30s [until a signal]")
    add("-v", "--verbose", action="store_true", help="show tracebacks")


def execute(arguments: Namespace) -> int:
    """Serves until the time is over or a signal comes; prints the URL first."""
    import asyncio
    import gc

    from perfsuite.units import parse_duration

    options = options_of(arguments)
    duration = None if arguments.duration is None else parse_duration(arguments.duration, "--for")
    raise_open_files()
    gc.collect()
    gc.freeze()
    before = gc.get_threshold()
    gc.set_threshold(HARDLY_EVER, 50, 100)  # a collection of everything would make every stream late
    try:
        asyncio.run(serve(options, duration))
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
    return 0


def options_of(arguments: Namespace) -> ServeOptions:
    """The options that the flags say; UsageError with every mistake."""
    from pathlib import Path

    from perfsuite.errors import Mistakes
    from perfsuite.serve import faults
    from perfsuite.serve.options import ServeOptions, parse_model
    from perfsuite.units import parse_count, parse_ratio

    mistakes = Mistakes()
    values: dict[str, Any] = {}
    readers: dict[str, Callable[[], object]] = {
        "port": lambda: parse_count(arguments.port, "--port", most=65535),
        "models": lambda: tuple(map(parse_model, arguments.model)),
        "tokens": lambda: parse_count(arguments.tokens, "--tokens", least=1),
        "tokens_per_chunk": lambda: parse_count(arguments.tokens_per_chunk, "--tokens-per-chunk", least=1),
        "seed": lambda: parse_count(arguments.seed, "--seed"),
        "fault": lambda: faults.parse(arguments.fault, "--fault"),
        "fault_probability": lambda: parse_ratio(arguments.fault_probability, "--fault-probability"),
    }
    for name, read in readers.items():
        with mistakes.noted():
            values[name] = read()
    mistakes.check()
    files = {"certificate": arguments.certfile, "key": arguments.keyfile, "certificate_out": arguments.cert_out}
    values |= {name: None if path is None else Path(path) for name, path in files.items()}
    return ServeOptions(
        host=arguments.host,
        engine=arguments.engine,
        kernel_stamps=not arguments.no_kernel_stamps,
        tls=arguments.tls,
        **values,
    )


def raise_open_files() -> None:
    """A connection is a descriptor: as many as the system lets this process have."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


async def serve(options: ServeOptions, duration: float | None) -> None:
    """Serves until a signal or the end of the time, and ends in order."""
    import asyncio
    import signal

    from perfsuite.serve.server import Server

    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    server = Server(options)
    await server.start()
    try:
        print(server.url, flush=True)
        if duration is not None:
            loop.call_later(duration, over.set)
        await over.wait()
    finally:
        await server.close()

"""``perfsuite selfcheck``: how far this machine's measurements are from a known truth."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from perfsuite.selfchecks import Check, Deviation
    from perfsuite.suites.selfcheck.checking import Condition, Limits

BEYOND = 3


def configure(parser: ArgumentParser) -> None:
    """What to check, and what is still good."""
    add = parser.add_argument
    add("--streams", metavar="N[,N…]", help="answers under way at a time [1,32,128,512]")
    add("--scheme", metavar="http,https,ws,wss", help="plain, over TLS; ws: the realtime API [http,https]")
    add("--tokens-per-chunk", metavar="N[,N…]", help="tokens in each event of a stream [1,4]")
    add("--engine", metavar="wire|asyncio", help="the client to check [the one that run uses for the scheme]")
    add("--pace", metavar="TIME", help="from token to token of a stream [5ms for few streams, 20ms for many]")
    add("--duration", metavar="TIME", help="of each combination [2.5s]")
    add("--for-run", metavar="FILE", help="check the engine, the scheme and the load of a result file instead")
    add("--limit-p50", metavar="TIME", help="the most that ttft and itl may be off at the median [1ms]")
    add("--limit-p99", metavar="TIME", help="the most that they may be off at the p99 [20ms]")
    add("--limit-rate", metavar="SHARE", help="the most that the rate may be off [2%%]")
    add("--json", metavar="-", help="-: print the outcome as JSON")
    add("-o", "--output", metavar="DIR", help="also write selfcheck-TS.json there")
    add("-v", "--verbose", action="store_true", help="show tracebacks")


def execute(arguments: Namespace) -> int:
    """Checks, keeps the outcome for ``run``, prints it; 3 when an error is beyond its limit."""
    import itertools
    from pathlib import Path

    from perfsuite.cli.meter import Meter
    from perfsuite.exports.places import writable_folder
    from perfsuite.selfchecks import keep
    from perfsuite.suites.selfcheck.checking import beyond, run

    asked, limits, duration_s = asked_of(arguments)
    folder = None if arguments.output is None else writable_folder(Path(arguments.output))
    checks: list[Check] = []
    done = itertools.count(1)
    with Meter(sys.stderr) as meter:
        for check in run(
            asked, duration_s=duration_s, say=lambda text: meter.tell(f"{next(done)}/{len(asked)} {text}")
        ):
            checks.append(check)
            keep([check])
    troubles = [(str(one.load), beyond(one, limits)) for one in checks]
    troubles = [(load, texts) for load, texts in troubles if texts]
    data = _as_json(checks, limits, troubles)
    if folder is not None:
        _write(folder, data)
    if arguments.json is not None:
        print(data.decode())
    else:
        for line in lines(checks, troubles):
            print(line)
    return BEYOND if troubles else 0


def asked_of(arguments: Namespace) -> tuple[list[Condition], Limits, float]:
    """What the flags ask for; UsageError with every mistake."""
    from perfsuite.errors import Mistakes, UsageError, unknown
    from perfsuite.selfchecks import LEAST_MS, MOST_MS
    from perfsuite.suites.selfcheck import checking
    from perfsuite.suites.selfcheck.driving import ENGINES, engine_for
    from perfsuite.units import parse_duration, parse_ratio

    mistakes = Mistakes()
    streams, tokens, schemes = checking.STREAMS, checking.TOKENS_PER_CHUNK, checking.SCHEMES
    duration_s = checking.DURATION_S
    pace_ms: float | None = None
    limits: dict[str, float] = {}
    if arguments.json not in (None, "-"):
        mistakes.add(f"--json {arguments.json}: write --json - to print the outcome; --output DIR writes a file")
    with mistakes.noted():
        if arguments.streams is not None:
            streams = _counts(arguments.streams, "--streams", most=10_000)
    with mistakes.noted():
        if arguments.tokens_per_chunk is not None:
            tokens = _counts(arguments.tokens_per_chunk, "--tokens-per-chunk", most=checking.FEWEST_TOKENS)
    with mistakes.noted():
        if arguments.scheme is not None:
            schemes = tuple(dict.fromkeys(arguments.scheme.split(",")))
            for one in schemes:
                if one not in (known := (*checking.SCHEMES, *checking.SPOKEN)):
                    raise unknown("scheme", one, known, "--scheme")
    with mistakes.noted():
        if arguments.engine is not None and arguments.engine not in ENGINES:
            raise unknown("engine", arguments.engine, ENGINES, "--engine")
    with mistakes.noted():
        if arguments.duration is not None:
            duration_s = parse_duration(arguments.duration, "--duration")
            if not 0.5 <= duration_s <= 600.0:
                raise UsageError(f"--duration {arguments.duration}: a combination takes from 0.5s to 600s")
    with mistakes.noted():
        if arguments.pace is not None:
            pace_ms = parse_duration(arguments.pace, "--pace", bare="ms") * 1e3
            if not LEAST_MS <= pace_ms <= MOST_MS:
                raise UsageError(f"--pace {arguments.pace}: tokens may be {LEAST_MS:g}ms to {MOST_MS:g}ms apart")
    for name, text in (("p50", arguments.limit_p50), ("p99", arguments.limit_p99)):
        with mistakes.noted():
            if text is not None:
                limits[f"{name}_ms"] = parse_duration(text, f"--limit-{name}", bare="ms") * 1e3
    with mistakes.noted():
        if arguments.limit_rate is not None:
            limits["rate"] = parse_ratio(arguments.limit_rate, "--limit-rate")
    mistakes.check()
    if arguments.for_run is not None:
        from perfsuite.result import load

        given = (arguments.streams, arguments.scheme, arguments.tokens_per_chunk, arguments.engine, arguments.pace)
        if any(value is not None for value in given):
            raise UsageError("--for-run says engine, scheme and load itself: drop the flags that do, or drop it")
        asked = checking.loads_of(load(arguments.for_run))
    else:
        engines = {scheme: arguments.engine or engine_for(scheme) for scheme in schemes}
        asked = checking.conditions(engines, streams, tokens, pace_ms)
    return asked, checking.Limits(**limits), duration_s


def _counts(text: str, where: str, most: int) -> tuple[int, ...]:
    from perfsuite.units import parse_count

    return tuple(dict.fromkeys(parse_count(one.strip(), where, least=1, most=most) for one in text.split(",")))


def _as_json(checks: Sequence[Check], limits: Limits, troubles: Sequence[tuple[str, list[str]]]) -> bytes:
    import msgspec

    from perfsuite.selfchecks import machine

    outcome = {
        "machine": machine(),
        "limits": limits,
        "checks": checks,
        "beyond": [{"load": load, "why": texts} for load, texts in troubles],
    }
    return msgspec.json.format(msgspec.json.encode(outcome), indent=2)


def _write(folder: Path, data: bytes) -> Path:
    import time

    from perfsuite.exports.files import write_atomically

    return write_atomically(folder / f"selfcheck-{time.strftime('%Y%m%d_%H%M%S')}.json", data + b"\n")


def lines(checks: Sequence[Check], troubles: Sequence[tuple[str, list[str]]]) -> Iterator[str]:
    """The table for people, and what it means."""
    from perfsuite.reports import tables
    from perfsuite.selfchecks import place

    rows: list[tuple[str, ...]]
    rows = [("load", "ttft ± p50 / p99", "itl ± p50 / p99", "rate", "CPU ms", "stamps", "shared", "late", "waited")]
    rows += [_row(one) for one in checks]
    yield from tables.lines(rows, right=True)
    yield "errors in ms, client less truth; CPU ms per 1,000 tokens; shared: gaps whose chunks came with one read;"
    yield "late: sends more than 1 ms after their time; waited: seconds a second that the client waited for a CPU"
    weak = sum(one.truth_kernel < 1.0 for one in checks)
    if weak:
        yield f"in {weak} of {len(checks)} the truth is not all the kernel's: the errors include its own"
    for load, texts in troubles:
        yield f"BEYOND  {load}: {'; '.join(texts)}"
    yield f"{'beyond' if troubles else 'within'} the limits; kept in {place()}, for the error bars of run"


def _row(check: Check) -> tuple[str, ...]:
    return (
        str(check.load),
        _errors(check.ttft),
        _errors(check.itl),
        f"{check.rate:+.2%}",
        f"{check.cpu_ms_per_1000_tokens:.1f}",
        "kernel" if check.kernel >= 1.0 else "process" if not check.kernel else f"kernel {check.kernel:.0%}",
        f"{check.coalesced:.1%}",
        f"{check.late:.1%}",
        "–" if check.waited is None else f"{check.waited:.2f}",
    )


def _errors(one: Deviation | None) -> str:
    return "–" if one is None else f"{one.central:.3f} / {one.tail:.3f}"

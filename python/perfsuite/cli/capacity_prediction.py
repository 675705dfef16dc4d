"""``perfsuite plan --predict USERS``: what the newest measured capacity model says of so many users."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from perfsuite.analysis.capacity import Interval
    from perfsuite.analysis.capacity_prediction import Prediction
    from perfsuite.result import PhaseResult, Result


def predicted(users: str, file: str | None, folder: Path, think_s: float, *, as_json: bool) -> int:
    """Prints the prediction; UsageError where there is nothing to predict from."""
    from perfsuite.analysis.capacity_prediction import predict
    from perfsuite.cli.screen import put
    from perfsuite.errors import UsageError

    try:
        number = float(users)
    except ValueError:
        number = 0.0
    if not 1.0 <= number <= 1e9:
        raise UsageError(f"--predict: {users!r} is no number of users; write one from 1 on, such as 500")
    path, result, phase = _measured(file, folder)
    found = predict(phase, number, think_s, seed=result.run.seed)
    if found is None:
        raise UsageError(f"{path}: its capacity phase has too few levels for a model; run capacity for longer")
    if as_json:
        import msgspec

        document = {"result": str(path), "target": result.run.target, **msgspec.to_builtins(found)}
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n")
        return 0
    for line in lines(found, path, result):
        put(line)
    return 0


def _measured(file: str | None, folder: Path) -> tuple[Path, Result, PhaseResult]:
    """The result that is named, or the newest that has a capacity phase."""
    from perfsuite.errors import UsageError
    from perfsuite.result import load

    if file is not None:
        result = load(Path(file))
        phase = _capacity(result)
        if phase is None:
            raise UsageError(f"{file} has no measured capacity; make one: perfsuite run capacity --target …")
        return Path(file), result, phase
    for path in sorted(folder.glob("results-*.json"), key=lambda one: one.stat().st_mtime, reverse=True):
        try:
            result = load(path)
        except UsageError:
            continue  # none of ours, or a damaged one: another may do
        phase = _capacity(result)
        if phase is not None:
            return path, result, phase
    raise UsageError(
        f"no result in {folder} has a measured capacity; make one first: perfsuite run capacity --target …, "
        "or name a file with --result"
    )


def _capacity(result: Result) -> PhaseResult | None:
    from perfsuite.analysis.capacity_prediction import levels_of

    return next((phase for phase in result.phases if levels_of(phase)), None)


def lines(found: Prediction, path: Path, result: Result) -> Iterator[str]:
    """The prediction for people."""
    from perfsuite.reports.figures import printable
    from perfsuite.units import figure, goal, number

    thinking = f", each thinking {goal(found.think_s, 's')} between an answer and the next message" * (
        found.think_s > 0
    )
    yield f"{number(found.users)} users{thinking}, of {printable(result.run.target)} as {path} measured it"
    yield f"  in flight      about {number(found.concurrency)}; measured up to {number(found.measured_to)}"
    yield f"  throughput     {_with_interval(found.throughput, '1/s')}"
    yield f"  response time  {_with_interval(found.response_ms, 'ms')} on average"
    for one in found.latencies:
        limit = ""
        if one.limit is not None:
            limit = f", {'within' if one.value.value <= one.limit else 'beyond'} {figure(one.limit, 'ms')}"
        yield f"  {one.name}  {_with_interval(one.value, 'ms')}{limit}"
    if found.most_users is not None:
        beyond = " (beyond what was measured)" if found.most_beyond else ""
        yield f"  within the criteria: up to about {number(found.most_users)} users{beyond}"
    if found.copies_peak is not None:
        yield (
            f"  a second such system would bring at most {figure(found.copies_peak, '1/s')} in all, if the two share "
            "nothing"
        )
    if found.held_out_error is not None:
        error = figure(found.held_out_error, "ratio")
        yield f"  error of the model: {error} on average, where each level was predicted from the others"
    if found.times_beyond > 1.0:
        yield (
            f"  EXTRAPOLATED: {number(found.times_beyond)} times as many in flight as were measured; a limit that lies "
            f"between cannot be seen from here: run capacity --concurrency {number(found.concurrency)}"
        )


def _with_interval(found: Interval, unit: str) -> str:
    from perfsuite.units import figure

    return f"{figure(found.value, unit)} [{figure(found.low, unit)} to {figure(found.high, unit)}]"

"""The pytest plug-in, registered by installing the package: fixtures that measure, and criteria that tests are held to.

pytest loads this module in every run of everybody who has the package: it imports nothing but pytest, which is there
already.  What a test does not ask for costs it nothing.  The fixture ``benchmark`` is other plug-ins', and stays so.
pytest 8 and 9.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from playwright.sync_api import Page

    from perfsuite.pytest_plugin.chat import ChatTarget
    from perfsuite.pytest_plugin.limiting import Limiters
    from perfsuite.pytest_plugin.measuring import Perf, PerfAsync
    from perfsuite.pytest_plugin.memory import Footprint, LeakCheck
    from perfsuite.result import PhaseResult

BENCHMARKS = frozenset({"benchmark", "codspeed_benchmark"})
TIMING = BENCHMARKS | {"perf", "perf_async"}
"""Fixtures of tests in which a coroutine that is never awaited is a failure."""
MEASURING = TIMING | {"leak_check", "chat_target"}
MARKER = "slo(STAT_UNIT=limit, …): what the test measures is held against limits, such as p99_ms=50 (perfsuite)"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Registers the options, and the same in the ini file."""
    group = parser.getgroup("perfsuite", "perfsuite")
    group.addoption(
        "--perfsuite-target",
        metavar="TARGET",
        help="what the fixture chat_target opens, in the forms of perfsuite's --target [reference]",
    )
    group.addoption(
        "--perfsuite-undecided",
        choices=("pass", "fail"),
        help="what becomes of a test whose samples do not decide a criterion [pass, and say so]",
    )
    group.addoption(
        "--perfsuite-json",
        type=Path,
        metavar="FILE",
        help="write what the tests measured, as perfsuite's own results are: perfsuite report FILE shows it",
    )
    group.addoption(
        "--perfsuite-baseline",
        type=Path,
        metavar="FILE",
        help="hold what the tests measure against an earlier --perfsuite-json, or a --benchmark-json",
    )
    group.addoption(
        "--perfsuite-fail-on-regression",
        action="store_true",
        help="a test that became slower than in the baseline fails the run",
    )
    group.addoption(
        "--perfsuite-allow-different-host",
        action="store_true",
        help="compare with a baseline of another machine nevertheless",
    )
    parser.addini("perfsuite_target", "what the fixture chat_target opens [reference]")
    parser.addini("perfsuite_undecided", "pass or fail: a test whose samples do not decide a criterion [pass]")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker, and looks at the options before any test runs."""
    config.addinivalue_line("markers", MARKER)
    if _setting(config, "undecided") not in (None, "pass", "fail"):
        raise pytest.UsageError(f"perfsuite_undecided = {_setting(config, 'undecided')}: write pass or fail")
    if not hasattr(config, "workerinput"):  # what workers of xdist have to say goes to who started them
        _check_files(config)
        config.pluginmanager.register(Telling(config), "perfsuite-telling")


def _check_files(config: pytest.Config) -> None:
    """The files of the options, before an hour is spent on what would be in them."""
    json, baseline = config.getoption("perfsuite_json"), config.getoption("perfsuite_baseline")
    if config.getoption("perfsuite_fail_on_regression") and baseline is None:
        raise pytest.UsageError("--perfsuite-fail-on-regression needs --perfsuite-baseline FILE to compare with")
    if json is None and baseline is None:
        return
    from perfsuite.errors import UsageError
    from perfsuite.exports.places import check_file
    from perfsuite.pytest_plugin.results import read

    try:
        check_file(json, "--perfsuite-json", "pytest.json")
        if baseline is not None:
            read(baseline)
    except UsageError as error:
        wrong = str(error)
    else:
        return
    raise pytest.UsageError(wrong)


def _setting(config: pytest.Config, name: str) -> str | None:
    """An option's value, else the ini file's; None where neither says anything."""
    return config.getoption(f"perfsuite_{name}") or config.getini(f"perfsuite_{name}") or None


def undecided_fails(config: pytest.Config) -> bool:
    """Whether a criterion that the samples do not decide fails its test."""
    return _setting(config, "undecided") == "fail"


# ── fixtures ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def perf(request: pytest.FixtureRequest) -> Perf:
    """Measures: ``perf.time(f, *args)``, ``perf.stopwatch``, ``perf.histogram``; ``perf.check(p99_ms=50)``."""
    from perfsuite.pytest_plugin.measuring import Perf

    return Perf(undecided_fails=undecided_fails(request.config))


@pytest.fixture
def perf_async(perf: Perf) -> PerfAsync:
    """Measures coroutines in the test's own loop: ``await perf_async.time(f, *args)``."""
    from perfsuite.pytest_plugin.measuring import PerfAsync

    return PerfAsync(perf)


@pytest.fixture
def memory_footprint() -> Callable[[], AbstractContextManager[Footprint]]:
    """``with memory_footprint() as held: …``, then ``held.bytes`` and ``held.check("10MB")``."""
    from perfsuite.pytest_plugin.memory import footprint

    return footprint


@pytest.fixture
def leak_check(request: pytest.FixtureRequest) -> LeakCheck:
    """``leak_check(f, *args, iterations=2000)`` fails the test where repeating ``f`` leaves memory behind."""
    from perfsuite.pytest_plugin.memory import LeakCheck

    return LeakCheck(undecided_fails=undecided_fails(request.config))


@pytest.fixture
def chat_target(request: pytest.FixtureRequest) -> Iterator[ChatTarget]:
    """The chat system of ``--perfsuite-target``, open: ``chat_target.ask("…")``, or ``await chat_target.aask("…")``."""
    from perfsuite.pytest_plugin.chat import ChatTarget

    target = ChatTarget(_setting(request.config, "target"), request.config.rootpath)
    yield target
    target.close()


@pytest.fixture
def rate_limiter() -> Limiters:
    """``rate_limiter(rate, capacity)`` makes a RateLimiter; its clock stands till ``rate_limiter.advance(s)``."""
    from perfsuite.pytest_plugin.limiting import Limiters

    return Limiters()


@pytest.fixture
def realtime_page() -> Iterator[Callable[[str], Page]]:
    """``page = realtime_page(url)``: a Playwright page with the browser monitor in it, as ``window.perfsuite``."""
    from perfsuite.pytest_plugin.realtime import pages

    with pages() as opened:
        yield opened


# ── tests ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Names wrong criteria before anything is measured."""
    if item.get_closest_marker("slo") is not None:
        from perfsuite.pytest_plugin.holding import criteria_of

        criteria_of(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """Has the benchmarks of known plug-ins refuse coroutine functions, of which they would time nothing."""
    value = yield
    if fixturedef.argname in BENCHMARKS:
        from perfsuite.pytest_plugin.awaited import look_after

        look_after(value)
    return value


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """After a test that measured: nothing was left unawaited, and the criteria of its marker hold."""
    timing = not TIMING.isdisjoint(getattr(item, "fixturenames", ()))
    if not timing and item.get_closest_marker("slo") is None:
        return (yield)
    from perfsuite.pytest_plugin import holding
    from perfsuite.pytest_plugin.awaited import heard

    with heard() as unawaited:
        yield
    holding.all_awaited(item, unawaited)
    holding.within_limits(item)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test measured goes with its report, from a worker too."""
    report = yield
    if call.when == "call" and not MEASURING.isdisjoint(getattr(item, "fixturenames", ())):
        from perfsuite.pytest_plugin import recording

        recording.attach(item, report)
    return report


class Telling:
    """Where a run was started: collects what its tests measured, and tells of it at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.told: dict[str, tuple[PhaseResult, list[str]]] = {}
        self.said: list[str] = []
        self.json: Path | None = config.getoption("perfsuite_json")
        self.baseline: Path | None = config.getoption("perfsuite_baseline")
        self._started = time.time()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps what a test measured; shows the distribution with a failure."""
        if report.when == "call" and hasattr(report, "perfsuite"):
            from perfsuite.pytest_plugin import telling

            telling.keep(self, report)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Writes the file, and compares with the baseline."""
        if self.json is not None or self.baseline is not None:
            from perfsuite.pytest_plugin import telling

            telling.finish(self, session, self._started)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What no test's outcome shows."""
        if self.told or self.said:
            from perfsuite.pytest_plugin import telling

            telling.summary(self, terminalreporter)

"""The pytest plug-in, registered by installing the package: fixtures that measure, and criteria that tests are held to.

pytest loads this module in every run of everybody who has the package: it imports nothing but pytest, which is there
already.  What a test does not ask for costs it nothing.  The fixture ``benchmark`` is other plug-ins', and stays so.
pytest 8 and 9.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from perfsuite.pytest_plugin.chat import ChatTarget
    from perfsuite.pytest_plugin.limiting import Limiters
    from perfsuite.pytest_plugin.measuring import Perf, PerfAsync
    from perfsuite.pytest_plugin.memory import Footprint, LeakCheck

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
    parser.addini("perfsuite_target", "what the fixture chat_target opens [reference]")
    parser.addini("perfsuite_undecided", "pass or fail: a test whose samples do not decide a criterion [pass]")


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker, and looks at the options before any test runs."""
    config.addinivalue_line("markers", MARKER)
    if _setting(config, "undecided") not in (None, "pass", "fail"):
        raise pytest.UsageError(f"perfsuite_undecided = {_setting(config, 'undecided')}: write pass or fail")
    if not hasattr(config, "workerinput"):  # what workers of xdist have to say goes to who started them
        config.pluginmanager.register(Telling(config), "perfsuite-telling")


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
    """Collects what tests measured, and tells of it on the terminal."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.notes: dict[str, list[str]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keeps what is to be said; shows the distribution with a failure."""
        if report.when != "call" or not hasattr(report, "perfsuite"):
            return
        from perfsuite.pytest_plugin import recording

        found = recording.recorded(report)
        if found is None:
            return
        self.notes[report.nodeid] = found.notes
        if report.failed:
            recording.show(report, found, self.config.get_terminal_writer().fullwidth, self._encoding())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What no test's outcome shows."""
        notes = [f"{name}: {note}" for name, told in self.notes.items() for note in told]
        if notes:
            from perfsuite.pytest_plugin.distribution import plain, wrapped

            terminalreporter.section("perfsuite")
            for note in notes:
                for line in wrapped(plain(note, self._encoding()), self.config.get_terminal_writer().fullwidth):
                    terminalreporter.write_line(line)

    def _encoding(self) -> str:
        """The terminal's."""
        return getattr(getattr(self.config.get_terminal_writer(), "_file", None), "encoding", None) or "utf-8"

"""Files, variables and flags → a plan."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfsuite.concerned import showing
from perfsuite.configuration import configure
from perfsuite.errors import UsageError
from perfsuite.phases import documented
from perfsuite.plan import Criterion, Phase, Plan
from perfsuite.settings import BY_NAME, OF_CHAT, OF_DATABASE, OF_MEMORY, OPTIONS

FIVE = ["baseline", "cross-model", "load", "compression", "token"]
SUITE = ["latency", "throughput", "footprint"]
SERVICE = ["database", "checkpoint", "capacity"]
CHAT_LOOP = [f"chat-loop-{part}" for part in ("timings", "memory", "load", "stress", "leaks", "efficiency")]


def plan(folder: Path | None = None, environment: dict[str, str] | None = None, **flags: object) -> Plan:
    return configure(flags, folder=folder or Path("/nonexistent"), environment=environment or {})


def phase(made: Plan, name: str) -> Phase:
    return next(phase for phase in made.phases if phase.name == name)


def criteria(made: Plan, name: str, metric: str) -> list[Criterion]:
    return [criterion for criterion in phase(made, name).criteria if criterion.metric == metric]


def held(made: Plan, name: str, metric: str) -> tuple[str, str, float]:
    (criterion,) = criteria(made, name, metric)
    return criterion.stat, criterion.comparison, criterion.target


def origin(made: Plan, name: str) -> str:
    return next(setting.origin for setting in made.settings if setting.name == name)


def mistakes(folder: Path | None = None, environment: dict[str, str] | None = None, **flags: object) -> list[str]:
    with pytest.raises(UsageError) as caught:
        plan(folder, environment, **flags)
    lines = str(caught.value).splitlines()
    return lines if len(lines) == 1 else lines[1:]


def test_nothing_said_is_the_five_phases_quick() -> None:
    made = plan()
    assert [phase.name for phase in made.phases] == FIVE
    assert [phase.duration_s for phase in made.phases] == [5, 10, 20, 10, 10]
    assert sum(phase.duration_s for phase in made.phases) == 55
    assert (made.target, made.profile, made.seed, made.request_timeout_s) == ("reference", "quick", 0, 60.0)
    assert made.output == Path("test-results")
    assert {setting.origin for setting in made.settings} == {"built-in"}


def test_profiles() -> None:
    assert sum(phase.duration_s for phase in plan(profile="standard").phases) == 11 * 60
    assert [phase.duration_s / 3600 for phase in plan(profile="full").phases] == [1, 2, 4, 2, 2]
    assert [phase.duration_s for phase in plan(profile="full", duration="30").phases] == [30] * 5
    assert [phase.documented_s / 3600 for phase in plan().phases] == [1, 2, 4, 2, 2]


def test_a_profile_makes_no_phase_shorter_than_it_is_and_none_shorter_than_five_seconds(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        "".join(f'[[phases]]\nname = "p{s}"\nduration = {s}\nmetrics = ["ttft"]\n' for s in (2, 30, 3600, 7200))
    )
    assert [phase.duration_s for phase in plan(plan=str(file)).phases] == [2, 5, 5, 10]
    assert [phase.duration_s for phase in plan(plan=str(file), profile="full").phases] == [2, 30, 3600, 7200]


def test_the_memory_suite_has_its_own_target_folder_and_objectives() -> None:
    made = plan(phase="suite")
    assert (made.target, made.output) == ("memory:reference", Path("benchmark_results"))
    assert [p.name for p in plan(target="memory:fts5").phases] == SUITE
    assert held(made, "latency", "store_latency") == ("p99", "<", 50)
    assert held(made, "latency", "recall_latency") == ("p99", "<", 50)
    assert held(made, "throughput", "throughput") == ("value", ">", 100)
    assert held(made, "footprint", "memory_per_1000") == ("value", "<", 50e6)
    assert not any(one.metric == "memory_growth" for phase in made.phases for one in phase.criteria)


def test_chat_phases_keep_their_target_and_folder() -> None:
    for made in (plan(phase=["latency", "load"]), plan(phase="all"), plan()):
        assert (made.target, made.output) == ("reference", Path("test-results"))
    assert plan(phase="suite", output="elsewhere").output == Path("elsewhere")
    assert plan(phase="suite", target="memory:fts5").target == "memory:fts5"


def test_what_has_no_meaning_for_the_phases_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--workers: has no meaning for load; leave it out"):
        plan(phase="load", workers="3")
    with pytest.raises(UsageError, match="--rate: has no meaning for latency; leave it out"):
        plan(phase="latency", rate="3")
    with pytest.raises(UsageError, match="latency measure a memory system: name one with --target memory:NAME"):
        plan(phase="latency", target="http://127.0.0.1:9")
    (tmp_path / "perfsuite.toml").write_text("workers = 3\nrate = 3\n")  # of a project with both kinds
    assert plan(tmp_path, phase="load").load.rate == 3
    assert plan(tmp_path, phase="throughput").memory.workers == 3
    assert plan(tmp_path, phase="throughput", workers="4").memory.workers == 4


def test_no_workers_and_no_scale_are_mistakes() -> None:
    with pytest.raises(UsageError, match="--workers"):
        plan(phase="throughput", workers="0")
    with pytest.raises(UsageError, match="--max-scale"):
        plan(phase="footprint", max_scale="0")


def test_the_documented_targets() -> None:
    made = plan()
    assert held(made, "baseline", "memory_usage") == ("max", "<=", 14 * 2**30)
    assert held(made, "baseline", "response_time") == ("mean", "<", 1000)
    assert held(made, "load", "response_time") == ("p95", "<", 5000)
    assert held(made, "load", "error_rate") == ("value", "<", 0.01)
    assert held(made, "token", "truncation_time") == ("p99", "<", 50)
    assert all(criteria(made, name, "memory_growth") for name in FIVE)


def test_the_stronger_source_wins_and_each_value_keeps_its_origin(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(
        "[project]\nname = 'x'\n"
        "[tool.perfsuite]\nrate = 1\nseed = 1\nconcurrency = 1\nmax-requests = 1\nduration = '9s'\n"
    )
    (tmp_path / "perfsuite.toml").write_text("rate = 2\nseed = 2\nconcurrency = 2\nmax_requests = 2\n")
    (tmp_path / "plan.toml").write_text("rate = 4\nseed = 4\n")
    environment = {"PERFSUITE_RATE": "3", "PERFSUITE_SEED": "3", "PERFSUITE_CONCURRENCY": "3"}
    made = plan(tmp_path, environment, rate="5", plan=str(tmp_path / "plan.toml"))
    assert (made.load.rate, made.seed, made.load.concurrency, made.load.max_requests) == (5, 4, 3, 2)
    assert made.phases[0].duration_s == 9
    assert origin(made, "rate") == "--rate"
    assert origin(made, "seed") == str(tmp_path / "plan.toml")
    assert origin(made, "concurrency") == "PERFSUITE_CONCURRENCY"
    assert origin(made, "max_requests") == str(tmp_path / "perfsuite.toml")
    assert origin(made, "duration") == f"{tmp_path / 'pyproject.toml'} [tool.perfsuite]"
    assert origin(made, "timeout") == "built-in"


def test_every_setting_can_come_from_every_source(tmp_path: Path) -> None:
    example: dict[str, object] = {
        "output": "out",
        "verbose": "true",
        "phase": "load",
        "metrics": "ttft",
        "threshold": "ttft<1s",
        "target": "reference",
        "model": "m",
        "pid": "1",
        "quick": "true",
        "profile": "quick",
        "duration": "3s",
        "timeout": "3s",
        "request_timeout": "3s",
        "max_requests": "3",
        "max_tokens": "3",
        "prompt_tokens": "3",
        "output_tokens": "3",
        "prefix_cache": "cold",
        "compression_ratio": "0.5",
        "min_savings": "0.3",
        "max_window_size": "4096",
        "optimization_threshold": "0.8",
        "concurrency": "3",
        "rate": "3",
        "conversations": "file",
        "raw": "file",
        "junitxml": "file",
        "prometheus_file": "file",
        "otlp": "http://box:4318",
        "history": "off",
        "seed": "3",
        "arrivals": "constant",
        "users": "3",
        "pace": "3s",
        "think": "3s",
        "turns": "3",
        "find_max": "true",
        "strict": "true",
        "api_key_env": "KEY",
        "tokenizer": "file",
        "modality": "text",
        "trace": "true",
        "workers": "3",
        "samples": "3",
        "max_scale": "3",
        "dimension": "3",
        "agent_model": "planner=m",
        "url": "chat.db",
        "rows": "3",
        "queries": "file",
        "live": "127.0.0.1:8090",
        "collect": "cloud",
        "cluster": "local:2",
        "rerun_lost": "true",
    }
    usable = {option.name for option in OPTIONS} - {"plan", "json", "allow_python"}
    assert set(example) == usable
    for name, value in example.items():
        (tmp_path / "perfsuite.toml").write_text(f'{name} = "{value}"\n')
        shown = "profile" if name == "quick" else name
        where = str(tmp_path / "perfsuite.toml")
        assert origin(plan(tmp_path), shown) == where
        assert origin(plan(environment={BY_NAME[name].variable: str(value)}), shown) == BY_NAME[name].variable
        besides = {"cluster": "local:2"} if name == "rerun_lost" else {}
        made = plan(**{"phase": "all", name: value, **besides})
        assert origin(made, shown) == BY_NAME[name].flag
        built_in = name in ("target", "quick", "profile")  # the examples are what is built in
        assert built_in or replace(made, settings=()) != replace(plan(phase="all", **besides), settings=()), (
            f"{name} does nothing"
        )


def test_the_documented_troubleshooting_flags() -> None:
    made = plan(
        timeout="7200000",
        compression_ratio="0.5",
        min_savings="0.3",
        max_window_size="4096",
        optimization_threshold="0.8",
    )
    assert made.phase_timeout_s == 7200
    assert held(made, "compression", "compression_ratio") == ("value", ">", 0.5)
    assert held(made, "compression", "memory_savings") == ("value", ">", 0.3)
    assert held(made, "token", "window_optimization") == ("value", ">=", 0.8)
    assert criteria(made, "token", "window_optimization")[0].origin == "--optimization-threshold"
    assert made.tuning.max_window_size == 4096
    assert held(plan(), "compression", "memory_savings")[2] == 0.4


def test_names_choose_the_phases_in_order_and_once() -> None:
    assert [p.name for p in plan(phase=["token", "baseline", "token"]).phases] == ["token", "baseline"]
    assert [p.name for p in plan(phase="load,token").phases] == ["load", "token"]
    assert [p.name for p in plan(phase=["token", "all"]).phases] == ["token", *FIVE[:-1], *SUITE, *SERVICE, *CHAT_LOOP]
    assert [p.name for p in plan(phase="suite").phases] == SUITE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("load.error_rate<2%", ("value", "<", 0.02)),
        ("load.error_rate <= 0.05", ("value", "<=", 0.05)),
        ("error_rate=5%", ("value", "<", 0.05)),
        ("error_rate>0.5", ("value", ">", 0.5)),
        ('{"load.error_rate": "2%"}', ("value", "<", 0.02)),
        ('{"error_rate": {"value": 0.5, "comparison": "<=", "critical": false}}', ("value", "<=", 0.5)),
        ('{"error_rate": "<=3%"}', ("value", "<=", 0.03)),
        ({"load": {"error_rate": "3%"}}, ("value", "<", 0.03)),
        ({"load": {"error_rate": {"value": "3%", "required": True}}}, ("value", "<", 0.03)),
        (["error_rate<1%", "error_rate<4%"], ("value", "<", 0.04)),
    ],
)
def test_thresholds(text: object, expected: tuple[str, str, float]) -> None:
    made = plan(threshold=text)
    assert held(made, "load", "error_rate") == expected
    assert criteria(made, "load", "error_rate")[0].origin == "--threshold"
    if "load" in str(text):
        assert not criteria(made, "baseline", "error_rate")


def test_a_threshold_keeps_what_it_does_not_say() -> None:
    made = plan(threshold=["response_time=700ms"])
    assert held(made, "baseline", "response_time") == ("mean", "<", 700)
    assert held(made, "load", "response_time") == ("p95", "<", 700)


def test_an_alias_of_the_document_says_its_statistic() -> None:
    made = plan(threshold=["avgResponseTime=700"])
    assert held(made, "load", "response_time") == ("mean", "<", 700)
    assert held(plan(threshold=["maxMemoryUsage=1GiB"]), "baseline", "memory_usage") == ("max", "<=", 2**30)


def test_two_statistics_of_a_metric_stand_beside_each_other() -> None:
    made = plan(phase=["load"], threshold=["ttft.p95<500ms", "ttft.p99<1s", "response_time.p50<1s"])
    assert [(c.stat, c.target) for c in criteria(made, "load", "ttft")] == [("p95", 500), ("p99", 1000)]
    assert held(made, "load", "response_time") == ("p50", "<", 1000)
    assert "ttft" in phase(made, "load").metrics


def test_a_file_may_state_several_criteria_of_a_metric(tmp_path: Path) -> None:
    phase_of = "[[phases]]\nname = 'x'\nduration = 5\nsuccess_criteria = {{ ttft = {} }}"
    two = "[{ value = '1s', stat = 'p50' }, { value = 2000, stat = 'max', critical = false }]"
    (tmp_path / "perfsuite.toml").write_text(phase_of.format(two))
    made = criteria(plan(tmp_path, phase="x"), "x", "ttft")
    assert [(c.stat, c.target, c.critical) for c in made] == [("p50", 1000, True), ("max", 2000, False)]
    (tmp_path / "perfsuite.toml").write_text(phase_of.format("[{ value = 1 }, { value = 2 }]"))
    assert "two criteria of one statistic" in mistakes(tmp_path, phase="x")[0]


def test_what_a_built_in_phase_sets_of_the_load_gives_way() -> None:
    assert phase(plan(phase="chat-loop-load"), "chat-loop-load").settings["users"] == 10
    for asked in ({"users": "3"}, {"rate": "3"}, {"concurrency": "3"}):
        assert "users" not in phase(plan(phase="chat-loop-load", **asked), "chat-loop-load").settings


def test_a_metric_that_a_phase_shows_besides_its_own_can_be_asked_of_it() -> None:
    made = plan(threshold=["ttft<1s"])
    assert [p.name for p in made.phases if criteria(made, p.name, "ttft")] == ["baseline", "cross-model", "load"]
    assert [p.name for p in showing(list(documented().values()), "truncation_time")] == ["token"]


def test_a_threshold_in_a_file_may_be_for_a_phase_that_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "perfsuite.toml").write_text("[threshold]\ntruncation_time = 5\nload.error_rate = '2%'\n")
    assert [p.name for p in plan(tmp_path, phase="baseline").phases] == ["baseline"]
    assert held(plan(tmp_path), "token", "truncation_time") == ("p99", "<", 5)
    assert "baseline" in mistakes(phase="baseline", threshold="truncation_time<5")[0]
    assert "not in this run" in mistakes(phase="baseline", threshold="load.error_rate<5%")[0]


def test_a_threshold_for_what_its_phase_cannot_show_is_a_mistake() -> None:
    """It would never be held against anything.  What a phase shows beside its own metrics may have one."""
    (said,) = mistakes(phase="load", threshold="load.context_preservation>0.5")
    assert said.endswith("the phase load does not measure context_preservation; run baseline or compression")
    (said,) = mistakes(threshold={"token": {"response_time": 5}})
    assert "the phase token does not measure response_time" in said
    for shown in ("load.ttft.p95<1s", "load.memory_usage<1GiB", "load.error_rate<5%", "token.context_recall>0.5"):
        assert criteria(plan(threshold=shown), shown.partition(".")[0], shown.split(".")[1].split("<")[0].split(">")[0])


def test_a_phase_is_not_named_like_a_path(tmp_path: Path) -> None:
    (tmp_path / "perfsuite.toml").write_text("[[phases]]\nname = 'a/../b'\nduration = 5\nmetrics = ['ttft']\n")
    assert "'a/../b' has a / in it" in mistakes(tmp_path)[0]


def test_metrics_select_and_are_required() -> None:
    made = plan(metrics=["ttft,error_rate", "compressionRatio"])
    assert {p.name: set(p.metrics) for p in made.phases} == {
        "baseline": {"ttft", "compression_ratio"},
        "cross-model": {"ttft"},
        "load": {"ttft", "error_rate"},
        "compression": {"compression_ratio"},
    }
    assert made.metrics == ("ttft", "error_rate", "compression_ratio")
    assert all(criterion.required for p in made.phases for criterion in p.criteria)
    assert not any(criterion.required for p in plan().phases for criterion in p.criteria)


def test_the_documents_example_as_a_plan_file(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text(
        """
        [[phases]]
        name = "New Test Phase"
        duration = 3600
        metrics = ["response_time", "cache_hit_rate", "compression_ratio", "token_efficiency"]
        [phases.success_criteria]
        avgResponseTime = 1000
        compression_ratio = 0.7
        token_efficiency = { value = "90%", comparison = ">=", critical = false, required = true }
        """
    )
    made = plan(plan=str(file))
    (new,) = made.phases
    assert (new.name, new.duration_s, new.documented_s) == ("New Test Phase", 5, 3600)
    assert new.origin == str(file)
    assert held(made, new.name, "response_time") == ("mean", "<", 1000)
    assert held(made, new.name, "compression_ratio") == ("value", ">", 0.7)
    (efficiency,) = criteria(made, new.name, "token_efficiency")
    assert (efficiency.target, efficiency.critical, efficiency.required) == (0.9, False, True)
    assert held(made, new.name, "memory_growth")[2] == 1e8
    known = [*FIVE, *SUITE, *SERVICE, *CHAT_LOOP, "New Test Phase"]
    assert [p.name for p in plan(plan=str(file), phase="all").phases] == known
    assert [p.name for p in plan(plan=str(file), phase=["New Test Phase", "load"]).phases] == ["New Test Phase", "load"]


def test_a_plan_file_changes_a_documented_phase_by_name(tmp_path: Path) -> None:
    file = tmp_path / "plan.toml"
    file.write_text("[[phases]]\nname = 'load'\nconcurrency = 4\nsuccess_criteria.error_rate = '5%'\n")
    made = plan(plan=str(file))
    (load,) = made.phases
    assert load.metrics == documented()["load"].metrics
    assert load.settings == {"concurrency": 4}
    assert held(made, "load", "error_rate") == ("value", "<", 0.05)
    assert held(made, "load", "system_stability") == ("value", ">=", 0.99)
    assert held(plan(), "load", "error_rate") == ("value", "<", 0.01)


def test_all_mistakes_are_named_at_once_each_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.perfsuite]\nrat = 5\n")
    (tmp_path / "perfsuite.toml").write_text("seed = 'x'\n[[phases]]\nname = 'load'\nduration = 'soon'\n")
    found = mistakes(
        tmp_path,
        {"PERFSUITE_CONCURRENCY": "0", "PERFSUITE_FUZZ_SECONDS": "somebody else's"},
        rate="nan",
        phase=["basline"],
        metrics="tftt",
        threshold=["ttft", "ttft<5 parsecs", "nowhere.ttft<5"],
    )
    text = "\n".join(found)
    assert len(found) == 10
    for expected in [
        "unknown key 'rat' in " + str(tmp_path / "pyproject.toml") + " [tool.perfsuite]; did you mean rate",
        f"{tmp_path / 'perfsuite.toml'}: seed: 'x' is not a whole number",
        f"{tmp_path / 'perfsuite.toml'}: phases[0] (load): duration: 'soon' is not a duration",
        "PERFSUITE_CONCURRENCY: 0 is too small",
        "--rate: 'nan' is not a rate",
        "unknown phase 'basline'; did you mean baseline",
        "unknown metric 'tftt' in --metrics; did you mean ttft",
        "--threshold: 'ttft' is no threshold",
        "--threshold 'ttft<5 parsecs': '5 parsecs' has an unknown unit 'parsecs'",
        "unknown phase 'nowhere' in --threshold 'nowhere.ttft<5'",
    ]:
        assert expected in text


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"concurrency": "0"}, "at least 1"),
        ({"concurrency": "2.5"}, "whole number"),
        ({"rate": "0"}, "above 0"),
        ({"rate": "-1"}, "negative"),
        ({"rate": "inf"}, "--rate"),
        ({"rate": "1e308"}, "--rate"),
        ({"duration": "0"}, "too short"),
        ({"duration": "1e300"}, "more than a year"),
        ({"timeout": "-5"}, "negative"),
        ({"seed": "1" * 400}, "--seed"),
        ({"pid": "0"}, "at least 1"),
        ({"profile": "ful"}, "did you mean full"),
        ({"quick": True, "profile": "full"}, "contradicts"),
        ({"prefix_cache": "luke"}, "cold"),
        ({"compression_ratio": "7"}, "more than 1"),
        ({"max_window_size": "100"}, "at least 512"),
        ({"api_key_env": "sk-12345"}, "not the name of an environment variable"),
        ({"output": ""}, "not a path"),
        ({"output": "a\0b"}, "not a path"),
        ({"target": " "}, "empty"),
        ({"target": "refrence"}, "did you mean reference"),
        ({"model": ["@http://x"]}, "no model's name"),
        ({"rerun_lost": "true"}, "nothing is lost without --cluster"),
        ({"model": ["a", "a@http://x"]}, "named twice"),
        ({"phase": [""]}, "empty"),
        ({"cluster": "local:0"}, "no number of processes"),
        ({"cluster": "http://box:8786"}, "neither local:N nor a scheduler's address"),
        ({"cluster": "box"}, "neither local:N nor a scheduler's address"),
        ({"live": "127.0.0.1:65536"}, "is no HOST:PORT"),
        ({"find_max": True, "phase": ["baseline"]}, "none of the phases baseline drives a load; run load"),
        ({"find_max": True, "users": 3}, "searches by rate"),
        ({"find_max": True, "arrivals": "ramp"}, "even levels"),
        ({"users": 3, "rate": 2}, "give one of them"),
        ({"users": 3, "concurrency": 2}, "leave --concurrency out"),
        ({"think": 1, "rate": 2}, "--think is of a closed loop"),
        ({"arrivals": "even"}, "unknown spacing"),
        ({"pace": 0}, "too short"),
        ({"prompt_tokens": "12±-3"}, "prompt-tokens"),
        ({"prompt_tokens": "±3"}, "prompt-tokens"),
        ({"live": "x"}, "is no HOST:PORT"),
        ({"live": "::1:80"}, "is no HOST:PORT"),
        ({"metrics": ["truncation_time"], "phase": ["baseline"]}, "run token"),
        ({"threshold": ["error_rate<200%"]}, "more than 1"),
        ({"threshold": ["error_rate.p95<1%"]}, "has no p95"),
        ({"threshold": ["ttft.p100<1"]}, "unknown"),
        ({"threshold": ["ttft<"]}, "no threshold"),
        ({"threshold": ["<5"]}, "no threshold"),
        ({"threshold": ["ttft<nan"]}, "ttft<nan"),
        ({"threshold": ['{"ttft": NaN}']}, "finite"),
        ({"threshold": ['{"ttft": {"valeu": 1}}']}, "did you mean value"),
        ({"threshold": ["{" * 100_000]}, "JSON"),
        ({"threshold": ['{"a":' * 50_000]}, "JSON"),
        ({"threshold": [5]}, "no threshold"),
        ({"threshold": [{"ttft": {"value": 1, "critical": "perhaps"}}]}, "neither true nor false"),
        ({"threshold": ['{"ttft": {"stat": "p95"}}'], "phase": ["load"]}, "no value"),
        ({"threshold": [{"laod": {"error_rate": "2%"}}]}, "unknown phase or metric 'laod'"),
        ({"nonsense": 1}, "unknown setting"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_bad_values(flags: dict[str, object], expected: str) -> None:
    (text,) = mistakes(**flags)
    assert expected in text
    assert len(text) < 500
    if "api_key_env" in flags:
        assert "sk-12345" not in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"rate = \n", "line 1"),
        (b"rate = 1\nrate = 2\n", "not valid TOML"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a = 1\nb = '\xe9'\n", "line 2 is not UTF-8"),
        (b"\0", "not valid TOML"),
        (b"x = " + b"[" * 50_000, "perfsuite.toml"),
        (b"seed = " + b"9" * 10_000, "perfsuite.toml"),
        (b"#" * (5 << 20), "more than 4 MiB"),
        (b"phases = 5", "no list of phases"),
        (b"phases = [5]", "no table"),
        (b"[[phases]]\nduration = 5\nmetrics = ['ttft']", "phases[0].name"),
        (b"[[phases]]\nname = 5", "not text"),
        (b"[[phases]]\nname = 'a,b'\nduration = 5\nmetrics = ['ttft']", "command line"),
        (b"[[phases]]\nname = 'x'\nmetrics = ['ttft']", "no duration"),
        (b"[[phases]]\nname = 'x'\nduration = 5", "nothing to measure"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nmetrics = []", "nothing to measure"),
        (b"[[phases]]\nname = 'x'\nduration = nan\nmetrics = ['ttft']", "finite"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nmetrics = 5", "is not a name"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nmetrics = ['ttft']\nprobes = ['lod']", "did you mean load"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nsuccess_criteria = 5", "no table"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nsuccess_criteria = {ttft = [1]}", "is not a duration"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nsuccess_criteria = {ttft = 1, ttft = 2}", "not valid TOML"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nsuccess_criteria = {memory_usage = 1, maxMemoryUsage = 2}", "second"),
        (b"[[phases]]\nname = 'x'\nduration = 5\nmetrics = ['ttft']\n" * 2, "second phase"),
        (b"rate = true", "is not a rate"),
        (b"strict = 'perhaps'", "neither true nor false"),
        (b"output = 5", "not a path"),
        (b"model = [5]", "not text"),
        (b"plan = 5", "not a path"),
        (b"json = '-'", "unknown key"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_bad_files(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "perfsuite.toml").write_bytes(content)
    (text,) = mistakes(tmp_path)
    assert expected in text
    assert "perfsuite.toml" in text
    assert len(text) < 500


def test_plan_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in mistakes(plan=str(tmp_path / "none.toml"))[0]
    assert "directory" in mistakes(plan=str(tmp_path))[0]
    (tmp_path / "pyproject.toml").mkdir()
    assert "directory" in mistakes(tmp_path)[0]
    inner = tmp_path / "inner.toml"
    inner.write_text("plan = 'other.toml'\n")
    assert "unknown key 'plan'" in mistakes(plan=str(inner))[0]


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "perfsuite.toml").write_bytes(b"\xef\xbb\xbfseed = 5\n")
    assert plan(tmp_path).seed == 5


def test_pyproject_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nrat = 5\n")
    assert plan(tmp_path).seed == 0
    (tmp_path / "pyproject.toml").write_text("[tool]\nperfsuite = 5\n")
    assert "no table" in mistakes(tmp_path)[0]


def test_variables_of_others_are_left_alone_and_a_slip_is_not() -> None:
    assert plan(environment={"PERFSUITE_FUZZ_SECONDS": "5", "PERFSUITE_BUILD": "asan", "PERFSUITE_RATE": ""}).seed == 0
    assert "did you mean PERFSUITE_PROFILE" in mistakes(environment={"PERFSUITE_PROFIEL": "full"})[0]


def test_models_may_live_on_servers_of_their_own() -> None:
    a, b = plan(model=["org/a@v2", "b@http://h:1/v1"]).models
    assert (a.name, a.url, b.name, b.url) == ("org/a@v2", None, "b", "http://h:1/v1")


@settings(deadline=None)  # no wall clock in tests
@given(
    st.dictionaries(
        st.sampled_from([option.name for option in OPTIONS]),
        st.one_of(
            st.text(max_size=20),
            st.integers(),
            st.floats(),
            st.booleans(),
            st.lists(st.text(max_size=5), max_size=3),
            st.dictionaries(st.text(max_size=5), st.floats(), max_size=2),
            st.none(),
        ),
        max_size=4,
    )
)
def test_any_values_make_a_plan_or_usage_errors(flags: dict[str, object]) -> None:
    try:
        made = plan(**flags)
    except UsageError:
        return
    assert all(0 < phase.duration_s < 1e9 for phase in made.phases)


def test_what_only_one_kind_of_system_heeds_is_a_setting_and_of_one_kind() -> None:
    assert set(BY_NAME) >= OF_MEMORY
    assert set(BY_NAME) >= OF_CHAT
    assert set(BY_NAME) >= OF_DATABASE
    assert not OF_MEMORY & OF_CHAT
    assert not OF_DATABASE & OF_CHAT
    assert not (OF_DATABASE & OF_MEMORY) - {"workers"}

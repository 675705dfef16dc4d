"""The settings of a chat loop: the guide's values, the documented variables, and what is refused."""

from __future__ import annotations

import pytest

from perfsuite import ChatLoop, ChatLoopConfig, TrimPolicy, UsageError


@pytest.mark.parametrize(
    ("preset", "values", "policy"),
    [
        ("development", (20, 2.0, 1.5, True, True), TrimPolicy.development()),
        ("production", (100, 1.5, 1.2, True, False), TrimPolicy.production()),
        ("high-throughput", (50, 1.3, 1.1, True, False), TrimPolicy.high_throughput()),
    ],
)
def test_the_presets_are_the_guides(preset: str, values: tuple[object, ...], policy: TrimPolicy) -> None:
    config = ChatLoopConfig.preset(preset)
    assert values == (
        config.max_history_pairs,
        config.trim_threshold,
        config.safe_trim_level,
        config.performance_monitoring,
        config.verbose_logging,
    )
    assert config.trim_policy() == policy
    assert getattr(ChatLoopConfig, preset.replace("-", "_"))() == config
    assert ChatLoop(preset).config == config


def test_the_documented_variables() -> None:
    names = ("VERBOSE_LOGGING", "SHOW_TOKEN_USAGE", "SHOW_LLM_REASONING", "SHOW_TOOL_DETAILS")
    fields = tuple(name.lower() for name in names)
    for word, value in (("true", True), ("False", False), ("1", True), ("off", False)):
        config = ChatLoopConfig.from_environment(dict.fromkeys(names, word))
        assert [getattr(config, field) for field in fields] == [value] * 4
    assert ChatLoopConfig.from_environment({}) == ChatLoopConfig()
    assert ChatLoopConfig.from_environment({"VERBOSE_LOGGING": "true"}, verbose_logging=False) == ChatLoopConfig()
    with pytest.raises(UsageError, match=r"VERBOSE_LOGGING: 'maybe' is neither true nor false"):
        ChatLoopConfig.from_environment({"VERBOSE_LOGGING": "maybe"})


def test_a_loop_without_a_configuration_takes_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERBOSE_LOGGING", "true")
    loop = ChatLoop()
    assert loop.config.verbose_logging
    assert loop.monitor._levels[3] == 1.0
    monkeypatch.setenv("VERBOSE_LOGGING", "false")
    assert not ChatLoop().config.verbose_logging


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"max_history_pair": 3}, "did you mean max_history_pairs"),
        ({"max_history_pairs": 0}, "1 or more"),
        ({"max_history_pairs": True}, "whole number"),
        ({"trim_threshold": "1.5"}, "number above 0"),
        ({"trim_threshold": 1.1}, "must not fall"),
        ({"context_mode": "sometimes"}, "auto, on or off"),
        ({"verbose_logging": "yes"}, "True or False"),
        ({"llm_timeout_s": 0}, "number above 0"),
        ({"system_prompt": 3}, "text, or None"),
        ("prod", "unknown preset"),
        (3, "is no configuration"),
    ],
)
def test_what_makes_no_sense_is_refused(config: object, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        ChatLoop(config)  # type: ignore[arg-type]


def test_a_setting_is_checked_when_it_is_changed_and_stays_when_it_cannot_be() -> None:
    config = ChatLoopConfig.production()
    config.trim_threshold = 1.2
    with pytest.raises(UsageError, match="must not fall"):
        config.trim_threshold = 1.1
    assert config.trim_threshold == 1.2
    with pytest.raises(UsageError, match="unknown setting"):
        config.max_pairs = 3

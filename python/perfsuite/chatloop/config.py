"""How a chat loop is set up: its fields, the guide's presets, and the documented environment variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from perfsuite.errors import UsageError, shown, unknown
from perfsuite.trimming import TrimPolicy

MAX_INPUT_LENGTH = 100_000
"""Characters of a message, unless the configuration says otherwise."""

DEVELOPMENT = {
    "max_history_pairs": 20,
    "trim_threshold": 2.0,
    "safe_trim_level": 1.5,
    "performance_monitoring": True,
    "verbose_logging": True,
    "show_token_usage": True,
    "show_llm_reasoning": True,
    "show_tool_details": True,
}
PRODUCTION = {
    "max_history_pairs": 100,
    "trim_threshold": 1.5,
    "safe_trim_level": 1.2,
    "performance_monitoring": True,
    "verbose_logging": False,
    "show_token_usage": True,
    "show_llm_reasoning": False,
    "show_tool_details": False,
}
HIGH_THROUGHPUT = {
    "max_history_pairs": 50,
    "trim_threshold": 1.3,
    "safe_trim_level": 1.1,
    "performance_monitoring": True,
    "verbose_logging": False,
    "show_token_usage": False,
    "show_llm_reasoning": False,
    "show_tool_details": False,
}
PRESETS: dict[str, dict[str, Any]] = {
    "development": DEVELOPMENT,
    "production": PRODUCTION,
    "high-throughput": HIGH_THROUGHPUT,
}
"""The guide's three sets of settings, by name."""

VARIABLES = {
    "VERBOSE_LOGGING": "verbose_logging",
    "SHOW_TOKEN_USAGE": "show_token_usage",
    "SHOW_LLM_REASONING": "show_llm_reasoning",
    "SHOW_TOOL_DETAILS": "show_tool_details",
}
"""The documented environment variables, each true or false, and the fields that they set."""

_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(kw_only=True)
class ChatLoopConfig:
    """The settings of a chat loop; a field may be changed while the loop runs, and is checked when it is set.

    max_history_pairs, trim_threshold, safe_trim_level, emergency_threshold: when the history is trimmed, and down to
        what (``perfsuite.TrimPolicy``).
    performance_monitoring: whether operations are timed.  verbose_logging: debug mode, in which an operation of more
        than a second is logged with its stack, thread and memory.
    show_token_usage, show_llm_reasoning, show_tool_details: logged at INFO, by turn.
    max_input_length: characters of a message.  system_prompt: stays at the head of the history.
    context_mode: ``on`` looks up context for every message, ``off`` for none, ``auto`` leaves it out for a while when
        it took longer than context_budget_ms.  context_cache_size: messages whose context is kept; 0: none.
    llm_timeout_s, tool_timeout_s: the longest a call may take.  max_tools: calls in one answer of the model;
    max_tool_rounds: answers with calls in one turn.  max_tool_result: characters of a tool's result.
    parallel_tools: whether the calls of one answer run at the same time.
    """

    max_history_pairs: int = 100
    trim_threshold: float = 1.5
    safe_trim_level: float = 1.2
    emergency_threshold: float = 2.0
    performance_monitoring: bool = True
    verbose_logging: bool = False
    show_token_usage: bool = True
    show_llm_reasoning: bool = False
    show_tool_details: bool = False
    max_input_length: int = MAX_INPUT_LENGTH
    system_prompt: str | None = None
    context_mode: Literal["auto", "on", "off"] = "auto"
    context_cache_size: int = 1000
    context_budget_ms: float = 50.0
    llm_timeout_s: float | None = 30.0
    tool_timeout_s: float | None = 30.0
    max_tools: int = 20
    max_tool_rounds: int = 8
    max_tool_result: int = 1_000_000
    parallel_tools: bool = False

    def __setattr__(self, name: str, value: Any) -> None:
        check = _CHECKS.get(name)
        if check is None:
            raise unknown("setting", name, _CHECKS, "the chat loop's configuration")
        check(name, value)
        before = self.__dict__.get(name)
        object.__setattr__(self, name, value)
        if name in _OF_TRIMMING and all(one in self.__dict__ for one in _OF_TRIMMING):
            try:
                self.trim_policy()
            except (TypeError, ValueError) as error:
                object.__setattr__(self, name, before)
                raise UsageError(f"{name} = {shown(value)}: {error}") from error

    def trim_policy(self) -> TrimPolicy:
        """When the history is trimmed."""
        return TrimPolicy(
            max_history_pairs=self.max_history_pairs,
            trim_threshold=self.trim_threshold,
            safe_trim_level=self.safe_trim_level,
            emergency_threshold=self.emergency_threshold,
        )

    @property
    def max_safe_size(self) -> int:
        """Messages that a history may have before the thresholds: 2 × max_history_pairs + 5."""
        return self.max_history_pairs * 2 + 5

    @classmethod
    def preset(cls, name: str, **changes: Any) -> ChatLoopConfig:
        """``development``, ``production`` or ``high-throughput``, as the guide has them, with your changes."""
        if name not in PRESETS:
            raise unknown("preset", name, PRESETS)
        return cls(**{**PRESETS[name], **changes})

    @classmethod
    def development(cls, **changes: Any) -> ChatLoopConfig:
        """Trims late, keeps more of little, says everything."""
        return cls.preset("development", **changes)

    @classmethod
    def production(cls, **changes: Any) -> ChatLoopConfig:
        """The guide's standard."""
        return cls.preset("production", **changes)

    @classmethod
    def high_throughput(cls, **changes: Any) -> ChatLoopConfig:
        """Trims early, keeps less, says nothing."""
        return cls.preset("high-throughput", **changes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None, **changes: Any) -> ChatLoopConfig:
        """With what VERBOSE_LOGGING, SHOW_TOKEN_USAGE, SHOW_LLM_REASONING and SHOW_TOOL_DETAILS say [os.environ];
        ``changes`` are stronger.  Raises UsageError for one that is neither true nor false."""
        found: dict[str, Any] = {}
        given = os.environ if environment is None else environment
        for variable, name in VARIABLES.items():
            word = given.get(variable, "").strip().lower()
            if word in _TRUE or word in _FALSE:
                found[name] = word in _TRUE
            elif word:
                raise UsageError(f"{variable}: {shown(given[variable])} is neither true nor false; write true or false")
        return cls(**{**found, **changes})

    @classmethod
    def of(cls, config: ChatLoopConfig | Mapping[str, Any] | str | None) -> ChatLoopConfig:
        """A configuration as it is; settings by name; a preset's name; or, for None, what the environment says."""
        if isinstance(config, ChatLoopConfig):
            return config
        if config is None:
            return cls.from_environment()
        if isinstance(config, str):
            return cls.preset(config)
        if not isinstance(config, Mapping):
            raise UsageError(f"config: {shown(config)} is no configuration; give a ChatLoopConfig, or settings by name")
        for name in config:
            if name not in _CHECKS:
                raise unknown("setting", str(name), _CHECKS, "the chat loop's configuration")
        return cls(**config)


_OF_TRIMMING = ("max_history_pairs", "trim_threshold", "safe_trim_level", "emergency_threshold")


def _switch(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise UsageError(f"{name} = {shown(value)}: it must be True or False")


def _number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e9:
        raise UsageError(f"{name} = {shown(value)}: it must be a number above 0")


def _whole(name: str, value: object, least: int = 1) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**62:
        raise UsageError(f"{name} = {shown(value)}: it must be a whole number, {least} or more")


def _from_zero(name: str, value: object) -> None:
    _whole(name, value, 0)


def _timeout(name: str, value: object) -> None:
    if value is not None:
        _number(name, value)


def _prompt(name: str, value: object) -> None:
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} = {shown(value)}: it must be text, or None")


def _mode(name: str, value: object) -> None:
    if value not in ("auto", "on", "off"):
        raise UsageError(f"{name} = {shown(value)}: it must be auto, on or off")


_CHECKS = {
    "trim_threshold": _number,
    "safe_trim_level": _number,
    "emergency_threshold": _number,
    "performance_monitoring": _switch,
    "verbose_logging": _switch,
    "show_token_usage": _switch,
    "show_llm_reasoning": _switch,
    "show_tool_details": _switch,
    "parallel_tools": _switch,
    "system_prompt": _prompt,
    "context_mode": _mode,
    "context_cache_size": _from_zero,
    "max_tool_rounds": _from_zero,
    "context_budget_ms": _number,
    "llm_timeout_s": _timeout,
    "tool_timeout_s": _timeout,
    "max_history_pairs": _whole,
    "max_input_length": _whole,
    "max_tools": _whole,
    "max_tool_result": _whole,
}
assert set(_CHECKS) == {one.name for one in fields(ChatLoopConfig)}

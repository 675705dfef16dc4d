"""The operations of a turn, and what the guide expects of each: the one table that everything goes by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

INPUT_VALIDATION = "input_validation"
CONTENT_SANITIZATION = "content_sanitization"
CONTEXT_INJECTION = "context_injection"
LLM_INVOCATION = "llm_invocation"
TOOL_EXECUTION = "tool_execution"
TOOL_EXECUTION_PARALLEL = "tool_execution_parallel"
MEMORY_TRIMMING = "memory_trimming"
MEMORY_CLEANUP = "memory_cleanup"
COMPLETE_ITERATION = "complete_iteration"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of an operation, in ms: as a rule, for 95 of 100 runs, and for every run.

    ``memory``: what the guide says of the memory that it moves.
    """

    name: str
    title: str
    expected_ms: float
    p95_ms: float
    maximum_ms: float
    memory: Literal["minimal", "low", "medium", "varies"]


EXPECTATIONS = {
    one.name: one
    for one in (
        Expectation(INPUT_VALIDATION, "Input validation", 0.1, 0.5, 1.0, "minimal"),
        Expectation(CONTENT_SANITIZATION, "Content sanitization", 0.2, 1.0, 2.0, "minimal"),
        Expectation(CONTEXT_INJECTION, "Context injection", 5.0, 20.0, 50.0, "low"),
        Expectation(LLM_INVOCATION, "LLM invocation", 500.0, 2000.0, 5000.0, "medium"),
        Expectation(TOOL_EXECUTION, "Tool execution", 50.0, 200.0, 1000.0, "varies"),
        Expectation(TOOL_EXECUTION_PARALLEL, "Tool execution, in parallel", 50.0, 200.0, 1000.0, "varies"),
        Expectation(MEMORY_TRIMMING, "Memory trimming", 5.0, 20.0, 50.0, "medium"),
        Expectation(COMPLETE_ITERATION, "Complete iteration, less model and tools", 300.0, 1000.0, 3000.0, "low"),
    )
}
"""By name.  The guide gives one row for tools; several in parallel are to take no longer than one."""

"""perfsuite measures LLM chat and agent-memory systems."""

__version__ = "0.1.0"

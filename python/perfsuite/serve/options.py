"""What a server is asked to be."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perfsuite.errors import UsageError, shown
from perfsuite.serve.dialect import MOST_TOKENS
from perfsuite.serve.faults import NONE, Fault
from perfsuite.units import parse_duration

ENGINES = ("reference", "paced")


@dataclass(frozen=True, slots=True)
class ModelDelays:
    """A model's stated delays: from the request to the first token, and from token to token."""

    name: str
    ttft_ms: float
    token_ms: float


DEFAULT_MODELS = {
    "reference": (ModelDelays("sim-small", 20, 2), ModelDelays("sim-large", 30, 3)),
    "paced": (ModelDelays("paced", 20, 20),),
}


def parse_model(text: str) -> ModelDelays:
    """``NAME:TTFT_MS:PER_TOKEN_MS``; the name may have colons itself, as Ollama's do."""
    name, _, delays = text.rpartition(":")
    name, colon, ttft = name.rpartition(":")
    if not colon or not name or any(not character.isprintable() for character in name):
        raise UsageError(f"--model {shown(text)}: write NAME:TTFT_MS:PER_TOKEN_MS, such as small:20:2")
    where = f"--model {text}"
    return ModelDelays(
        name, parse_duration(ttft, where, bare="ms") * 1e3, parse_duration(delays, where, bare="ms") * 1e3
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """Options of a server; UsageError for what does not go together.

    ``tokens``: an answer's length where the request does not ask for less.  ``kernel_stamps``: False takes every stamp
    in the process.  ``certificate`` and ``key``: PEM files; with ``tls`` and neither, a self-signed one is made.
    """

    host: str = "127.0.0.1"
    port: int = 0
    engine: str = "reference"
    models: tuple[ModelDelays, ...] = ()
    tokens: int = 100
    tokens_per_chunk: int = 1
    seed: int = 0
    fault: Fault = NONE
    fault_probability: float = 1.0
    kernel_stamps: bool = True
    tls: bool = False
    certificate: Path | None = None
    key: Path | None = None
    certificate_out: Path | None = None

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise UsageError(f"--engine {self.engine}: choose {' or '.join(ENGINES)}")
        if not 0 <= self.port <= 65535:
            raise UsageError(f"--port {self.port}: a port is a number from 0 (any) to 65535")
        for name, value in (("--tokens", self.tokens), ("--tokens-per-chunk", self.tokens_per_chunk)):
            if not 1 <= value <= MOST_TOKENS:
                raise UsageError(f"{name} {value}: write a number from 1 to {MOST_TOKENS}")
        names = [model.name for model in self.models]
        if len(set(names)) != len(names):
            raise UsageError(f"--model: the names must differ, got {', '.join(names)}")
        if self.key is not None and self.certificate is None:
            raise UsageError("--keyfile needs --certfile: name the certificate of the key")
        if self.certificate_out is not None and not (self.tls and self.certificate is None):
            raise UsageError("--cert-out writes the certificate that --tls makes: say --tls, without --certfile")

    @property
    def served(self) -> tuple[ModelDelays, ...]:
        """The models, the default first."""
        return self.models or DEFAULT_MODELS[self.engine]

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.tls or self.certificate is not None

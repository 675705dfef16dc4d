"""The hot paths of perfsuite, in C."""

from typing import Literal, final

build: str

# ── arrivals ──────────────────────────────────────────────────────────────────────────────────────────────────────────

@final
class Arrivals:
    """When the requests of an open loop fall due: an iterator of nanoseconds from the start."""

    def __new__(
        cls,
        kind: Literal["constant", "poisson", "ramp", "step"] | str,
        rate: float,
        *,
        start_rate: float | None = None,
        duration_s: float | None = None,
        steps: int = 5,
        random: bool = False,
        seed: int = 0,
    ) -> Arrivals: ...
    def __iter__(self) -> Arrivals: ...
    def __next__(self) -> int: ...
    def take(self, n: int, /) -> list[int]: ...

"""What is known of the client's own error in a phase's loads over the wire."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from perfsuite.analysis.errorbars import bars_of, cpu_warnings, late_warning, with_error
from perfsuite.collectors.shortage import CpuWatch
from perfsuite.selfchecks import Check, Load, kept
from perfsuite.targets.base import OverWire

if TYPE_CHECKING:
    from perfsuite.result import ErrorBars, MetricResult
    from perfsuite.suites.session import Stretch
    from perfsuite.targets.base import Target


class WireError:
    """The error bars and the warnings of one phase.  Of a target that is not behind a network address, neither."""

    def __init__(self, target: Target) -> None:
        self._over: OverWire | None = target if isinstance(target, OverWire) else None
        self._kept: list[Check] = kept() if self._over is not None else []
        self._watch = CpuWatch()

    def bars(self, stretches: Iterable[Stretch]) -> tuple[list[ErrorBars], list[Check] | None]:
        """Of each load that was driven, and the checks that cover all of them; None where one is not covered, or none
        was driven."""
        bars: list[ErrorBars] = []
        checks: list[Check] = []
        for one in stretches:
            for load in self._loads(one):
                bar, check = bars_of(one.name, load, self._kept)
                bars.append(bar)
                checks += [check] if check is not None else []
        return bars, checks if bars and len(checks) == len(bars) else None

    def widened(self, metric: MetricResult, checks: Sequence[Check] | None) -> MetricResult:
        """The metric with its error, where its error is known."""
        return with_error(metric, checks) if checks else metric

    def warnings(self, stretches: Iterable[Stretch]) -> list[str]:
        """What the client met that its figures may have suffered from."""
        if self._over is None:
            return []
        found: list[str] = []
        for one in stretches:
            if one.delivered is not None:
                texts = [*one.delivered.warnings, *late_warning(one.delivered.late_sends, one.delivered.sent)]
                found += [f"{one.name}: {text}" for text in texts]
        seen = self._watch.seen()
        return found + (cpu_warnings(seen.waited, seen.stolen) if found or self._driven(stretches) else [])

    def _loads(self, one: Stretch) -> list[Load]:
        if self._over is None or one.delivered is None or not one.events.completed:
            return []
        events, delivered = one.events, one.delivered
        rate = events.chunks / delivered.duration_s if delivered.duration_s > 0.0 else 0.0
        return [
            Load(
                engine="wire" if delivered.wire else self._over.driver,
                scheme=scheme,
                streams=max(1, delivered.max_in_flight),
                tokens_per_chunk=events.tokens_per_chunk or 1.0,
                chunks_per_s=rate,
            )
            for scheme in self._over.schemes
        ]

    @staticmethod
    def _driven(stretches: Iterable[Stretch]) -> bool:
        return any(one.delivered is not None for one in stretches)

"""Where a run's figures go while it lasts, beside its files: each is told the result so far, at the end of each phase
and at least every ten seconds, away from what measures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perfsuite.errors import MissingExtra, PerfsuiteError
from perfsuite.exports.files import write_atomically
from perfsuite.values import Place

if TYPE_CHECKING:
    from perfsuite.plan import Plan
    from perfsuite.result import Result


class Outlet(Protocol):
    """Takes results.  Nothing that goes wrong is raised; ``trouble`` says what did, in a sentence, or is None."""

    @property
    def trouble(self) -> str | None: ...

    def publish(self, result: Result) -> None:
        """The result so far; returns soon."""

    def close(self, result: Result) -> None:
        """The result at its end; returns within seconds, whatever happens."""


class PrometheusFile:
    """A file of Prometheus text, replaced whole each time: node_exporter's textfile collector reads such."""

    def __init__(self, path: Path) -> None:
        """Raises MissingExtra without prometheus_client, PerfsuiteError where the file cannot be written."""
        from perfsuite.exports import prometheus

        prometheus.check()
        self._path = path
        self.trouble: str | None = None
        write_atomically(path, b"", replace=True)

    def publish(self, result: Result) -> None:
        """Writes the file."""
        from perfsuite.exports.prometheus import exposition

        try:
            write_atomically(self._path, exposition(result), replace=True)
            self.trouble = None
        except PerfsuiteError as error:
            self.trouble = f"--prometheus-file: {error}"
        except Exception as error:  # noqa: BLE001 - a run does not end because one of its readers could not be served
            self.trouble = f"--prometheus-file: {type(error).__name__}: {error}"

    close = publish


class Missing:
    """Stands for one that the environment asks for and that cannot be had: whoever set a variable for all that runs
    here did not ask this run to fail."""

    def __init__(self, trouble: str) -> None:
        self.trouble = trouble

    def publish(self, result: Result) -> None:
        """Nothing."""

    close = publish


def open_outlets(plan: Plan, environment: Mapping[str, str] | None = None) -> list[Outlet]:
    """Those that the plan names, and a collector that the variables of OpenTelemetry name.  Raises PerfsuiteError for
    one of the plan's that cannot be had."""
    outlets: list[Outlet] = []
    if plan.prometheus_file is not None:
        outlets.append(PrometheusFile(plan.prometheus_file))
    environment = os.environ if environment is None else environment
    if plan.otlp is not None:
        from perfsuite.exports.otlp import OtlpOutlet, endpoint_of

        outlets.append(OtlpOutlet(Place(endpoint_of(plan.otlp.reveal()))))
    elif any(name.startswith("OTEL_EXPORTER_OTLP_") for name in environment):
        from perfsuite.exports.otlp import OtlpOutlet, named_by

        endpoint = named_by(environment)
        try:
            outlets += [] if endpoint is None else [OtlpOutlet(endpoint)]
        except MissingExtra as error:
            outlets.append(Missing(str(error)))
    return outlets

"""Dask distributed, as far as it is needed: workers, calls and tasks on them, what they tell, and whether they live.

Dask is imported here, where a cluster is asked for, and nowhere else but in ``home``, which runs in its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from perfsuite import __version__
from perfsuite.cluster import home
from perfsuite.errors import MissingExtra, PerfsuiteError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from distributed import Client, Future

LOCAL = "local:"
CONNECT_S = 20.0
CALL_S = 60.0
"""For a call on a worker that answers, however busy its machine is."""
READY_S = 180.0
"""For a worker to open the system under test, which may have to start it."""


class SchedulerGone(PerfsuiteError):
    """The cluster's scheduler does not answer any more."""


class WorkerLost(Exception):
    """A worker is gone, and what it was at with it."""


class Engine:
    """A cluster that is open.  All methods are of one event loop."""

    def __init__(self, place: str, client: Client, cluster: Any = None) -> None:
        self.place = place
        self._client = client
        self._cluster = cluster
        self._topics: list[str] = []

    @classmethod
    async def open(cls, place: str, folder: Path) -> Engine:
        """``local:N``: processes of this machine, which end with the run.  Else a scheduler's address; with ``tls://``
        by Dask's own configuration of keys and certificates.

        Raises MissingExtra without Dask, UsageError for a place where no scheduler answers, or workers that cannot
        be used."""
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise MissingExtra("distributed", "cluster", "--cluster") from error
        for name in ("distributed", "distributed.client", "distributed.core", "distributed.comm"):
            logging.getLogger(name).setLevel(logging.CRITICAL)  # what ends is said by us, in the result
        # A part whose worker is killed is lost: driven again, later and elsewhere, it would be another load.
        settings = {"distributed.scheduler.allowed-failures": 0, "distributed.comm.timeouts.connect": f"{CONNECT_S}s"}
        cluster = None
        with dask.config.set(settings):
            try:
                if place.startswith(LOCAL):
                    cluster = await LocalCluster(
                        n_workers=int(place.removeprefix(LOCAL)),
                        threads_per_worker=1,
                        processes=True,
                        host="127.0.0.1",
                        dashboard_address=None,
                        # Without a page it listens all the same, at a port that another run may have.
                        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                        memory_limit=0,
                        local_directory=os.fspath(folder),
                        silence_logs=logging.CRITICAL,
                        asynchronous=True,
                    )
                client = await Client(
                    place if cluster is None else cluster, asynchronous=True, set_as_default=False, timeout=CONNECT_S
                )
            except (OSError, TimeoutError, RuntimeError, ValueError, TypeError) as error:
                if cluster is not None:
                    await cluster.close()
                raise UsageError(
                    f"--cluster {place}: no scheduler could be used there ({type(error).__name__}: {error}); start one "
                    "with: dask scheduler, or take local:2"
                ) from error
        engine = cls(place, client, cluster)
        try:
            await engine.check()
        except BaseException:
            await engine.close()
            raise
        return engine

    async def check(self) -> None:
        """Raises UsageError where there is no worker, or one that does not have this very version."""
        workers = await self.workers()
        if not workers:
            raise UsageError(f"--cluster {self.place}: it has no workers; start some with: dask worker ADDRESS")
        found = await self._client.run(home.about, workers=workers, on_error="return")
        wrong = [f"{worker} {trouble}" for worker, told in found.items() if (trouble := _unusable(told)) is not None]
        if wrong:
            raise UsageError(f"--cluster {self.place}: {'; '.join(wrong)}: pip install perfsuite=={__version__} there")

    async def workers(self) -> list[str]:
        """Addresses of the workers that are there, in a lasting order.  Raises SchedulerGone."""
        self._alive()
        try:
            return sorted(await asyncio.wait_for(self._client.nthreads(), CALL_S))
        except (OSError, TimeoutError, RuntimeError) as error:
            raise self._gone() from error

    async def call(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """A short function's value, on a worker's event loop: also while a task runs there.  Raises WorkerLost."""
        self._alive()
        try:
            found = await asyncio.wait_for(self._client.run(function, *arguments, workers=[worker]), CALL_S)
            return found[worker]
        except (OSError, TimeoutError, RuntimeError, KeyError, ValueError) as error:
            self._alive()
            raise WorkerLost(f"{worker} does not answer ({type(error).__name__}: {error})") from error

    def submit(self, worker: str, key: str, function: Callable[..., Any], *arguments: Any) -> Future:
        """Starts a function as a task of that worker and of no other, once."""
        self._alive()
        task: Future = self._client.submit(
            function, *arguments, key=key, workers=[worker], allow_other_workers=False, pure=False, retries=0
        )
        return task

    async def result(self, task: Future) -> Any:
        """What a task gave; raises what it raised, WorkerLost when its worker is gone, or SchedulerGone."""
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            return await task.result()
        except KilledWorker as error:
            raise WorkerLost("its worker is gone") from error
        except CancelledError as error:  # Dask's, not asyncio's
            self._alive()
            raise WorkerLost("its task was cancelled by the scheduler") from error
        except OSError as error:
            self._alive()
            raise WorkerLost(f"{type(error).__name__}: {error}") from error

    def listen(self, topic: str, hear: Callable[[str], object]) -> None:
        """``hear`` is called with each text that is told under a topic from now on."""
        self._topics.append(topic)

        def heard(event: tuple[float, Any]) -> None:
            if isinstance(event[1], str):
                hear(event[1])

        self._client.subscribe_topic(topic, heard)

    async def forget(self, topic: str) -> None:
        """What was told under a topic is not kept by the scheduler, which else remembers a hundred thousand events."""
        with contextlib.suppress(Exception):  # a scheduler may refuse: then it remembers
            await asyncio.wait_for(self._client.run_on_scheduler(_truncate, topic), CALL_S)

    async def prepare(self, workers: Sequence[str], run: str, plan: Any) -> int:
        """Has each open the system under test; how many messages they sent to find out how.  Raises PerfsuiteError
        naming the worker that cannot."""
        sent = 0
        tasks = {
            worker: self.submit(
                worker, f"perfsuite-prepare-{run}-{number}-{os.urandom(4).hex()}", home.prepare, run, plan
            )
            for number, worker in enumerate(workers)
        }
        for worker, task in tasks.items():
            try:
                sent += await asyncio.wait_for(self.result(task), READY_S)
            except SchedulerGone:
                raise
            except TimeoutError as error:
                raise PerfsuiteError(f"the worker {worker} was not ready within {READY_S:g} s") from error
            except WorkerLost as error:
                raise PerfsuiteError(f"the worker {worker} was lost before the load began: {error}") from error
            except PerfsuiteError as error:
                raise type(error)(f"on the worker {worker}: {error}") from error
        return sent

    async def close(self, run: str | None = None) -> None:
        """Ends what a run has on the workers, and the processes of ``local:N``."""
        with contextlib.suppress(Exception):  # as far as they are still there
            self._alive()
            if run is not None:
                await asyncio.wait_for(self._client.run(home.close, run, on_error="ignore"), CALL_S)
            for topic in self._topics:
                await self.forget(topic)
        with contextlib.suppress(Exception):
            await asyncio.wait_for(self._client.close(), CALL_S)
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._cluster.close(), CALL_S)

    def _alive(self) -> None:
        if self._client.status != "running":
            raise self._gone()

    def _gone(self) -> SchedulerGone:
        return SchedulerGone(f"the scheduler of --cluster {self.place} is gone: what was measured until then is kept")


def _unusable(told: object) -> str | None:
    """Why a worker cannot be used, or None."""
    if isinstance(told, BaseException):
        return f"has no perfsuite that could be used ({type(told).__name__}: {told})"
    assert isinstance(told, home.About)
    if told.perfsuite != __version__:
        return f"has perfsuite {told.perfsuite}, not {__version__}"
    return None


def _truncate(topic: str, dask_scheduler: Any) -> None:
    broker = getattr(dask_scheduler, "_broker", None)
    if broker is not None:
        broker.truncate(topic)
    else:  # before 2024.5
        dask_scheduler.events[topic].clear()

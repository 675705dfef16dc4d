"""What the targets behind an address have in common: what can be said of them without knowing what they are sent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from perfsuite.targets.base import Failure, Inspection, MetricsPage, Reply, Request
from perfsuite.targets.http.address import Address, metrics_pages
from perfsuite.targets.http.client import Client, DirectClient
from perfsuite.targets.http.counting import Counter, counter_for, reply_of, reply_of_counts
from perfsuite.targets.http.dialect import Usage, bearer
from perfsuite.targets.http.failures import UNAUTHORIZED, HttpFailure, masked
from perfsuite.targets.http.hearing import Hearing
from perfsuite.targets.http.listening import listeners
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.wired import Endpoint, own_stamps, why_not_driven, wire_stamps, wire_transport

if TYPE_CHECKING:
    from perfsuite._core import WireReply


class Behind(ABC):
    """A black box that is reached over HTTP."""

    simulated: tuple[str, ...] = ()

    def __init__(self, name: str, tokenizer: Path | None = None) -> None:
        self.name = name
        self._tokenizer = tokenizer
        self._counters: dict[str | None, Counter] = {}
        self._wants_text = tokenizer is not None
        if tokenizer is not None:
            self._counter(None)  # a file that cannot be used is told before anything is sent

    @property
    @abstractmethod
    def addresses(self) -> Sequence[Address]:
        """Where its servers are."""

    @property
    @abstractmethod
    def clients(self) -> Sequence[Client]:
        """What sends where no engine does: one for each address, as far as it is open."""

    @abstractmethod
    def endpoints(self) -> Sequence[Endpoint]:
        """What an engine in C sends to; none where no engine can."""

    def credentials(self) -> Sequence[tuple[str, str]]:
        """Headers for its servers' own pages."""
        return ()

    @property
    def inspection(self) -> Inspection | None:
        """None: nothing is known of its inside."""
        return None

    @property
    def process_ids(self) -> Sequence[int]:
        """The processes that listen on its ports, where those are this machine's."""
        return listeners(self.addresses)

    @property
    def metrics_pages(self) -> Sequence[Sequence[MetricsPage]]:
        """Where its servers may show their own metrics."""
        return metrics_pages(self.addresses, self.credentials())

    @property
    def schemes(self) -> Sequence[str]:
        """Those of its addresses."""
        return sorted({address.scheme for address in self.addresses})

    @property
    def driver(self) -> str:
        """What sends where no engine does."""
        return "asyncio" if all(isinstance(one, DirectClient) for one in self.clients) else "httpx"

    @property
    def unwired(self) -> str:
        """Why no engine in C drives it; empty where one does."""
        return why_not_driven(self.driver == "asyncio", self.schemes)

    @property
    def transport(self) -> str:
        """How it is reached, and where arrivals are stamped."""
        endpoints = self.endpoints()
        if endpoints:
            return wire_transport(endpoints)
        return "; ".join(sorted({client.transport for client in self.clients}))

    @property
    def stamps(self) -> str:
        """Where the times of its tokens come from; where no engine takes them, why."""
        endpoints = self.endpoints()
        if endpoints:
            return wire_stamps(endpoints)
        return own_stamps((client.transport for client in self.clients), self.unwired)

    @property
    def retried(self) -> int:
        """Requests sent again because a kept connection turned out to be closed."""
        return sum(client.retried for client in self.clients)

    @property
    def wants_text(self) -> bool:
        """A tokenizer is named or was found, and the service has not told what it would count."""
        return self._wants_text

    def _reply_of(self, request: Request, model: str | None, ended: WireReply, heard: Hearing | None) -> Reply:
        """An engine's answer; ``heard`` is what its body says, where that was kept."""
        told = Usage(ended.prompt_tokens, ended.completion_tokens)
        untold = told.prompt_tokens is None or told.completion_tokens is None
        self._wants_text = untold and not self._counter(model).estimates
        if heard is None:
            return reply_of_counts(told, ended.chunks, request, model, self._counter)
        return reply_of(heard, request, model, self._counter, ended.chunks)

    def _counter(self, model: str | None) -> Counter:
        if model not in self._counters:  # made once: it may read a tokenizer's file
            self._counters[model] = counter_for(model, self._tokenizer)
        return self._counters[model]


class Keyed(Behind):
    """A service of a known API: one key, and models of which each may live at an address of its own."""

    def __init__(
        self,
        name: str,
        address: Address,
        key: Secret | None,
        key_name: str,
        models: Mapping[str, Address] | None = None,
        tokenizer: Path | None = None,
    ) -> None:
        super().__init__(name, tokenizer)
        self.address = address
        self._key = key
        self._key_name = key_name
        self._models: dict[str, Address] = dict(models or {})

    @property
    def addresses(self) -> Sequence[Address]:
        """Those of its models."""
        return list(self._models.values()) or [self.address]

    @property
    def models(self) -> Sequence[str]:
        """Those that were named, else those that the service tells once it is open."""
        return tuple(self._models)

    def credentials(self) -> Sequence[tuple[str, str]]:
        """The key, which some want for their metrics too."""
        return bearer(self._key)

    def _at(self, model: str | None) -> Address:
        return self._models.get(model or "", self.address)

    def _asked(self, model: str | None) -> str | None:
        """The model that a request is for: where it names none, the first."""
        return model or next(iter(self._models), None)

    def _of(self, address: Address) -> str | None:
        """A model that lives there."""
        return next((name for name, at in self._models.items() if at == address), None)

    def _about_key(self) -> str:
        if self._key is None:
            return f"put its key in {self._key_name}, or name the variable that holds it with --api-key-env"
        return f"the key in {self._key_name} is not accepted"

    def _mask(self, failure: Failure) -> Failure:
        """As it is told: without the key; with what to do about it where the service wants another."""
        if isinstance(failure, HttpFailure) and failure.status in UNAUTHORIZED:
            failure.args = (f"{failure}; {self._about_key()}",)
        return masked(failure, () if self._key is None else (self._key,))

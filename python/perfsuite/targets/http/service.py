"""What the dialects of services have in common: a key, and a list of models."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from perfsuite.targets.http.address import Address
from perfsuite.targets.http.client import Call
from perfsuite.targets.http.dialect import JSON_HEADERS, Dialect, bearer, decoding
from perfsuite.targets.http.secret import Secret
from perfsuite.targets.http.splitting import StreamKind


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


_decode_models = decoding(_Models)


@dataclass(frozen=True, slots=True)
class Service:
    """A dialect but for ``call`` and ``reader``; what it says of itself is as most of them have it.

    ``base``: the path that its operations follow.
    """

    base: str
    key: Secret | None = None
    name: str = ""
    stream: StreamKind = "sse"
    marks_end: bool = True
    rules: tuple[tuple[str, str], ...] = ()
    finish: str | None = None

    @classmethod
    def at(cls, address: Address, key: Secret | None) -> Dialect:
        """The dialect of a service there."""
        return cls(address.versioned().path, key)  # type: ignore[return-value]  # a dialect adds the rest

    @property
    def adaptable(self) -> bool:
        """Nothing can be left out."""
        return False

    @property
    def models_path(self) -> str:
        """Where its models are listed."""
        return f"{self.base}/models"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Those of every request."""
        return (*JSON_HEADERS, *bearer(self.key))

    def models_call(self) -> Call:
        """GET of that path."""
        return Call("GET", self.models_path, self.headers(), b"", "none")

    def models(self, payload: bytes) -> list[str]:
        """The models that the service lists.  Raises WrongShape."""
        return [model.id for model in _decode_models(payload).data]

    def adapted(self, refusal: str) -> Dialect | None:
        """Nothing can be left out."""
        return None

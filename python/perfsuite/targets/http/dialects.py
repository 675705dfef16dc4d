"""The table of the dialects that chat services speak, by the prefix that names one: ``PREFIX+http://…``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from perfsuite.targets.http.address import Address
    from perfsuite.targets.http.dialect import Dialect
    from perfsuite.targets.http.secret import Secret
    from perfsuite.targets.http.service import Service


class Known(NamedTuple):
    """``where``: its class, a Service.  ``key``: the variable that holds its key, unless ``--api-key-env`` names
    another."""

    where: str
    key: str | None = None


DIALECTS = {
    "openai": Known("perfsuite.targets.http.openai_chat:OpenAIChat", "OPENAI_API_KEY"),
    "responses": Known("perfsuite.targets.http.openai_responses:OpenAIResponses", "OPENAI_API_KEY"),
    "anthropic": Known("perfsuite.targets.http.anthropic:Anthropic", "ANTHROPIC_API_KEY"),
    "ollama": Known("perfsuite.targets.http.ollama:Ollama"),
}
USUAL = "openai"
"""What a URL without a prefix speaks."""


def dialect_at(name: str, address: Address, key: Secret | None) -> Dialect:
    """The dialect of that name as a service at ``address`` takes it; imports it."""
    module, _, at = DIALECTS[name].where.partition(":")
    return cast("type[Service]", getattr(import_module(module), at)).at(address, key)

"""``perfsuite init ws://…``: a realtime service; its session tells the model."""

from __future__ import annotations

from perfsuite.cli.init import Init
from perfsuite.cli.init_file import COMMON, toml
from perfsuite.errors import UsageError


class RealtimeInit(Init):
    """Opens a session, sends one message and hears the answer."""

    async def run(self) -> tuple[str, list[str]]:
        """(the file's text, what is shown)"""
        from perfsuite.targets.http.dialects import USUAL
        from perfsuite.targets.http.target import key_for
        from perfsuite.targets.realtime.socket import needed
        from perfsuite.targets.realtime.target import SCHEME, RealtimeTarget

        needed(f"a {SCHEME} service")
        address, named = self.address, self.arguments.model
        key = key_for(USUAL, address, self.arguments.api_key_env)
        target = RealtimeTarget(address, key, {named: address} if named else None, key_name=self.arguments.api_key_env)
        await target.open()
        try:
            if not target.models:
                raise UsageError(f"{address.url} does not tell its session's model; name one with --model")
            shown = await self._ask(target, target.models[0])
            shown = shown if key is None else [key.hidden_in(line) for line in shown]
        finally:
            await target.close()
        text = "\n".join(
            [
                f"# A realtime service at {address.url}, found by perfsuite init.",
                "# Any setting of perfsuite run can stand here.",
                f"target = {toml(target.name)}",
                f"model = [{toml(target.models[0])}]",
                '# modality = "text"        # answers without sound',
                *self._key_lines(),
                *COMMON,
            ]
        )
        return text, [f"{target.name}: {SCHEME}, model: {target.models[0]}", *shown]

"""``perfsuite schema``."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace


def configure(parser: ArgumentParser) -> None:
    """No options."""


def execute(arguments: Namespace) -> int:
    """Prints the JSON Schema of the result file."""
    import json

    from perfsuite.result import schema

    print(json.dumps(schema(), indent=2))
    return 0

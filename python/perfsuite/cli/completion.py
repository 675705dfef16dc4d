"""``perfsuite completion bash|zsh|fish``: what makes a shell complete commands, flags, values, names and files."""

from __future__ import annotations

from argparse import ArgumentParser

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import Action, Namespace
    from collections.abc import Iterator

SHELLS = {
    "bash": 'eval "$(perfsuite completion bash)"   in ~/.bashrc',
    "zsh": "perfsuite completion zsh > ~/.zfunc/_perfsuite   with fpath+=~/.zfunc before compinit in ~/.zshrc",
    "fish": "perfsuite completion fish > ~/.config/fish/completions/perfsuite.fish",
}
"""Each shell, and how it gets to know."""

FILES = ("FILE", "PATH", "FILE…")
FOLDERS = ("DIR", "FOLDER")


def configure(parser: ArgumentParser) -> None:
    """The shell."""
    how = "; ".join(f"{shell}: {text}" for shell, text in SHELLS.items())
    parser.add_argument("shell", choices=tuple(SHELLS), help=how.replace("%", "%%"))
    parser.add_argument("-v", "--verbose", action="store_true", help="show tracebacks")


def execute(arguments: Namespace) -> int:
    """Prints the script."""
    from perfsuite.errors import MissingExtra

    try:
        import shtab
    except ModuleNotFoundError as error:
        raise MissingExtra("shtab", "completion", "shell completion") from error
    print(shtab.complete(everything(), arguments.shell))
    return 0


def everything() -> ArgumentParser:
    """Every command with its flags, as one parser, whose actions know what completes them."""
    from importlib import import_module

    from perfsuite.cli import COMMANDS, SHORT

    root = ArgumentParser(prog="perfsuite")
    root.add_argument("-V", "--version", action="store_true", help="print the version")
    commands = root.add_subparsers(metavar="COMMAND")
    for name, text in (COMMANDS | SHORT).items():
        parser = commands.add_parser(name, help=text.replace("%", "%%"), description=text.replace("%", "%%"))
        module = "run" if name in SHORT else name.replace("-", "_")
        import_module(f"perfsuite.cli.{module}").configure(parser)
        for action in parser._actions:
            _completed(action, module)
    return root


def _completed(action: Action, command: str) -> None:
    """Puts what completes an action where shtab looks for it."""
    import shtab

    metavar = action.metavar if isinstance(action.metavar, str) else ""
    if action.choices is not None:
        return
    if action.dest == "names" and command in ("run", "plan", "ab"):
        action.choices = tuple(_benchmarks())
    elif action.dest == "names" and command == "compare":
        from perfsuite.memory.registry import BUILT_IN

        action.choices = tuple(system.name for system in BUILT_IN)
    elif "|" in metavar and all(word.isidentifier() for word in metavar.replace("-", "_").split("|")):
        action.choices = tuple(metavar.split("|"))
    elif metavar in FILES or action.dest in ("files", "file"):
        action.complete = shtab.FILE  # type: ignore[attr-defined]
    elif metavar in FOLDERS:
        action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]


def _benchmarks() -> Iterator[str]:
    """The phases and their groups, those of other packages too; one that is broken is left out, as ``doctor`` says."""
    from perfsuite.phases import GROUPS
    from perfsuite.sources import Reading

    reading = Reading()
    reading.add_installed()
    yield from reading.known.phases
    yield from GROUPS

"""``perfsuite tokens FILE…``: where the tokens of conversations go."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from perfsuite.analysis.tokens import TokenReport


def configure(parser: ArgumentParser) -> None:
    """Files, windows, --json."""
    parser.add_argument(
        "files", nargs="+", metavar="FILE", help="conversations: messages as JSON or JSONL, or ShareGPT"
    )
    parser.add_argument(
        "-w", "--window", action="append", metavar="N", help="a context window to try, in tokens (repeatable)"
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("-v", "--verbose", action="store_true", help="show all that could not be used; tracebacks")


def execute(arguments: Namespace) -> int:
    """Counts all files together; 2 when one cannot be used, but the others are counted first."""
    from perfsuite.analysis.tokens import WINDOWS, TokenCount
    from perfsuite.cli.unusable import say_unusable
    from perfsuite.errors import Mistakes
    from perfsuite.units import parse_count
    from perfsuite.workloads.files import ConversationFile

    windows = [parse_count(text, "--window", least=1) for text in arguments.window or ()]
    counting = TokenCount(windows=tuple(dict.fromkeys(windows)) or WINDOWS)
    mistakes = Mistakes()
    for name in arguments.files:
        with mistakes.noted():
            file = ConversationFile(name)
            try:
                for recorded in file:
                    counting.add(recorded.messages)
            finally:
                say_unusable(file, everything=arguments.verbose)
    report = counting.report()
    if report.conversations:
        _print(report, as_json=arguments.json)
    mistakes.check()
    return 0


def _print(report: TokenReport, *, as_json: bool) -> None:
    if as_json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(report), indent=2).decode())
        return
    from perfsuite.cli.screen import put

    for line in lines(report):
        put(line)


def lines(report: TokenReport) -> Iterator[str]:
    """The report for people."""
    yield (
        f"conversations: {report.conversations:,}, messages: {report.messages:,}, turns: {report.turns:,}; "
        f"the longest prompt has {report.longest_prompt:,} tokens"
    )
    yield f"tokens by {report.tokenizer}"
    if not report.all_told_apart:
        yield "more different messages than are told apart: repeated ones are at least as many as shown"
    rows = list(report.rows())
    names = max(len(name) for name, _, _ in rows)
    figures = max(len(f"{tokens:,}") for _, tokens, _ in rows)
    for name, tokens, share in rows:
        yield f"  {name:<{names}}  {tokens:>{figures},}  {share:7.1%}"

"""``python -m perfsuite``, and what the command ``perfsuite`` starts."""

import sys


def start() -> int:
    """The command line's exit code.  Ctrl-C while it loads is 130 and no word; what comes before this function is
    Python's own start, which answers with a traceback of its own."""
    try:
        from perfsuite.cli import main

        return main()
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if isinstance(error.__context__, KeyboardInterrupt):  # Python 3.11 wraps it while a class is being made
            return 130
        raise


if __name__ == "__main__":
    sys.exit(start())

"""``python -m perfsuite``."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from perfsuite.cli import main
    except KeyboardInterrupt:  # Ctrl-C while it is still loading
        sys.exit(130)
    sys.exit(main())

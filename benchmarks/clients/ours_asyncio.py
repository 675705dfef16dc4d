"""perfsuite's asyncio client, which drives what the wire engine does not speak."""

import sys

sys.argv.append("asyncio")
import ours  # noqa: E402, F401  runs it

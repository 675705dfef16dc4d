"""Puts the browser monitor together: ``python python/perfsuite/realtime/parts/assemble.py`` writes monitor.js.

Pages load one file; people read one job per file.  A test holds that monitor.js is what the parts make.
"""

from __future__ import annotations

import json
from pathlib import Path

PARTS = Path(__file__).parent
ROOM = PARTS.parent
ORDER = ["analysis", "recording", "safeguards", "sockets", "responses", "audio", "reconnecting", "panel", "start"]
HEAD = """\
// perfsuite's browser monitor.  Made of parts/*.js and rules.json by parts/assemble.py: change those.
// It defines window.perfsuite: logs, analyze, clear, configure, audioChunkReceived, audioChunkProcessed, interrupted.
(() => {
"use strict";
if (/** @type {any} */ (window).perfsuite) return; // loaded before
"""
TAIL = "})();\n"


def assembled() -> str:
    """The whole of monitor.js."""
    rules = json.loads((ROOM / "rules.json").read_text(encoding="utf-8"))
    del rules["about"]
    for row in rules["thresholds"].values():
        del row["meaning"]
    written = json.dumps(rules, ensure_ascii=False, separators=(",", ":"))
    pieces = [HEAD, f"/** @type {{Rules}} */\nconst RULES = {written};\n"]
    pieces += [f"\n{(PARTS / f'{name}.js').read_text(encoding='utf-8')}" for name in ORDER]
    return "".join([*pieces, TAIL])


if __name__ == "__main__":
    (ROOM / "monitor.js").write_text(assembled(), encoding="utf-8")

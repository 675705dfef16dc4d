"""Whether this process may write where permissions say that it may not, as root does."""

from __future__ import annotations

import tempfile
from pathlib import Path


def overrides_permissions() -> bool:
    """True for root, unless the capability to do so was dropped."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        path.chmod(0o500)
        try:
            (path / "file").write_text("")
        except PermissionError:
            return False
        finally:
            path.chmod(0o700)
        return True


UNBOUND = overrides_permissions()
WHY = "this user may write anywhere; tests/isolated/test_unprivileged.py runs it without that right"

"""What targets in this process have in common, of which no more is known."""

from __future__ import annotations

import os
from collections.abc import Sequence

from perfsuite.targets.base import Inspection


class InProcess:
    """A black box that is called."""

    @property
    def inspection(self) -> Inspection | None:
        """None: nothing is known of its inside."""
        return None

    @property
    def process_ids(self) -> Sequence[int]:
        """This process."""
        return (os.getpid(),)

    @property
    def models(self) -> Sequence[str]:
        """None to choose from: it has its own."""
        return ()

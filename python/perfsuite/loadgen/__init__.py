"""Drives requests at a target: a closed loop that holds so many in flight, or an open loop that keeps to a schedule, of
a rate or of paced users."""

from __future__ import annotations

from perfsuite.loadgen.driving import drive
from perfsuite.loadgen.raw import RawWriter
from perfsuite.loadgen.recording import Here, Loads, Recording
from perfsuite.loadgen.spec import Delivered, LoadSpec
from perfsuite.loadgen.tally import OnReply, Times

__all__ = ["Delivered", "Here", "LoadSpec", "Loads", "OnReply", "RawWriter", "Recording", "Times", "drive"]

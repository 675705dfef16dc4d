"""perfsuite, by the engine that `run` drives a plain HTTP target with."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Iterator
from pathlib import Path

from report import arguments

from perfsuite._core import Events
from perfsuite.loadgen import LoadSpec, drive
from perfsuite.plan import Plan
from perfsuite.targets import make_target
from perfsuite.targets.base import Request

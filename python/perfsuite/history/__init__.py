"""What earlier runs were: baselines in files, every run in a database."""

from __future__ import annotations

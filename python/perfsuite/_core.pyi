"""The hot paths of perfsuite, in C."""

build: str

"""Pure functions from evidence to values, verdicts and advice."""

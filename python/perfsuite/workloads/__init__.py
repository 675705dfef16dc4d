"""What is said to a system: seeded and lazy, or read from files."""

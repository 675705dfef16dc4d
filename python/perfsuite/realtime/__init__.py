"""The realtime monitor of the browser: its logs, and what is said of them.  The contract: README.md in this folder."""

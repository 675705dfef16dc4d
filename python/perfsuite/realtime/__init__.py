"""The realtime monitor of the browser: its logs, and what is said of them.  README.md in this folder is the contract."""

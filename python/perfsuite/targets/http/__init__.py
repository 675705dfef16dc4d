"""Chat services over HTTP: the dialects, the client that stamps arrivals, and the targets that join the two."""

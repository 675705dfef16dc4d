"""How far a client's figures are from the truth: driven at the project's own server, held against what that knows."""

"""What a package adds to perfsuite, as small as it can be."""

"""Stand-in for a large framework."""

FEATURES = 2

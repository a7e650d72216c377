"""A run on disk: its directory, metrics, curves, and what surrounds a learner from start to end. Knows a Learner's protocol alone."""

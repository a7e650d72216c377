"""A run on disk: its directory, metrics, curves, and what surrounds a learner from start to end.

Of the Learner it knows the protocol alone.
"""

"""A run on disk: its directory, what is written into it while a learner learns, signals, and the curves drawn from it."""

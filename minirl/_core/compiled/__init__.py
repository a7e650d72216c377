"""The compiled kernels, a file per subject, each with its readable twin in `reference/`. Built by setup.py, or not there."""

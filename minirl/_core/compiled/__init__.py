"""The compiled kernels, a file per subject, each with its readable twin in `reference/`; not always there."""

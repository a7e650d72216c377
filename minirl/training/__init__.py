"""The loop: stepping environments with a policy, updating it, playing it.

Nothing here belongs to one algorithm, and nothing is written to disk.
"""

"""Networks and distributions as pure functions of a flat θ, and their derivatives.

Shapes alone live here: no parameters, no samples.
"""

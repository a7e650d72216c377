"""gymnasium's spaces as data: observations to arrays, arrays to actions, masks.

gymnasium is imported inside functions, so that acting runs without it.
"""

"""What every test file shares."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator of its own for each test: the same numbers whatever runs before it."""
    return np.random.default_rng(20170706)

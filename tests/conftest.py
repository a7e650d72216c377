"""What every test file shares."""

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator of its own for each test: the same numbers whatever runs before it."""
    return np.random.default_rng(20170706)


def pytest_report_header():
    from minirl import _core

    return (
        "minirl: compiled core"
        if _core.COMPILED
        else "minirl: no compiled core, or switched off: testing the NumPy twins"
    )

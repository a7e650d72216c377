"""[C1, C5] The matrix of hostile arrays on every kernel, see hostile.py; benches/sanitize.py adds sanitizers."""

import random

import hostile
import numpy as np
import pytest
from test_kernel_arguments import GOOD, IN_PLACE, ROLLOUT

from minirl import _core

pytestmark = pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")

STEPS = 5  # of the rollout, where the list of good calls has none
LONGER = tuple(np.zeros((STEPS, *x.shape[1:]), x.dtype) for x in ROLLOUT[7])
CALLS = {name: args for name, (args, _) in GOOD.items()}
CALLS["env_rollout"] = (*ROLLOUT[:5], np.zeros((STEPS, 1)), None, LONGER)
MANY = 10_000  # calls of each kernel in the long form


def good(name, seed=0):
    args = hostile.filled(CALLS[name], np.random.default_rng(seed))
    return (*args[:4], args[3] + 1, *args[5:]) if name == "env_reset" else args  # low and high


@pytest.mark.parametrize("name", CALLS)
def test_the_good_calls_are_good(name):
    assert hostile.check(name, hostile.guarded(hostile.separate(good(name))), name)


@pytest.mark.parametrize("name", CALLS)
def test_hostile_arrays_are_refused_or_right(name):
    accepted = refused = 0
    for call, *how in hostile.one_at_a_time(name, good(name)):
        if hostile.check(name, call, *how):
            accepted += 1
        else:
            refused += 1
    assert refused > 25 and (accepted > 5 or name in IN_PLACE)


@pytest.mark.parametrize("name", CALLS)
def test_several_hostile_arguments_at_once(name):
    rng = random.Random(0)
    for _ in range(40):
        hostile.check(name, *hostile.by_chance(name, good(name), rng), twin=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", CALLS)
def test_many_hostile_arguments_at_once(name):
    rng = random.Random(1)
    for i in range(MANY):
        hostile.check(name, *hostile.by_chance(name, good(name, i), rng), twin=False)


def test_a_touched_guard_and_a_wrong_answer_would_be_found(monkeypatch):
    """The test of the test."""
    monkeypatch.setattr(_core, "global_norm", lambda x: x.base.__setitem__(-1, 0) or 0.0)
    args = hostile.guarded(hostile.separate(good("global_norm")))
    with pytest.raises(AssertionError, match="wrote beside an array"):
        hostile.check("global_norm", args, "")
    monkeypatch.setattr(_core, "global_norm", lambda x: float(x[0] if x.flags.owndata else x[1]))
    with pytest.raises(AssertionError, match="is not"):
        hostile.check("global_norm", hostile.guarded(args), "")

    def change(x):
        x[0] = 1
        raise ValueError

    monkeypatch.setattr(_core, "global_norm", change)
    with pytest.raises(AssertionError, match="refused, but changed"):
        hostile.check("global_norm", hostile.guarded(args), "")

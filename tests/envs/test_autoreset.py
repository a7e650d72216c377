"""The three autoreset modes: what each class answers, and that gymnasium's vectors do what the table says."""

from types import SimpleNamespace

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from toy_envs import Counting, vector

from minirl.envs.autoreset import MODES, Disabled, NextStep, SameStep, autoreset_of
from minirl.errors import EnvError

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED
DONE = np.array([True, False, True])
FINAL = {"final_obs": np.array([[13.0], None, [15.0]], dtype=object)}


@pytest.mark.parametrize(("mode", "kind"), [(NEXT_STEP, NextStep), (SAME_STEP, SameStep), (DISABLED, Disabled)])
def test_a_vector_says_its_mode(mode, kind):
    assert type(autoreset_of(vector(Counting, {}, mode=mode))) is kind
    assert set(MODES) == set(AutoresetMode)
    with pytest.raises(EnvError, match="has to say one of"):
        autoreset_of(SimpleNamespace(metadata={}))


def test_where_final_observations_are():
    assert SameStep().final_observations(FINAL, DONE) == [[13.0], [15.0]]
    assert NextStep().final_observations({}, DONE) is None and Disabled().final_observations({}, DONE) is None
    with pytest.raises(EnvError, match="final_obs"):
        SameStep().final_observations({}, DONE)


def test_whose_next_step_only_resets():
    assert NextStep().reset_step(DONE) is DONE and NextStep().reset_step(~DONE & DONE) is None
    assert SameStep().reset_step(DONE) is None and Disabled().reset_step(DONE) is None


def test_who_is_reset_by_a_call():
    assert Disabled().reset_call(DONE) is DONE
    assert NextStep().reset_call(DONE) is None and SameStep().reset_call(DONE) is None


@pytest.mark.parametrize("mode", AutoresetMode)
def test_gymnasium_does_what_the_table_says(mode):
    """Two environments whose episodes end in their third and in their second step: s0 = 20, f = 13 and 12."""
    envs, autoreset = vector(Counting, {"lengths": (3,)}, {"lengths": (2,)}, mode=mode), MODES[mode]
    envs.reset(seed=0)
    envs.step(np.zeros(2, int))
    second, third = np.array([False, True]), np.array([True, False])
    obs, _, terminated, _, info = envs.step(np.zeros(2, int))
    np.testing.assert_array_equal(terminated, second)
    finals = autoreset.final_observations(info, second)
    assert (obs[1] if finals is None else finals[0]) == 12  # f
    if autoreset.reset_call(second) is not None:
        obs, _ = envs.reset(options={"reset_mask": second})
    s0 = obs[1].copy()
    obs, reward, terminated, _, _ = envs.step(np.zeros(2, int))
    np.testing.assert_array_equal(terminated, third)
    if autoreset.reset_step(second) is not None:
        assert reward[1] == 0
        s0 = obs[1]
    else:
        assert obs[1] == 21
    assert s0 == 20

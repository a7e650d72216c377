"""Policy files of earlier versions: each loads and acts as it did when it was written (golden/make.py wrote them)."""

import json
from pathlib import Path

import numpy as np
import pytest

import minirl
from minirl.deploy import policy_file
from minirl.models.distributions import NAMES

GOLDEN = Path(__file__).parent / "golden"
CASES = json.loads((GOLDEN / "expected.json").read_text())
SEED = 5  # of the sampled actions, as in make.py


def test_every_file_has_its_numbers_and_every_kind_is_there():
    assert {path.stem for path in GOLDEN.glob("*.safetensors")} == set(CASES)
    about = [policy_file.load(GOLDEN / f"{name}.safetensors")[1] for name in CASES]
    assert {a["format"] for a in about} == {1} and {a["dtype"] for a in about} == {"float32", "float64"}
    assert {a["family"] for a in about} >= {name for names in NAMES.values() for name in names}
    assert {a["obs"]["kind"] for a in about} == {"box", "discrete", "multi_binary", "multi_discrete", "tuple", "dict"}


@pytest.mark.parametrize("name", list(CASES))
def test_bug_24_a_file_of_format_1_acts_as_it_did(name):
    """φ to rounding, which differs between processors; choices exactly, since no rounding is near to change one."""
    case, agent = CASES[name], minirl.load(GOLDEN / f"{name}.safetensors")
    batch, mask = agent.obs_codec.stack(case["obs"]), None if case["mask"] is None else np.array(case["mask"])
    np.testing.assert_allclose(agent.phi(batch), case["phi"], rtol=1e-5, atol=1e-6)
    greedy, sampled = agent.act_batch(batch, mask=mask), agent.act_batch(batch, np.random.default_rng(SEED), mask)
    for got, want in ((greedy, case["greedy"]), (sampled, case["sampled"])):
        assert str(got.dtype) == case["action"]
        if got.dtype.kind == "f":
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(got, want)
    for i, obs in enumerate(case["obs"]):
        one = agent.act(obs, mask=None if mask is None else mask[i])
        np.testing.assert_allclose(one, greedy[i], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", list(CASES))
def test_bug_24_a_file_of_format_1_that_is_saved_again_is_the_same_policy(name, tmp_path):
    case, agent = CASES[name], minirl.load(GOLDEN / f"{name}.safetensors")
    minirl.save(agent, tmp_path / "again", "golden")
    again, about = policy_file.load(tmp_path / "again")
    assert about["format"] == policy_file.FORMAT and again.obs_codec == agent.obs_codec and again.masked == agent.masked
    batch, mask = agent.obs_codec.stack(case["obs"]), None if case["mask"] is None else np.array(case["mask"])
    for rng in (None, SEED):
        pair = [a.act_batch(batch, None if rng is None else np.random.default_rng(rng), mask) for a in (agent, again)]
        np.testing.assert_array_equal(*pair)
    np.testing.assert_array_equal(agent.phi(batch), again.phi(batch))

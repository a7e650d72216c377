"""Random Fourier features: what they approximate, and policies on top of them from training to the file."""

import gymnasium
import numpy as np
import pytest

import minirl
from minirl.deploy import policy_file
from minirl.envs.make import make_envs
from minirl.errors import FileError
from minirl.files import safetensors
from minirl.models.fourier_features import RandomFeatures

SMALL = {"num_envs": 2, "num_steps": 32, "total_timesteps": 192, "minibatch_size": 32}


@pytest.mark.parametrize("width", [0.5, 1.0, 2.0])
def test_products_of_features_are_a_radial_basis(width, rng):
    """2/M Σ sin(…) sin(…) → exp(−‖x − y‖²/2ν²) with ν = width √(2D), at 3σ of the draw of M features."""
    dim, num = 3, 200_000
    x = rng.standard_normal((5, dim))
    made = RandomFeatures.draw(rng, dim, num, width)(x)
    products = 2 * made[:, None] * made[None]
    distance = ((x[:, None] - x[None]) ** 2).sum(axis=2)
    expected = np.exp(-distance / (2 * width**2 * 2 * dim))
    error = np.abs(products.mean(axis=2) - expected) / (products.std(axis=2) / np.sqrt(num))
    assert error.max() < 4  # 25 comparisons


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_features_are_the_sines_of_projections(dtype, rng):
    features = RandomFeatures.draw(rng, 4, 9, 1.0)
    x = rng.standard_normal((7, 4)).astype(dtype)
    y = features(x)
    assert y.dtype == dtype and y.shape == (7, 9) and (np.abs(features.phase) <= np.pi).all()
    np.testing.assert_allclose(
        y, np.sin(x @ features.weight + features.phase), atol=1e-14 if dtype == np.float64 else 2e-6
    )


@pytest.mark.parametrize("algorithm", ["reinforce", "npg", "trpo", "ppo"])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_every_method_learns_on_features_and_its_policy_is_saved_with_them(algorithm, env, tmp_path):
    result = minirl.train(algorithm, env, rbf=20, hidden=(), run=tmp_path / "run", **SMALL)
    loaded = minirl.load(tmp_path / "run")
    space = gymnasium.make(env).observation_space
    obs = np.stack([space.sample() for _ in range(9)])
    assert np.array_equal(loaded.phi(obs), result.policy.phi(obs)) and len(loaded.features.phase) == 20
    assert loaded.policy.mlp.sizes == (20, {"CartPole-v1": 2, "Pendulum-v1": 1}[env])  # linear in the features
    x = loaded.normalizer(obs.astype(np.float32))
    linear = np.sin(x @ loaded.features.weight + loaded.features.phase)
    weight, bias = loaded.theta[: 20 * loaded.policy.mlp.sizes[1]], loaded.theta[20 * loaded.policy.mlp.sizes[1] :]
    k = loaded.policy.mlp.sizes[1]
    np.testing.assert_allclose(loaded.phi(obs)[:, :k], linear @ weight.reshape(20, k) + bias[:k], atol=1e-5)


def test_features_are_drawn_from_the_seed_alone_and_stay():
    """Another method, another number of environments: the same features; another seed: others.

    Training leaves them as they are.
    """
    one = minirl.train("ppo", rbf=8, **SMALL).policy.features
    two = minirl.train("npg", rbf=8, **SMALL | {"num_envs": 3}).policy.features
    other = minirl.train("ppo", rbf=8, seed=1, **SMALL).policy.features
    assert np.array_equal(one.weight, two.weight) and np.array_equal(one.phase, two.phase)
    assert not np.array_equal(one.weight, other.weight)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.pop("rbf_phase"),
        lambda a: a.update(rbf_phase=a["rbf_phase"][:-1]),
        lambda a: a.update(rbf_weight=a["rbf_weight"][:-1]),
        lambda a: a.update(rbf_phase=np.zeros(0), rbf_weight=np.zeros((4, 0))),
        lambda a: a.update(rbf_phase=a["rbf_phase"][None]),
        lambda a: a.update(rbf_weight=a["rbf_weight"] + 1e300),
    ],
    ids=["no phase", "a phase short", "a row short", "none", "two dimensions", "too large"],
)
def test_a_file_whose_features_do_not_fit_is_refused(change, tmp_path):
    policy_file.save(tmp_path / "p", minirl.train("ppo", rbf=8, **SMALL).policy, "ppo", "CartPole-v1")
    arrays, metadata = safetensors.read(tmp_path / "p", any_value=policy_file.BOUNDS)
    change(arrays)
    safetensors.write(tmp_path / "p", arrays, {"minirl": metadata["minirl"]}, any_value=policy_file.BOUNDS)
    with pytest.raises(FileError, match="holds no minirl policy"):
        minirl.load(tmp_path / "p")


def test_a_snapshot_holds_the_features():
    one, other = (
        minirl.learn("ppo", make_envs("CartPole-v1", 2), minirl.configure("ppo", seed=s, rbf=8, **SMALL))
        for s in (0, 1)
    )
    one.step()
    other.restore(one.snapshot())
    obs = np.ones((3, 4), np.float32)
    np.testing.assert_array_equal(one.policy.phi(obs), other.policy.phi(obs))

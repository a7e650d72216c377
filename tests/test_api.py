"""`import minirl`: what it costs, what it offers, and that it is the same as the command line."""

import copy
import json
import pickle
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from processes import PATIENCE, cli, environment, python

import minirl
from minirl.algorithms.npg import NPGConfig
from minirl.algorithms.ppo import PPOConfig
from minirl.algorithms.trpo import TRPOConfig
from minirl.deploy import policy_file
from minirl.errors import ConfigError, EnvError, FileError, NonFiniteError, SpaceError

SMALL = {"num_envs": 2, "num_steps": 64, "hidden": (8,), "total_timesteps": 1000}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A Result with a run directory."""
    return minirl.train("trpo", "Pendulum-v1", run=tmp_path_factory.mktemp("api") / "run", seed=3, **SMALL)


def test_importing_is_quick_and_brings_nothing_heavy(tmp_path):
    """Beside NumPy and gymnasium, which it cannot do without, in turn, by the processor's time: others may be busy."""
    heavy = ("torch", "scipy", "matplotlib", "tyro", "rich", "tensorboardX", "pandas", "mujoco")

    def seconds(imports):
        code = f"""
import sys, time
t = time.process_time()
{imports}
print(time.process_time() - t, *[m for m in {heavy!r} if m in sys.modules])"""
        printed = python("-c", code, cwd=tmp_path, OMP_NUM_THREADS="1").stdout.split()
        assert len(printed) == 1, printed
        return float(printed[0])

    pairs = [(seconds("import numpy, gymnasium.vector"), seconds("import minirl; minirl.train")) for _ in range(3)]
    theirs, ours = (min(column) for column in zip(*pairs, strict=True))
    assert ours < 3 * theirs


def test_importing_deploy_needs_numpy_alone(tmp_path):
    code = "import sys, minirl.deploy; print(*sorted({m.split('.')[0] for m in sys.modules} - sys.stdlib_module_names))"
    tops = python("-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}", cwd=tmp_path).stdout.split()
    # compiled modules bring a cython_runtime
    assert [top for top in tops if "cython" not in top] == ["__main__", "minirl", "numpy"]


def test_names_are_found_when_they_are_used():
    assert set(minirl.__all__) <= set(dir(minirl)) and minirl.__version__.count(".") == 2
    for name in minirl.__all__:
        assert getattr(minirl, name)
    with pytest.raises(AttributeError, match="module 'minirl' has no attribute 'trian'"):
        _ = minirl.trian


def test_training_without_a_run_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = minirl.train("ppo", **SMALL)
    assert result.run is None and not list(tmp_path.iterdir())
    assert [update.number for update in result.history] == list(range(1, 9)) and result.history[-1].global_step == 1024
    assert result.policy.act(np.zeros(4, np.float32)) in (0, 1)


def test_writing_a_run_changes_nothing_in_it(trained):
    """[DET-05] The same policy comes out whether it was recorded or not."""
    again = minirl.train("trpo", "Pendulum-v1", seed=3, **SMALL)
    assert np.array_equal(again.policy.theta, trained.policy.theta)


def test_a_run_by_api_and_by_command_line_is_the_same(trained, tmp_path):
    flags = [f"--{name.replace('_', '-')}={value[0] if name == 'hidden' else value}" for name, value in SMALL.items()]
    done = cli("train", "trpo", "--env=Pendulum-v1", "--seed=3", "--run=run", "--eval-episodes=0", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    if "twins" not in done.stdout:  # bits may depend on BLAS threads, which the command line sets to one
        assert np.allclose(minirl.load(tmp_path / "run").theta, trained.policy.theta, rtol=1e-4, atol=1e-5)
    config = [json.loads((run / "config.json").read_text())["config"] for run in (trained.run, tmp_path / "run")]
    assert config[0] == config[1]


def test_norm_01_a_loaded_policy_acts_as_the_one_in_memory(trained, rng):
    loaded = minirl.load(trained.run)
    obs = rng.standard_normal((50, 3)).astype(np.float32)
    assert np.array_equal(loaded.phi(obs), trained.policy.phi(obs)) and loaded.normalizer.moments.count == 1024
    assert np.array_equal(loaded.act_batch(obs), minirl.deploy.load(trained.run / "policy.safetensors").act_batch(obs))
    draws = [policy.act(obs[0], np.random.default_rng(5)) for policy in (loaded, trained.policy)]
    assert np.array_equal(*draws)
    plays = [
        minirl.evaluate(p, "Pendulum-v1", episodes=2, stochastic=True, seed=4).returns for p in (loaded, trained.policy)
    ]
    assert np.array_equal(*plays) and np.array_equal(plays[0], minirl.evaluate(trained.run, None, 2, True, 4).returns)


def test_a_policy_acts_where_only_numpy_is_installed(trained, tmp_path):
    code = f"""
import sys
sys.modules["gymnasium"] = None
import numpy as np, minirl
policy = minirl.deploy.load({str(trained.run)!r})
obs = np.array([0.5, -0.5, 1], np.float32)
print(policy.act(obs), policy.act(obs, np.random.default_rng(0)))"""
    obs = np.array([0.5, -0.5, 1], np.float32)
    expected = f"{trained.policy.act(obs)} {trained.policy.act(obs, np.random.default_rng(0))}\n"
    assert python("-c", code, cwd=tmp_path).stdout == expected


@pytest.mark.parametrize("algorithm", ["npg", "ppo"])
@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_kind_of_policy_is_saved_and_loaded(algorithm, env, dtype, tmp_path):
    if env == "FrozenLake-v1":
        pytest.importorskip("pygame")
    small = SMALL | {"total_timesteps": 100, "num_steps": 16, "activation": "relu"}
    result = minirl.train(algorithm, env, dtype=dtype, normalize_obs=dtype == "float64", **small)
    policy_file.save(tmp_path / "a", result.policy, algorithm, env)
    loaded = minirl.load(tmp_path / "a")
    space = gymnasium.make(env).observation_space
    obs = np.stack([space.sample() for _ in range(9)])
    assert loaded.theta.dtype == dtype and np.array_equal(loaded.phi(obs), result.policy.phi(obs))
    assert (
        np.array_equal(loaded.act_batch(obs), result.policy.act_batch(obs))
        and loaded.act_batch(obs).dtype == result.policy.act_batch(obs).dtype
    )


def test_unbounded_actions_keep_their_bounds(tmp_path, rng):
    from minirl.deploy.agent import Agent
    from minirl.spaces.actions import BoxAction
    from minirl.spaces.observations import DiscreteObs

    codec = BoxAction((2, 1), "float64", low=np.array([[-np.inf], [-0.1]]), high=np.array([[np.inf], [0.1]]))
    agent = Agent(DiscreteObs(5, start=-3), codec, rng.standard_normal(5 * 4 + 4 + 4 * 2 + 2 + 2), (4,), "tanh")
    policy_file.save(tmp_path / "a", agent, "none", "none")
    loaded = minirl.load(tmp_path / "a")
    assert np.array_equal(loaded.action_codec.low, codec.low) and np.array_equal(loaded.action_codec.high, codec.high)
    assert np.array_equal(loaded.act(-3), agent.act(-3)) and loaded.normalizer is None


def test_learning_can_be_stopped_and_gone_on_with():
    envs = gymnasium.make_vec("CartPole-v1", 2)
    config = TRPOConfig(**SMALL)
    learner = minirl.learn("trpo", envs, config)
    for update in learner:
        if update.number == 3:
            break
    rest = [u.number for u in learner]
    assert rest == list(range(4, 4 + len(rest))) and learner.global_step >= 1000 and learner.policy.theta.shape == (58,)
    assert (
        next(iter(minirl.learn("ppo", gymnasium.make_vec("CartPole-v1", 3)))).global_step <= 3 * PPOConfig().num_steps
    )
    for algorithm, wrong in (("trpo", PPOConfig()), ("trpo", NPGConfig()), ("ppo", {"lr": 1})):
        with pytest.raises(ConfigError, match=f"{algorithm} takes a "):
            minirl.learn(algorithm, envs, wrong)


def test_a_callback_sees_each_update_and_can_stop(tmp_path):
    seen = []
    result = minirl.train(
        "ppo", run=tmp_path / "run", callback=lambda u: seen.append(u.number) or u.global_step >= 300, **SMALL
    )
    assert seen == [1, 2, 3] == [u.number for u in result.history]
    assert np.array_equal(minirl.load(tmp_path / "run").theta, result.policy.theta)


def test_what_a_callback_or_environment_raises_comes_through_with_everything_saved(tmp_path):
    def stop(update):
        if update.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minirl.train("ppo", run=tmp_path / "run", callback=stop, **SMALL)
    assert minirl.load(tmp_path / "run") and (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 2


def test_training_works_outside_the_main_thread(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(minirl.train, "npg", run=tmp_path / "run", **SMALL).result(timeout=PATIENCE)
    assert result.run == tmp_path / "run" and len(result.history) == 8


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="trpo has no field 'dleta': did you mean delta"):
        minirl.train("trpo", dleta=0.1)
    with pytest.raises(ConfigError, match="trpo has no field 'xyz': it takes env, env_kwargs, seed, "):
        minirl.train("trpo", xyz=0.1)
    with pytest.raises(ConfigError, match="algorithm 'sac': takes one of "):
        minirl.train("sac")
    with pytest.raises(EnvError, match="is not known to gymnasium"):
        minirl.train("ppo", "CartPol-v1")
    with pytest.raises(ConfigError, match=r"delta = -1: takes a number > 0"):
        minirl.train("trpo", delta=-1)
    with pytest.raises(FileError, match="nowhere cannot be read"):
        minirl.load("nowhere")


def test_mistakes_in_evaluating_are_named(trained):
    with pytest.raises(ConfigError, match="name it"):
        minirl.evaluate(trained.policy)
    with pytest.raises(ConfigError, match="episodes = 0"):
        minirl.evaluate(trained.run, episodes=0)
    with pytest.raises(ConfigError, match="seed = -1"):
        minirl.evaluate(trained.run, seed=-1)
    with pytest.raises(SpaceError, match=r"its observations are box \(4,\), the policy was trained for box \(3,\)"):
        minirl.evaluate(trained.run, "CartPole-v1")


def test_nothing_is_printed(capfd):
    minirl.train("ppo", **SMALL)
    assert capfd.readouterr() == ("", "")


def test_python_m_is_the_command(tmp_path):
    one = subprocess.run([sys.executable, "-m", "minirl", "list"], cwd=tmp_path, env=environment(), capture_output=True)
    other = python("-c", "import sys; from minirl.cli import main; sys.exit(main(['list']))", cwd=tmp_path)
    assert one.stdout.decode() == other.stdout != ""


def test_learn_says_what_does_not_fit_and_its_policy_can_be_saved(tmp_path):
    envs = gymnasium.make_vec("CartPole-v1", num_envs=3)
    with pytest.raises(ConfigError, match="num_envs = 8: the vector environment has 3"):
        minirl.learn("ppo", envs, minirl.configure("ppo", num_envs=8))
    with pytest.raises(EnvError, match="vector environment"):
        minirl.learn("ppo", gymnasium.make("CartPole-v1"))
    learner = minirl.learn("ppo", envs, minirl.configure("ppo", num_envs=np.int64(3), num_steps=16))
    next(learner)
    minirl.save(learner.policy, tmp_path / "policy.safetensors", "CartPole-v1", "ppo")
    loaded, obs = minirl.load(tmp_path / "policy.safetensors"), np.random.default_rng(0).standard_normal((9, 4))
    np.testing.assert_array_equal(loaded.phi(obs), learner.policy.phi(obs))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_policy_does_not_act_on_what_is_no_number(trained, bad):
    obs = np.zeros((3, 3), np.float32)
    obs[1, 2] = bad
    with pytest.raises(NonFiniteError, match=r"obs is not finite, env=1: entry 2"):
        trained.policy.act_batch(obs)


def test_a_policy_can_be_copied_and_sent_to_other_processes(trained):
    obs = np.array([0.5, -0.5, 1], np.float32)
    for sent in (pickle.loads(pickle.dumps(trained.policy)), copy.deepcopy(trained.policy)):
        draws = [policy.act(obs, np.random.default_rng(1)) for policy in (sent, trained.policy)]
        assert np.array_equal(*draws) and sent.theta is not trained.policy.theta

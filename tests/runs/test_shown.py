"""What a prompt or notebook shows: one line for each object, a curve, progress, warnings; what an interrupt leaves."""

import html
import re
import signal
import sys
import warnings
import xml.etree.ElementTree as xml

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from processes import python
from toy_envs import Counting, vector

import minirl
from minirl.training.evaluation import Evaluation
from minirl.training.learner import Update
from minirl.training.notebook_curve import POINTS, thin

SMALL = {"num_envs": 2, "num_steps": 8, "hidden": (4,), "total_timesteps": 64, "minibatch_size": 8}
LONG = "x" * 300


class Wide(Counting):
    """An observation space with a long description."""

    def __init__(self):
        super().__init__()
        self.observation_space = spaces.Dict({f"part_{i}": spaces.Discrete(2) for i in range(60)})

    def _observe(self):
        return {f"part_{i}": 1 for i in range(60)}


Wide.__name__ = "Wide" * 40


@pytest.fixture(scope="module")
def result():
    return minirl.train("trpo", Counting, **SMALL)


# ------------------------------------------------------------------------------------------------------------- one line


def test_use_07_every_object_is_one_short_line(result, tmp_path):
    learner = minirl.learn("ppo", vector(Wide, {}), minirl.configure("ppo", num_steps=8, hidden=(3,) * 30))
    update = next(learner)
    run = minirl.train("ppo", Wide, run=tmp_path / LONG[:200] / "end", **SMALL)
    shown = [
        result,
        result.policy,
        result.history[0],
        minirl.evaluate(result),
        learner,
        learner.policy,
        update,
        run,
        run.policy,
    ]
    shown += [
        Update(1, 10**12, {"x": 1.0}, np.full(3, -1e-200), np.ones(3)),
        Evaluation(np.full(10**4, -1.23456789e100), np.ones(10**4), 7),
    ]
    shown += [Update(2, 16, {}, np.array([]), np.array([]))]
    for each in shown:
        text = repr(each)
        assert len(text) <= 120 and "\n" not in text and text.startswith(f"{type(each).__name__}("), text
        assert str(each) == text


def test_use_07_the_line_says_what_counts(result, tmp_path):
    """Counting has episodes of three rewards of 1: each return is 3."""
    assert repr(result) == "Result(trpo on Counting: 4 updates, 64 steps, return 3)"
    assert repr(result.history[0]) == "Update(1: 16 steps, return 3 of 4 episodes)"
    assert repr(result.policy) == "Agent(box (1,) -> discrete 2, 4 tanh, 18 parameters, observations standardised)"
    assert repr(minirl.evaluate(result, episodes=5)) == "Evaluation(return 3 ± 0, length 3, 5 episodes)"
    learner = minirl.learn(
        "ppo", gymnasium.make_vec("CartPole-v1", 3), minirl.configure("ppo", num_steps=8, total_timesteps=90)
    )
    next(learner)
    assert repr(learner) == "Learner(ppo on 3 x CartPole-v1: 1 update, 24 of 90 steps)"
    run = minirl.train("ppo", Counting, run=tmp_path / LONG[:150] / "end", **SMALL)
    assert repr(run).endswith("x/end)") and "run …x" in repr(run)  # the end of a path tells runs apart


# --------------------------------------------------------------------------------------------------------------- curves


def drawing(text):
    """The curve in a notebook's HTML: its points, and the texts around it."""
    svg = xml.fromstring(re.search(r"<svg.*</svg>", text, re.S)[0])
    (line,) = svg.iter("{http://www.w3.org/2000/svg}polyline")
    points = [tuple(map(float, pair.split(","))) for pair in line.get("points").split()]
    size = float(svg.get("width")), float(svg.get("height"))
    return points, [each.text for each in svg.iter("{http://www.w3.org/2000/svg}text")], size


def test_use_07_a_notebook_shows_the_curve():
    """Returns of 1, 2, 3, 4 in this order: a line that rises to the right, within the picture."""
    lengths = [1] * 16 + [2] * 8 + [3] * 6 + [4] * 4
    result = minirl.train("ppo", Counting, env_kwargs={"lengths": lengths}, **SMALL | {"num_envs": 1, "num_steps": 16})
    points, texts, (width, height) = drawing(result._repr_html_())
    xs, ys = zip(*points, strict=True)
    assert len(points) == 4 and list(xs) == sorted(set(xs)) and list(ys) == sorted(set(ys), reverse=True)
    assert all(0 <= x <= width and 0 <= y <= height for x, y in points)
    means = [float(update.returns.mean()) for update in result.history]
    share = [(y - ys[0]) / (ys[-1] - ys[0]) for y in ys]
    assert np.allclose(share, [(m - means[0]) / (means[-1] - means[0]) for m in means], atol=0.01)
    assert texts[:3] == [f"{max(means):.5g}", f"{min(means):.5g}", "64 steps"]
    assert html.escape(repr(result)) in result._repr_html_()


def test_use_07_a_learner_shows_its_curve_too_and_forgets_what_was_taken_back():
    learner = minirl.learn(
        "ppo", vector(Counting, {"lengths": (20,)}), minirl.configure("ppo", num_steps=10, minibatch_size=10)
    )
    assert "<svg" not in learner._repr_html_()
    for _ in range(4):
        next(learner)
    assert len(drawing(learner._repr_html_())[0]) == 2  # an episode ends in every other update
    kept = learner.snapshot()
    for _ in range(4):
        next(learner)
    assert [step for step, _ in learner.curve] == [20, 40, 60, 80]
    learner.restore(kept)
    assert [step for step, _ in learner.curve] == [20, 40]


@pytest.mark.parametrize(
    "returns",
    [[], [np.nan], [0.0], [5.0] * 9, [-1e300, 1e300], np.arange(5000.0), [1e-9, 2e-9]],
    ids=lambda r: f"{len(r)}",
)
def test_use_07_any_curve_can_be_drawn(returns, result):
    history = [Update(i + 1, 10 * (i + 1), {}, np.array([value]), np.ones(1)) for i, value in enumerate(returns)]
    text = type(result)(result.policy, history, None, "<b>&", result.config)._repr_html_()
    assert "<b>" not in text and len(text) < 20_000
    if np.isfinite(returns).any():
        points, _, (width, height) = drawing(text)
        assert len(points) <= POINTS and all(0 <= x <= width and 0 <= y <= height for x, y in points)
    else:
        assert "<svg" not in text


def test_use_07_a_thinned_curve_keeps_the_mean():
    points = [(float(i), float(i % 7)) for i in range(10 * POINTS)]
    thinned = np.array(thin(points))
    assert thinned.shape == (POINTS, 2) and np.allclose(thinned.mean(axis=0), np.mean(points, axis=0))
    assert thin(points[:5]) == points[:5]


# ------------------------------------------------------------------------------------------------------------- progress


def test_use_07_progress_is_what_the_command_line_shows(capsys):
    minirl.train("ppo", Counting, **SMALL)
    assert capsys.readouterr() == ("", "")
    minirl.train("ppo", Counting, progress=True, **SMALL)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(" 25%  step 16/64  return 3.0") and lines[-1].startswith("100%  step 64/64")


def test_use_07_progress_needs_no_rich(capsys, monkeypatch):
    monkeypatch.setattr("minirl.cli.live.is_terminal", lambda: True)
    for name in [name for name in sys.modules if name == "rich" or name.startswith("rich.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    minirl.train("ppo", Counting, progress=True, **SMALL)
    assert capsys.readouterr().out.splitlines()[-1].startswith("100%  step 64/64")


# ----------------------------------------------------------------------------------------------------------- interrupts


def interrupt(update):
    if update.number == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("algorithm", ["reinforce", "npg", "trpo", "ppo"])
def test_use_07_an_interrupt_leaves_policy_and_history(algorithm):
    with pytest.warns(UserWarning, match="interrupted after 32 steps: this is the Result so far") as caught:
        result = minirl.train(algorithm, Counting, callback=interrupt, **SMALL)
    assert (
        result.interrupted and [update.number for update in result.history] == [1, 2] and "interrupted" in repr(result)
    )
    assert caught[0].filename == __file__
    whole = minirl.train(algorithm, Counting, callback=lambda update: update.number == 2, **SMALL)
    assert not whole.interrupted and np.array_equal(result.policy.theta, whole.policy.theta)


def test_use_07_an_interrupt_in_the_middle_of_a_rollout():
    """Ctrl-C comes from outside, while an environment steps."""

    class Pressed(Counting):
        def step(self, action):
            if self.steps == 20:
                signal.raise_signal(signal.SIGINT)
            return super().step(action)

    with pytest.warns(UserWarning, match="interrupted after 32 steps"):
        result = minirl.train("ppo", Pressed, check_env=False, **SMALL)
    assert len(result.history) == 2 and result.policy.act(np.zeros(1)) in (0, 1)


def test_use_07_before_the_first_update_there_is_nothing_to_give_back():
    class Pressed(Counting):
        def step(self, action):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        minirl.train("ppo", Pressed, check_env=False, **SMALL)


def test_use_07_with_a_run_directory_everything_is_in_it(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        minirl.train("ppo", Counting, run=tmp_path / "run", callback=interrupt, **SMALL)
    whole = minirl.train("ppo", Counting, callback=lambda update: update.number == 2, **SMALL)
    assert np.array_equal(minirl.load(tmp_path / "run").theta, whole.policy.theta)
    assert (tmp_path / "run" / "metrics.jsonl").read_text().count("\n") == 2


# --------------------------------------------------------------------------------------------------------------- images


class Seen(Counting):
    """A Counting with observations of zeros in any space."""

    def __init__(self, space):
        super().__init__()
        self.observation_space = space
        self.zero = space.sample()

    def _observe(self):
        return self.zero


IMAGES = {
    "bytes": spaces.Box(0, 255, (40, 30, 3), np.uint8),
    "floats": spaces.Box(0, 1, (40, 30, 3), np.float32),
    "grey": spaces.Box(0, 255, (60, 60), np.uint8),
    "in a dict": spaces.Dict(
        {"camera": spaces.Box(0, 255, (40, 30, 3), np.uint8), "speed": spaces.Box(-1, 1, (1,), np.float32)}
    ),
    "in a tuple in a dict": spaces.Dict(
        {"a": spaces.Tuple((spaces.Discrete(2), spaces.Box(0, 255, (40, 30, 3), np.uint8)))}
    ),
}
NO_IMAGES = {
    "a long vector": spaces.Box(0, 255, (3600,), np.uint8),
    "a board": spaces.Box(0, 1, (19, 19), np.int8),
    "a small grid": spaces.Box(0, 255, (7, 7, 3), np.uint8),
    "many choices": spaces.MultiDiscrete([[2] * 40] * 40),
}


@pytest.mark.parametrize("case", IMAGES)
@pytest.mark.parametrize("call", ["train", "learn"])
def test_use_08_images_are_said_to_be_flattened(case, call):
    space = IMAGES[case]
    inputs = int(spaces.flatdim(space))
    with pytest.warns(UserWarning, match="there is no convolution here") as caught:
        if call == "train":
            minirl.train("reinforce", Seen, env_kwargs={"space": space}, **SMALL | {"total_timesteps": 1})
        else:
            minirl.learn("reinforce", vector(Seen, {"space": space}), minirl.configure("reinforce", hidden=(4,)))
    parameters = inputs * 4 + 4 + 4 * 2 + 2
    assert (
        f"flattened to {inputs} inputs, {parameters:,} parameters" in str(caught[0].message)
        and caught[0].filename == __file__
    )


@pytest.mark.parametrize("case", NO_IMAGES)
def test_use_08_nothing_is_said_of_what_is_no_image(case):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        minirl.learn("reinforce", vector(Seen, {"space": NO_IMAGES[case]}), minirl.configure("reinforce", hidden=(4,)))


def test_bug_26_the_final_evaluation_of_the_command_line_is_one_sentence(tmp_path, monkeypatch, capsys):
    from minirl.cli import main

    class Wall(Counting):
        """The 12th same action in a row raises: random play of 8 steps does not meet that, a greedy policy does."""

        same, last = 0, None

        def _observe(self):
            return np.zeros(1)

        def step(self, action):
            self.same, self.last = (self.same + 1 if action == self.last else 1), action
            if self.same == 12:
                raise RuntimeError("stuck at\nthe wall")
            return super().step(action)

    spec = EnvSpec("minirl-test/Wall-v0", Wall, kwargs={"lengths": (40,)}, disable_env_checker=True)
    monkeypatch.setitem(gymnasium.registry, spec.id, spec)
    monkeypatch.chdir(tmp_path)
    flags = ["--total-timesteps", "16", "--num-envs", "2", "--num-steps", "8", "--hidden", "4", "--run", "run"]
    assert main(["train", "ppo", "--env", spec.id, *flags]) == 1
    out, err = capsys.readouterr()
    sentences = [line for line in err.splitlines() if "twins" not in line]
    said = f"--env = '{spec.id}', episode 1, step 12: step() raised RuntimeError: stuck at the wall"
    assert sentences[0].startswith(f"minirl: the evaluation ended early: {said}") and len(sentences) == 1
    assert "saved in run" in out and minirl.load("run")


def test_importing_costs_no_help(tmp_path):
    """The comments beside the fields are read when somebody asks for help: not on import."""
    code = "import inspect, minirl; inspect.getsource = None; minirl.train; import minirl.algorithms; print('fine')"
    assert python("-c", code, cwd=tmp_path).stdout == "fine\n"

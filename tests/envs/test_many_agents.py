"""Parallel environments with several agents: order, deaths, masks, names, and what breaks the contract."""

import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from toy_parallel import Mortal

from minirl.envs.make_many_agents import make_many_agents
from minirl.errors import EnvError, MinirlError

MPE = ("mpe2/simple_spread_v3", "mpe2/simple_speaker_listener_v4", "mpe2/simple_tag_v3")


def random_actions(envs, rng):
    """One for each agent and copy, whoever is alive."""
    found = {}
    for name, space in envs.action_spaces.items():
        space.seed(int(rng.integers(1 << 30)))
        found[name] = np.array([space.sample() for _ in range(envs.num_envs)])
    return found


def history(envs, steps, seeds):
    """All that a learner sees of some steps."""
    rng, seen = np.random.default_rng(1), [envs.reset(seeds), envs.alive, envs.masks]
    for _ in range(steps):
        seen.append(envs.step(random_actions(envs, rng)))
    return seen


def same(a, b):
    """Equal to the bit, types and keys too."""
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        a, b = list(a.values()), list(b.values())
    if isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
        return
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("env", MPE)
def test_mpe2s_environments_give_what_they_give_alone(env):
    """Each copy is the environment itself, played by hand with the same seeds and actions."""
    module = pytest.importorskip(env.replace("/", "."))
    envs, alone, rng = make_many_agents(env, 2), [module.parallel_env() for _ in range(2)], np.random.default_rng(0)
    assert list(envs.agents) == sorted(alone[0].possible_agents)
    obs, theirs = envs.reset([3, 4]), [one.reset(seed=3 + b)[0] for b, one in enumerate(alone)]
    for t in range(1, 60):
        for name in envs.agents:
            np.testing.assert_array_equal(obs[name], np.stack([each[name] for each in theirs]))
        actions = random_actions(envs, rng)
        step = envs.step(actions)
        for b, one in enumerate(alone):
            theirs[b], reward, *_ = one.step({name: int(actions[name][b]) for name in envs.agents})
            assert step.reward[b].tolist() == [reward[name] for name in envs.agents]
            for name in envs.agents:
                np.testing.assert_array_equal(step.led_to[name][b], theirs[b][name])
            if t % 25 == 0:
                theirs[b] = one.reset()[0]
        assert (step.truncated == (t % 25 == 0)).all() and not step.terminated.any() and step.alive.all()
        assert not step.masks
        obs = step.obs
    envs.close()


@pytest.mark.parametrize("options", [{}, {"masks": True}, {"masks": True, "nested": True}], ids=len)
def test_ma_04_the_order_of_the_dicts_does_not_matter(options):
    orders = iter([np.random.default_rng(5), np.random.default_rng(6)])
    ordered = history(make_many_agents(Mortal, 2, **options), 17, [0, 1])
    same(ordered, history(make_many_agents(lambda: Mortal(next(orders), **options), 2), 17, [0, 1]))

    class Reversed(Mortal):
        possible_agents = tuple(reversed(Mortal.possible_agents))

    same(ordered, history(make_many_agents(Reversed, 2, **options), 17, [0, 1]))


def test_ma_02_agents_that_die_before_the_others():
    """a after 2 steps, b after 4, c is cut after 5; then a new game starts in the same step."""
    envs = make_many_agents(Mortal, 1)
    first = envs.reset([0])
    assert envs.agents == ("a", "b", "c") and envs.alive.all()
    steps = [envs.step({"a": np.array([1]), "b": np.ones((1, 2), np.float32), "c": np.array([2])}) for _ in range(6)]
    assert [s.alive[0].tolist() for s in steps[:5]] == [[1, 1, 1], [0, 1, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1]]
    assert [s.terminated[0].tolist() for s in steps[:5]] == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0], [0, 0, 0]]
    assert [s.truncated[0].tolist() for s in steps[:5]] == [[0, 0, 0]] * 4 + [[0, 0, 1]]
    assert [s.reward[0].tolist() for s in steps[:5]] == [[1, 3, 4], [1, 3, 4], [0, 3, 4], [0, 3, 4], [0, 0, 4]]
    start = first["a"][0, 0]
    assert steps[1].led_to["a"].tolist() == [[20 + start] * 2] and not steps[1].obs["a"].any()  # it saw where it died
    assert not steps[2].led_to["a"].any() and not steps[2].obs["a"].any()
    assert steps[4].led_to["c"][0, 0] == np.float32(52 + start)
    assert 0 < steps[4].obs["a"][0, 0] < 1 and steps[4].obs["a"][0, 0] != start  # another game
    assert steps[5].alive.all()


def test_ma_02_the_dead_are_not_asked():
    env = Mortal()
    envs = make_many_agents(env, 1)
    envs.reset([0])
    for t in range(5):
        envs.step({"c": np.array([0]), "b": np.zeros((1, 2))} | ({"a": np.array([3])} if t < 2 else {}))
    assert [list(each) for each in env.played] == [["a", "b", "c"]] * 2 + [["b", "c"]] * 2 + [["c"]]
    assert all(type(each["c"]) is int for each in env.played)


def test_what_was_handed_out_is_not_written_to_again():
    envs = make_many_agents(Mortal, 2)
    seen = history(envs, 3, [0, 1])
    kept = [{name: x.copy() for name, x in seen[0].items()}, *(s.led_to["a"].copy() for s in seen[3:])]
    for _ in range(7):
        envs.step(random_actions(envs, np.random.default_rng(0)))
    same(seen[0], kept[0])
    same([s.led_to["a"] for s in seen[3:]], kept[1:])


@pytest.mark.parametrize("nested", [False, True])
def test_masks_from_infos_or_from_the_observation(nested):
    envs = make_many_agents(Mortal, 1, masks=True, nested=nested)
    obs = envs.reset([0])
    assert obs["a"].shape == (1, 2) and isinstance(envs.observation_spaces["a"], spaces.Box)
    assert envs.masks["c"].tolist() == [[True, False, True, False]]
    steps = [envs.step({name: np.array([0]) for name in "abc"}) for _ in range(2)]
    assert steps[0].masks["a"].tolist() == [[True, True, False, False]]
    assert steps[1].masks["c"].tolist() == [[False, False, True, False]]
    assert steps[1].masks["a"].all()  # it is dead: nothing is forbidden
    assert envs.masks is steps[1].masks


def broken(**parts):
    """Mortal with methods or attributes of another kind."""
    return type("Broken", (Mortal,), parts)


def after(change, when=2):
    """Mortal whose `when`-th step returns what `change` makes of (self, parts)."""

    def step(self, actions):
        parts = Mortal.step(self, actions)
        if self.t < when:
            return parts
        changed = change(self, [dict(part) for part in parts])
        return parts if changed is None else changed

    return broken(step=step)


def without(which, agent="b"):
    def change(_, parts):
        del parts[which][agent]
        return tuple(parts)

    return change


def other(which, value, agent="b"):
    return lambda _, parts: tuple(part | {agent: value} if i == which else part for i, part in enumerate(parts))


def came_back(self, parts):
    if self.t == 3:
        self.agents = [*self.agents, "a"]


def joined(self, parts):
    self.agents = [*self.agents, "z"]


def left(self, parts):
    self.agents = ["c"]


def shown_again(self, parts):
    if self.t >= 3:
        for part, new in zip(parts, (np.zeros(2), 0.0, False, False, {}), strict=True):
            part["a"] = new
    return tuple(parts)


class Gym(gymnasium.Env):
    observation_space = spaces.Box(-1, 1, (1,))
    action_space = spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        return np.zeros(1), {}


class TakesTurns:
    def agent_iter(self):
        pass


FAULTS = {
    "reset() has to return (observations, infos)": broken(reset=lambda self, seed=None: [0, 1]),
    "its observations are a ndarray": broken(reset=lambda self, seed=None: (np.zeros(2), {})),
    "not 4 values": after(lambda _, parts: tuple(parts[:4])),
    "agent 'b' is missing in the observations": after(without(0)),
    "agent 'b' is missing in the rewards": after(without(1)),
    "agent 'b' is missing in the terminations": after(without(2)),
    "agent 'b' is missing in the truncations": after(without(3)),
    "agent 'b': obs has shape (2,), its observation_space says (3,)": after(other(0, np.zeros(2))),
    "agent 'b': obs has to be numbers": after(other(0, "seen")),
    "the reward of agent 'b' has to be a finite number, it is nan": after(other(1, float("nan"))),
    "it is inf": after(other(1, np.inf)),
    "it is 'much'": after(other(1, "much")),
    "terminations of agent 'b' has to be True or False": after(other(2, "no")),
    "agent 'a' comes (back) in the middle": after(came_back),
    "agent 'a' comes (back)": after(shown_again),
    "agent 'z' is none of possible_agents": after(joined),
    "agent 'b' has left `agents`, and is neither": after(left),
    "reset() leaves no agents": broken(reset=lambda self, seed=None: (setattr(self, "agents", []), ({}, {}))[1]),
    "it has no `agents`": broken(reset=lambda self, seed=None: ({}, {})),
    "agent 'a' is missing in the observations": broken(
        reset=lambda self, seed=None: (Mortal.reset(self, seed), ({"b": np.zeros(3)}, {}))[1]
    ),
    "without possible_agents": type("Bare", (), {"reset": 0, "step": 0, "observation_space": 0, "action_space": 0}),
    "possible_agents has to be a list of different names": broken(possible_agents=[]),
    "possible_agents has to be a list of different names, it is [1": broken(possible_agents=[1, 2]),
    "the observation_space of agent 'a' is a Text": broken(observation_space=lambda self, agent: spaces.Text(3)),
    "the action_space of agent 'a' is a Dict": broken(action_space=lambda self, agent: spaces.Dict({})),
    "its agents and spaces cannot be read: TypeError": broken(observation_space={}),
    "agents take turns": TakesTurns,
    "a gymnasium environment for one agent": Gym,
    "gives the same object each time": (lambda one: lambda: one)(Mortal()),
    "cannot be made: ValueError: no": (lambda: (_ for _ in ()).throw(ValueError("no"))),
    "takes package/name": 3,
    "env is one Mortal, and num_envs = 2 needs copies": Mortal(),
}


@pytest.mark.parametrize("said", FAULTS)
def test_what_breaks_the_contract_is_one_sentence(said):
    with pytest.raises(EnvError) as why:
        history(make_many_agents(FAULTS[said], 2), 6, [0, 1])
    assert said in str(why.value) and "\n" not in str(why.value)
    if isinstance(FAULTS[said], type) and issubclass(FAULTS[said], Mortal) and "step" in vars(FAULTS[said]):
        assert str(why.value).startswith("env=0, step=")


def too_long(self, names):
    return {name: {"action_mask": np.ones(5)} for name in names}


MASK_FAULTS = {
    "agent 'b' has no action_mask after step()": lambda self, names: {
        n: {"action_mask": self.mask(n)} if not self.t or n != "b" else {} for n in names
    },
    "agent 'b' has an action_mask after step()": lambda self, names: {
        n: {"action_mask": self.mask(n)} if self.t or n != "b" else {} for n in names
    },
    "agent 'a': its action_mask allows no action": lambda self, names: {n: {"action_mask": np.zeros(4)} for n in names},
    "agent 'a': info['action_mask'] has to be 4 numbers": too_long,
}


@pytest.mark.parametrize("said", MASK_FAULTS)
def test_a_mask_that_cannot_be_read(said):
    with pytest.raises(EnvError) as why:
        history(make_many_agents(broken(infos=MASK_FAULTS[said]), 2, masks=True), 3, [0, 1])
    assert said in str(why.value)


def test_an_environments_own_error_comes_through_with_its_place():
    def fall(self, parts):
        raise KeyError("own")

    with pytest.raises(KeyError) as why:
        history(make_many_agents(after(fall), 2), 6, [0, 1])
    assert "environment: env=0, step=2" in why.value.__notes__


def test_who_ended_may_stay_listed():
    """PettingZoo's own tutorials leave agents in the list when the game is over."""

    def step(self, actions):
        before = self.agents
        parts = Mortal.step(self, {name: actions.get(name, 0) for name in before})
        self.agents = list(Mortal.possible_agents)
        return tuple({k: v for k, v in part.items()} for part in parts)

    envs = make_many_agents(broken(step=step), 1)
    seen = history(envs, 5, [0])
    assert seen[-1].truncated[0].tolist() == [False, False, True] and seen[-1].alive.all()


def test_actions_that_do_not_fit():
    envs = make_many_agents(Mortal, 2)
    with pytest.raises(EnvError, match=r"step\(\) before reset\(\)"):
        envs.step({})
    envs.reset([0, 1])
    with pytest.raises(EnvError, match="actions without agent 'a'"):
        envs.step({"b": np.zeros((2, 2)), "c": np.zeros(2, int)})
    with pytest.raises(EnvError, match=r"actions of agent 'b' have shape \(2,\): takes \(2, 2\)"):
        envs.step({"a": np.zeros(2, int), "b": np.zeros(2), "c": np.zeros(2, int)})
    with pytest.raises(EnvError, match="1 seeds: takes 2"):
        envs.reset([0])


@pytest.mark.parametrize("num_envs", [0, -1, True, 1.5, "2"])
def test_a_number_of_copies_that_is_none(num_envs):
    with pytest.raises(EnvError, match="num_envs = "):
        make_many_agents(Mortal, num_envs)


def test_an_object_is_played_and_handed_back():
    closed = []
    env = Mortal()
    env.close = lambda: closed.append(1)
    history(make_many_agents(env, 1), 3, [0])
    make_many_agents(env, 1).close()
    assert not closed
    with pytest.raises(EnvError, match="env_kwargs"):
        make_many_agents(env, 1, masks=True)


def test_what_was_made_is_closed_when_a_later_one_cannot_be():
    closed, made = [], []

    def make():
        if made:
            raise ValueError("only one")
        made.append(Mortal())
        made[0].close = lambda: closed.append(1)
        return made[0]

    with pytest.raises(EnvError, match="only one"):
        make_many_agents(make, 2)
    assert closed == [1]


def test_names():
    assert make_many_agents("toy_parallel:Mortal", 1).agents == ("a", "b", "c")
    for env, said in {
        "toy_parallel:Nobody": "has no Nobody",
        "no_such_module:Env": "cannot be imported: ModuleNotFoundError",
        "CartPole-v1": "no environment with several agents",
        "minirl/Spread": "minirl/SimpleSpread-v0 is native",
        "mpe2/../x": "no environment with several agents",
    }.items():
        with pytest.raises(EnvError, match=said):
            make_many_agents(env, 1)


def test_names_of_packages():
    module = pytest.importorskip("mpe2.simple_spread_v3")
    for env in (module, module.parallel_env):
        assert make_many_agents(env, 1, N=2).agents == ("agent_0", "agent_1")
    assert make_many_agents("mpe2.simple_spread_v3:parallel_env", 1).num_envs == 1
    with pytest.raises(EnvError, match="did you mean mpe2/simple_spread_v3"):
        make_many_agents("mpe2/simple_spred_v3", 1)
    with pytest.raises(EnvError, match="not parallel"):
        make_many_agents("pettingzoo/tictactoe_v3", 1)
    with pytest.raises(EnvError, match="agents take turns"):
        make_many_agents(module.env, 1)
    with pytest.raises(EnvError, match="unexpected keyword argument"):
        make_many_agents("mpe2/simple_spread_v3", 1, M=2)


def test_a_missing_package_is_one_sentence_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mpe2", None)
    with pytest.raises(MinirlError, match=r'needs mpe2, which is not installed: pip install "minirl\[marl\]"') as why:
        make_many_agents("mpe2/simple_spread_v3", 1)
    assert why.value.exit_code == 2


def test_a_real_environment_in_which_agents_die():
    pytest.importorskip("pettingzoo.butterfly.knights_archers_zombies_v11")
    envs = make_many_agents("pettingzoo/knights_archers_zombies_v11", 1, max_cycles=600)
    seen = history(envs, 600, [0])
    alive = np.array([step.alive[0] for step in seen[3:]])
    assert (alive.any(1) & ~alive.all(1)).any(), "nobody died before the others"
    for step in seen[3:]:
        for i, name in enumerate(envs.agents):
            assert step.alive[0, i] or not step.obs[name].any()

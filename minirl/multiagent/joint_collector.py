"""Stepping a parallel environment with a policy per group of agents: a rollout for each group, of the same steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from minirl import _core
from minirl.config import Config
from minirl.envs.many_agents import ManyAgents, Step
from minirl.envs.resumable import Resumable
from minirl.errors import EnvError, MinirlError, NonFiniteError
from minirl.files.tree import check_like
from minirl.multiagent.groups import Group
from minirl.numerics import random_streams
from minirl.numerics.arrays import Array
from minirl.samples.rollout import Rollout
from minirl.training.action_noise import ActionNoise
from minirl.training.observation_reader import ObservationReader

Actor = Any  # (obs (N, ·), noise, mask) -> actions (N, …)


@dataclass(slots=True)
class JointState:
    """All that changes while rollouts are collected, but for the environments."""

    noises: list[ActionNoise]  # of each group
    obs: list[Array]  # of each group (n·B, ·), what is acted on next
    alive: Array  # (B, N) bool: who acts next
    masks: dict[str, Array]  # id -> (B, K) of the next step; empty where everything is always allowed
    episode_return: Array  # (B, N) of the unfinished games
    episode_length: Array  # (B,)
    steps_taken: int = 0
    fresh_start: bool = False  # as in training/collector_state.py

    def tree(self) -> dict[str, Any]:
        """All of it as a tree of arrays and JSON scalars, copied."""
        return {
            "noises": [noise.tree() for noise in self.noises],
            "obs": [x.copy() for x in self.obs],
            "alive": self.alive.copy(),
            "masks": {name: mask.copy() for name, mask in self.masks.items()},
            "episode_return": self.episode_return.copy(),
            "episode_length": self.episode_length.copy(),
            "steps_taken": self.steps_taken,
            "fresh_start": self.fresh_start,
        }

    def check(self, tree: dict[str, Any]) -> None:
        """ValueError for what cannot be a state of this collector."""
        for noise, each in zip(self.noises, tree["noises"], strict=True):
            noise.check(each)
        if tree["envs"] is not None:
            mine = {"alive": self.alive, "episode_return": self.episode_return, "episode_length": self.episode_length}
            check_like({name: tree[name] for name in mine}, mine, "collector")
            for own, obs in zip(self.obs, tree["obs"], strict=True):
                check_like(obs, own, "collector.obs")
            check_like(tree["steps_taken"], 0, "collector.steps_taken")
            if not isinstance(tree["fresh_start"], bool):
                raise ValueError(f"collector.fresh_start has to be true or false, it is {tree['fresh_start']!r}")

    def take(self, tree: dict[str, Any]) -> None:
        """Back to a tree, which is copied, but for the noises."""
        self.obs, self.alive = [x.copy() for x in tree["obs"]], tree["alive"].copy()
        self.masks = {name: mask.copy() for name, mask in tree["masks"].items()}
        self.episode_return, self.episode_length = tree["episode_return"].copy(), tree["episode_length"].copy()
        self.steps_taken, self.fresh_start = tree["steps_taken"], tree["fresh_start"]


class JointCollector:
    """Steps `envs` with a policy for each group. `central`: each agent's own observation is followed by all of them.

    with_actions: and behind these the actions of all agents as indicators, for a critic Q(s, a).
    """

    def __init__(
        self, envs: ManyAgents, groups: list[Group], config: Config, seeds: list[Any], central: bool, with_actions: bool
    ):
        self.envs, self.groups, self.config, self.num_steps = envs, groups, config, config.num_steps
        self.central, self.with_actions, B = central, with_actions, envs.num_envs
        of_agent = {agent: group for group in groups for agent in group.agents}
        types = [g.obs_codec.encoded_type(config.dtype, config.normalize_obs) for g in groups]
        self.obs_dtype = np.result_type(*types)
        self.readers = {a: ObservationReader(of_agent[a].obs_codec, self.obs_dtype, B) for a in envs.agents}
        self.num_actions = [of_agent[a].action_codec.family().num_params if with_actions else 0 for a in envs.agents]
        noises = [
            ActionNoise(g.action_codec.family(), s["actions"], B * len(g.agents), config.num_steps)
            for g, s in zip(groups, seeds, strict=True)
        ]
        N = len(envs.agents)
        self.state = JointState(noises, [], np.ones((B, N), bool), {}, np.zeros((B, N)), np.zeros(B))
        self.env_seeds = seeds[0]["envs"]
        self._reset()

    def collect(self, actors: list[Actor]) -> list[Rollout]:
        """A rollout of `num_steps` for each group, under the actor of each."""
        state, fresh = self.state, self.state.fresh_start
        if fresh:
            self._reset()
        state.fresh_start = True  # until `commit`
        for noise in state.noises:
            noise.refill()
        rollouts = [self._empty(g, obs, fresh) for g, obs in zip(self.groups, state.obs, strict=True)]
        self.finished: list[tuple[Array, float]] = []  # returns of all agents (N,) and length of each game that ended
        for t in range(self.num_steps):
            actions = self._act(actors, rollouts, t)
            step = self._step(actions)
            self._store(step, rollouts, t)
            self._count(step)
        return rollouts

    def finished_games(self) -> tuple[Array, Array]:
        """Returns of all agents (M, N) and lengths (M,) of the M games that ended in the last rollout."""
        returns = np.array([r for r, _ in self.finished]).reshape(-1, len(self.envs.agents))
        return returns, np.array([length for _, length in self.finished], np.int64)

    def commit(self) -> None:
        """The last rollouts were learned from: the next ones go on with their games."""
        self.state.fresh_start = False
        if isinstance(self.envs, Resumable):
            self.envs.forget()

    def reset(self) -> None:
        """Let the next rollouts begin with new games."""
        self.state.fresh_start = True

    def begin_again(self, seed: np.random.SeedSequence) -> None:
        """New games from another seed, at once."""
        self.env_seeds = seed
        self._reset()
        self.state.fresh_start = False

    def snapshot(self) -> dict[str, Any]:
        """Where the collector and the environments are; the noises alone, and `envs` None, where they cannot say it."""
        envs = self.envs.snapshot() if isinstance(self.envs, Resumable) else None
        if envs is None:
            return {"noises": [noise.tree() for noise in self.state.noises], "envs": None}
        return self.state.tree() | {"resets": self.env_seeds.n_children_spawned, "envs": envs}

    def restore(self, tree: dict[str, Any], environments: bool = True) -> bool:
        """Back to a snapshot -> whether the environments are back as well, as in training/collector.py."""
        self.state.check(tree)
        for noise, each in zip(self.state.noises, tree["noises"], strict=True):
            noise.restore(each)
        if not environments or tree["envs"] is None or not isinstance(self.envs, Resumable):
            return False
        try:
            seen, paid = self.envs.restore(tree["envs"]), self.envs.paid
            same = seen is None or all(map(same_bits, self._rows(seen), tree["obs"]))
            same &= paid is None or same_bits(paid, tree["episode_return"])
        except Exception:  # whatever an environment that does not repeat may raise
            same = False
        if not same:
            self.state.fresh_start = True  # they are nowhere that was seen
            return False
        self.env_seeds.spawn(tree["resets"] - self.env_seeds.n_children_spawned)
        self.state.take(tree)
        return True

    def _reset(self) -> None:
        state, envs = self.state, self.envs
        first = envs.reset(random_streams.integer_seeds(self.env_seeds, envs.num_envs))
        state.alive, state.masks = envs.alive, envs.masks
        state.episode_return[:], state.episode_length[:] = 0.0, 0.0
        state.obs = self._rows(first)

    def _rows(self, obs: dict[str, Array]) -> list[Array]:
        """Encoded observations of each group (n·B, D), with what a central critic sees behind them."""
        step = self.state.steps_taken
        encoded = {agent: self._read(agent, obs[agent], step) for agent in self.envs.agents}
        own = [group.rows(encoded) for group in self.groups]
        if not self.central:
            return own
        joint = np.concatenate([encoded[agent] for agent in self.envs.agents], axis=1)  # (B, S), sorted agents
        unknown = np.zeros((len(joint), sum(self.num_actions)), joint.dtype)  # actions that nobody has chosen yet
        seen = np.hstack([joint, unknown])
        return [np.hstack([x, np.tile(seen, (len(g.agents), 1))]) for x, g in zip(own, self.groups, strict=True)]

    def _read(self, agent: str, obs: Any, step: int) -> Array:
        try:
            return self.readers[agent].read(obs, step)
        except MinirlError as why:
            why.args = (f"agent {agent!r}: {why}",)
            raise

    def _act(self, actors: list[Actor], rollouts: list[Rollout], t: int) -> dict[str, Array]:
        """The actions of step t by agent, as the environment takes them; stored with what they were chosen from."""
        state = self.state
        chosen: dict[str, Array] = {}
        sent: dict[str, Array] = {}
        for i, (group, rollout) in enumerate(zip(self.groups, rollouts, strict=True)):
            alive = group.columns(state.alive)
            real = None if alive.all() else alive
            mask = None
            if rollout.mask is not None:
                mask = rollout.mask[t] = self.allowed(group) | ~alive[:, None]
            elif self._masked(group):
                raise EnvError(f"{group.name} has an action_mask now, and had none before: give it always or never")
            action = actors[i](state.obs[i], state.noises[i].next(real), mask)
            if action.dtype.kind == "f" and not _core.all_finite(action):
                why = "the policy's σ or mean overflowed; lower the learning rate"
                raise NonFiniteError(f"action of {group.name}", why, step=state.steps_taken + 1)
            rollout.obs[t], rollout.action[t], rollout.valid[t] = state.obs[i], action, alive
            chosen |= group.per_agent(rollout.action[t])
            sent |= group.per_agent(group.action_codec.decode(rollout.action[t].copy()))
        if self.with_actions:
            self.fill_actions([rollout.obs[t] for rollout in rollouts], chosen, state.alive)
        return sent

    def _masked(self, group: Group) -> bool:
        """Whether one of these agents has a mask."""
        return bool(self.state.masks) and any(agent in self.state.masks for agent in group.agents)

    def allowed(self, group: Group) -> Array:
        """What the agents of a group may do next (n·B, K) bool: everything, for one without masks."""
        K, masks = group.action_codec.family().num_params, self.state.masks
        everything = np.ones((self.envs.num_envs, K), bool)
        return group.rows({agent: masks.get(agent, everything) for agent in group.agents})

    def fill_actions(self, rows: list[Array], chosen: dict[str, Array], alive: Array) -> None:
        """Write the actions of all agents, as indicators, into the last columns of each group's rows.

        alive (B, N) bool: who acts; of the others all indicators are 0.
        """
        blocks = [
            np.eye(k)[chosen[agent]] * alive[:, [place]]
            for place, (agent, k) in enumerate(zip(self.envs.agents, self.num_actions, strict=True))
        ]
        joint = np.hstack(blocks)
        for x, group in zip(rows, self.groups, strict=True):
            x[:, -joint.shape[1] :] = np.tile(joint, (len(group.agents), 1))

    def _step(self, actions: dict[str, Array]) -> Step:
        step = self.envs.step(actions)
        self.state.steps_taken += 1
        return step

    def _store(self, step: Step, rollouts: list[Rollout], t: int) -> None:
        state = self.state
        led_to, state.obs = self._rows(step.led_to), self._rows(step.obs)
        if not _core.all_finite(step.reward):
            env, place = (int(i) for i in np.argwhere(~np.isfinite(step.reward))[0])
            why = f"the environment returned {step.reward[env, place]}; fix the environment"
            raise NonFiniteError(f"reward of {self.envs.agents[place]}", why, env=env, step=state.steps_taken)
        for group, rollout, after in zip(self.groups, rollouts, led_to, strict=True):
            rollout.next_obs[t], rollout.reward[t] = after, group.columns(step.reward)
            rollout.terminated[t] = group.columns(step.terminated)
            rollout.truncated[t] = group.columns(step.truncated & ~step.terminated)

    def _count(self, step: Step) -> None:
        """Sums over the games, and those that ended: a game ends when nobody is left in it."""
        state = self.state
        state.episode_return += step.reward
        state.episode_length += 1
        left = state.alive & ~(step.terminated | step.truncated)
        over = np.flatnonzero(~left.any(axis=1))
        self.finished += [(state.episode_return[b].copy(), float(state.episode_length[b])) for b in over]
        state.episode_return[over], state.episode_length[over] = 0.0, 0.0
        state.alive, state.masks = step.alive, step.masks

    def _empty(self, group: Group, obs: Array, fresh: bool) -> Rollout:
        T, (rows, D), dist = self.num_steps, obs.shape, group.action_codec.family()
        action_type = np.int64 if dist.action_dtype is np.int64 else np.dtype(self.config.dtype)
        masked = self._masked(group)
        return Rollout(
            obs=np.empty((T, rows, D), self.obs_dtype),
            action=np.empty((T, rows, *dist.action_shape), action_type),
            reward=np.empty((T, rows)),
            next_obs=np.empty((T, rows, D), self.obs_dtype),
            terminated=np.empty((T, rows), bool),
            truncated=np.empty((T, rows), bool),
            valid=np.empty((T, rows), bool),
            first_step=self.state.steps_taken,
            fresh=fresh,
            mask=np.empty((T, rows, dist.num_params), bool) if masked else None,
        )


def same_bits(a: Array, b: Array) -> bool:
    """Whether two arrays are equal in every bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()

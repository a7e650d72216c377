"""Stepping a gymnasium vector environment with a policy: all three autoreset modes give the same transitions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minirl import _core
from minirl.config import Config
from minirl.envs import NativeVectorEnv
from minirl.envs.autoreset import autoreset_of
from minirl.envs.contract import as_flags
from minirl.envs.faults import place, raise_placed
from minirl.envs.make import reset
from minirl.envs.parallel import ParallelVectorEnv
from minirl.envs.resumable import Resumable
from minirl.envs.serial import SerialVectorEnv
from minirl.errors import NonFiniteError
from minirl.models.input_pipeline import AffinePreprocess, Preprocess
from minirl.models.policy import Policy
from minirl.samples.rollout import Rollout
from minirl.spaces.action_masks import KEY, ActionMasks
from minirl.spaces.actions import ActionCodec
from minirl.spaces.observations import ObsCodec
from minirl.training.action_noise import ActionNoise
from minirl.training.collector_state import CollectorState
from minirl.training.observation_reader import ObservationReader

BOOL = np.dtype(bool)


class Collector:
    """Steps `envs` with π_θ, `config.num_steps` at a time; who has learned from a rollout calls `commit`."""

    def __init__(
        self,
        envs: Any,
        policy: Policy,
        codecs: tuple[ObsCodec, ActionCodec],
        seeds: dict[str, np.random.SeedSequence],
        config: Config,
    ):
        self.envs, self.policy, self.num_envs, self.num_steps = envs, policy, envs.num_envs, config.num_steps
        self.obs_codec, self.action_codec = codecs
        self.dtype, self.obs_dtype = np.dtype(config.dtype), codecs[0].encoded_type(config.dtype, config.normalize_obs)
        self.autoreset = autoreset_of(envs)
        B, native, masked = self.num_envs, isinstance(envs, NativeVectorEnv), config.mask_actions
        plain = not (masked or self.action_codec.bounded or self.action_codec.start)
        self.native = native and plain  # a rollout can be one call
        self.reset_rows: list[int] = []  # of the last rollout: after these the whole vector took a reset step
        ours = type(envs) in (SerialVectorEnv, ParallelVectorEnv)
        if ours:
            envs.kept = (KEY,) if masked else ()  # what is read here
        space = None if ours or native else envs.single_observation_space
        self.reader = ObservationReader(self.obs_codec, self.obs_dtype, B, space)
        noise = ActionNoise(policy.dist, seeds["actions"], B, self.num_steps)
        if isinstance(envs, Resumable):
            envs.record()
        first, info = reset(envs, seeds["envs"])
        obs = self.reader.read(first, 0)
        masks = ActionMasks(self.action_codec, B, info) if masked else None
        self.state = CollectorState(noise, obs, masks, np.zeros(B), np.zeros(B))

    def collect(self, theta: np.ndarray, preprocess: Preprocess) -> Rollout:
        """`num_steps` rows (T, B) under π_θ, θ and `preprocess` as they are."""
        rollout = self._empty_rollout(fresh=self._begin())
        if self.native and self.envs.can_rollout and self.policy.in_one_call(preprocess):
            self._in_one_call(theta, preprocess, rollout)
        else:
            self._step_by_step(theta, preprocess, rollout)
        self._check_rewards(rollout)
        return rollout

    def finished_episodes(self, rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
        """Returns (undiscounted, unscaled) and lengths of the episodes that ended in a rollout, in that order.

        To be asked once of each rollout: the sums of the unfinished episodes go on.
        """
        cut, state, ones = rollout.cut, self.state, rollout.valid.astype(np.float64)
        returns, state.episode_return = _core.running_return(rollout.reward, cut, state.episode_return, 1.0)
        lengths, state.episode_length = _core.running_return(ones, cut, state.episode_length, 1.0)
        return returns[cut], lengths[cut].astype(np.int64)

    def commit(self) -> None:
        """The last rollout was learned from: the next one goes on with its episodes."""
        self.state.fresh_start = False
        if isinstance(self.envs, Resumable):
            self.envs.forget()

    def reset(self) -> None:
        """Let the next rollout begin with fresh episodes, for example after other code has stepped `envs`."""
        self.state.fresh_start = True

    def begin_again(self, seed: np.random.SeedSequence) -> None:
        """Fresh episodes from another seed, at once."""
        first, info = reset(self.envs, seed)
        state = self.state
        state.obs = self._see(first, info)
        state.episode_return, state.episode_length = np.zeros(self.num_envs), np.zeros(self.num_envs)
        state.resetting, state.fresh_start = None, False

    def snapshot(self) -> dict[str, Any]:
        """Where the collector and the environments are; the noise alone, and `envs` None, where they cannot say it."""
        envs = self.envs.snapshot() if isinstance(self.envs, Resumable) else None
        return {"noise": self.state.noise.tree(), "envs": None} if envs is None else self.state.tree() | {"envs": envs}

    def restore(self, tree: dict[str, Any], environments: bool = True) -> bool:
        """Back to a snapshot -> whether the environments are back as well, seen to be where they were.

        Without that the noise alone is restored, and they stay where they are.
        """
        self.state.check(tree)
        self.state.noise.restore(tree["noise"])
        if not environments or tree["envs"] is None or not isinstance(self.envs, Resumable):
            return False
        try:
            seen, paid = self.envs.restore(tree["envs"]), self.envs.paid
            same = self.reader.read(seen, tree["steps_taken"]).tobytes() == tree["obs"].tobytes()
            same &= paid is None or paid.tobytes() == tree["episode_return"].tobytes()
        except Exception:  # whatever an environment that does not repeat may raise
            same = False
        if not same:
            self.state.fresh_start = True  # they are nowhere that was seen
            return False
        self.state.take(tree)
        return True

    def _empty_rollout(self, fresh: bool) -> Rollout:
        T, B, D, dist = self.num_steps, self.num_envs, self.state.obs.shape[1], self.policy.dist
        action_type = np.int64 if dist.action_dtype is np.int64 else self.dtype
        return Rollout(
            obs=np.empty((T, B, D), self.obs_dtype),
            action=np.empty((T, B, *dist.action_shape), action_type),
            reward=np.empty((T, B)),
            next_obs=np.empty((T, B, D), self.obs_dtype),
            terminated=np.empty((T, B), bool),
            truncated=np.empty((T, B), bool),
            valid=np.ones((T, B), bool),
            mask=np.empty((T, B, dist.num_params), bool) if self.state.masks is not None else None,
            first_step=self.state.steps_taken,
            fresh=fresh,
        )

    def _begin(self) -> bool:
        """Go on with the episodes, or with fresh ones where that is asked for -> whether they are fresh."""
        state = self.state
        fresh, self.reset_rows = state.fresh_start, []
        if fresh:
            state.obs = self._see(*self._call(self.envs.reset))
            state.episode_return, state.episode_length = np.zeros(self.num_envs), np.zeros(self.num_envs)
            state.resetting = None
        state.fresh_start = True  # until `commit`
        state.noise.refill()
        return fresh

    def _in_one_call(self, theta: np.ndarray, preprocess: AffinePreprocess, rollout: Rollout) -> None:
        """The rows of `_step_by_step`, by one call of a native environment."""
        state, r = self.state, rollout
        out = r.obs, r.action, r.reward, r.next_obs, r.terminated, r.truncated
        policy = self.policy.act_arguments(theta, preprocess)
        done = self.envs.rollout(policy, state.noise.all(), out, self.action_codec.spread)
        state.steps_taken += done
        if done < self.num_steps:  # only an action that is not finite stops it
            self._check_action(r.action[done])
        r.truncated[...] &= ~r.terminated
        state.obs = self.reader.read(self.envs.observations, state.steps_taken)

    def _step_by_step(self, theta: np.ndarray, preprocess: Preprocess, rollout: Rollout) -> None:
        act, state = self.policy.actor(theta, preprocess), self.state
        for t in range(self.num_steps):
            action = self._act(act, rollout, t)
            returned, reward, terminated, truncated, info = self._step(action)
            state.obs = rollout.next_obs[t] = self._see(returned, info)
            rollout.reward[t], rollout.terminated[t], rollout.truncated[t] = reward, terminated, truncated
            if state.resetting is not None or either(terminated, truncated):
                self._end_episodes(rollout, t, info)

    def _act(self, act: Callable[..., np.ndarray], rollout: Rollout, t: int) -> np.ndarray:
        """The actions of row t (B, …), stored with what they were chosen from."""
        state = self.state
        resetting, mask, real = state.resetting, None, None
        if resetting is not None:
            real = rollout.valid[t] = ~resetting
        if state.masks is not None and rollout.mask is not None:
            ignored = np.zeros(self.num_envs, bool) if resetting is None else resetting
            mask = rollout.mask[t] = state.masks.read(ignored)
        action = act(state.obs, state.noise.next(real), mask)
        rollout.obs[t], rollout.action[t] = state.obs, action
        if action.dtype != rollout.action.dtype:
            action = rollout.action[t].copy()  # what is sent is what is stored
        return action

    def _step(self, action: np.ndarray) -> tuple[Any, Any, np.ndarray, np.ndarray, dict[str, Any]]:
        """One step of the vector -> what it returned, flags as booleans; errors name environment and step."""
        if action.dtype.kind == "f":
            self._check_action(action)
        sent = self.action_codec.decode(action)
        try:
            obs, reward, terminated, truncated, info = self.envs.step(sent)
        except BaseException as why:  # not by _call: five values it has to be, too
            raise_placed(why, place(why, self.envs, self.state.steps_taken + 1))
        if getattr(terminated, "dtype", None) is not BOOL or getattr(truncated, "dtype", None) is not BOOL:
            terminated = self._call(as_flags, "terminated", terminated)
            truncated = self._call(as_flags, "truncated", truncated)
        self.state.steps_taken += 1
        return obs, reward, terminated, truncated, info

    def _see(self, obs: Any, info: dict[str, Any], of_all: bool = True) -> np.ndarray:
        """What the policy acts on next (B, D); `info` is of all environments, or only of those just reset."""
        if self.state.masks is not None:
            self.state.masks.update(info, of_all)
        return self.reader.read(obs, self.state.steps_taken)

    def _end_episodes(self, rollout: Rollout, t: int, info: dict[str, Any]) -> None:
        """Row t ended episodes, or was a reset step of some: final observations into it, then the next episodes."""
        state, terminated, truncated = self.state, rollout.terminated[t], rollout.truncated[t]
        if state.resetting is not None:  # whatever a vector returns for a reset step
            rollout.reward[t, state.resetting] = 0.0
            terminated[state.resetting] = truncated[state.resetting] = False
        done = terminated | truncated
        truncated &= ~terminated  # both set: terminated wins
        finals = self.autoreset.final_observations(info, done)
        if finals is not None:
            envs = np.flatnonzero(done)
            rollout.next_obs[t, envs] = self.reader.read_final(finals, envs, state.steps_taken)
        state.resetting = self.autoreset.reset_step(done)
        if state.resetting is not None and state.resetting.all():
            self._reset_step_of_all(rollout, t)
        reset_mask = self.autoreset.reset_call(done)
        if reset_mask is not None:
            first, info = self._call(self.envs.reset, options={"reset_mask": reset_mask})
            state.obs = self._see(first, info, of_all=False)

    def _reset_step_of_all(self, rollout: Rollout, t: int) -> None:
        """The next step would be a reset step of all: take it now, with any actions, so that no row is empty."""
        state = self.state
        first, *_, info = self._call(self.envs.step, self.action_codec.decode(rollout.action[t].copy()))
        state.steps_taken += 1
        self.reset_rows.append(t)
        state.obs = self._see(first, info)
        state.resetting = None

    def _call(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """A call of the environments, or about them, whose errors name environment and step."""
        try:
            return call(*args, **kwargs)
        except BaseException as why:
            raise_placed(why, place(why, self.envs, self.state.steps_taken + 1))

    def _check_action(self, action: np.ndarray) -> None:
        if not _core.all_finite(action):
            env = int(np.flatnonzero(~np.isfinite(action).all(axis=1))[0])
            remedy = "the policy's σ or mean overflowed; lower the learning rate"
            raise NonFiniteError("action", remedy, env=env, step=self.state.steps_taken + 1)

    def _check_rewards(self, rollout: Rollout) -> None:
        if not _core.all_finite(rollout.reward):
            t, env = (int(i) for i in np.argwhere(~np.isfinite(rollout.reward))[0])
            step = rollout.first_step + t + 1 + sum(row < t for row in self.reset_rows)
            remedy = f"the environment returned {rollout.reward[t, env]}; fix the environment"
            raise NonFiniteError("reward", remedy, env=env, step=step)


def either(terminated: np.ndarray, truncated: np.ndarray) -> bool:
    """Whether any of these flags (B,) bool is set, B up to some thousands: 90 ns, two calls of any() 1090 ns."""
    return 1 in terminated.tobytes() or 1 in truncated.tobytes()

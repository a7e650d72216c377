"""Stepping a gymnasium vector environment with a policy: all three autoreset modes give the same transitions."""

from typing import Any

import numpy as np

from minirl import _core
from minirl.envs import NativeVectorEnv
from minirl.envs.autoreset import AutoresetMode, autoreset_mode
from minirl.envs.contract import Misfit, fitted, truths
from minirl.envs.faults import place, raise_placed
from minirl.envs.make import reset
from minirl.envs.parallel import ParallelVectorEnv
from minirl.envs.serial import SerialVectorEnv
from minirl.errors import EnvError, NonFiniteError, SpaceError
from minirl.models.policy import Policy
from minirl.samples.rollout import Rollout
from minirl.spaces.action_masks import KEY, ActionMasks
from minirl.spaces.actions import ActionCodec
from minirl.spaces.observation_checks import ObservationError
from minirl.spaces.observations import ObsCodec
from minirl.training.action_noise import ActionNoise

BOOL = np.dtype(bool)


class Collector:
    """Steps `envs` with π_θ and keeps what lives between rollouts: observation, episode sums, random streams."""

    def __init__(
        self,
        envs: Any,
        policy: Policy,
        codecs: tuple[ObsCodec, ActionCodec],
        seeds: dict[str, np.random.SeedSequence],
        num_steps: int,
        dtype: str,
        masked: bool = False,
        standardised: bool = False,
    ):
        self.envs, self.policy, self.num_steps, self.dtype = envs, policy, num_steps, np.dtype(dtype)
        self.obs_dtype = codecs[0].encoded_type(dtype, standardised)
        self.obs_codec, self.action_codec = codecs
        self.mode = autoreset_mode(envs)
        self.num_envs = envs.num_envs
        self.noise = ActionNoise(policy.dist, seeds["actions"], self.num_envs, num_steps)
        self.episode_return = np.zeros(self.num_envs)  # of the unfinished episodes
        self.episode_length = np.zeros(self.num_envs)
        self.nobody = np.zeros(self.num_envs, dtype=bool)
        self.due = self.nobody  # NEXT_STEP: the next step of these only resets; the same array as `nobody` when there is none
        self.steps_taken = 0  # of the vector, for messages: reset steps count
        self.first = 0  # those before the last rollout
        self.resets: list[int] = []  # its rows after which all environments took a reset step
        self.whole = True  # the last rollout came to its end, and something was learned of it
        self.restarted = False  # the last rollout began with fresh episodes, since the one before had not
        ours = type(envs) in (SerialVectorEnv, ParallelVectorEnv)
        if ours:
            envs.kept = (KEY,) if masked else ()  # what is read here
        self.checked = ours or isinstance(envs, NativeVectorEnv)  # whether observations fit has been seen
        obs, info = reset(envs, seeds["envs"])
        self.masks: ActionMasks | None = None
        self.obs = self._see(obs, info)
        plain = not (masked or self.action_codec.bounded or self.action_codec.start)
        self.native = isinstance(envs, NativeVectorEnv) and plain
        if masked:
            self.masks = ActionMasks(self.action_codec, self.num_envs, info)

    def _encode(self, obs: Any, rows: np.ndarray | None = None) -> np.ndarray:
        """Observations -> (B, D) checked for NaN and infinity; `rows` are the environments of a list of single ones."""
        try:
            x = self.obs_codec.encode(obs if rows is None else self.obs_codec.stack(obs), self.obs_dtype)
        except ObservationError as why:
            raise why.of_an_env(self.steps_taken, np.arange(self.num_envs) if rows is None else rows) from None
        if not _core.all_finite(x):
            bad = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
            index = int(np.flatnonzero(~np.isfinite(x[bad]))[0])
            env = bad if rows is None else int(rows[bad])
            value = np.asarray(obs)[bad].reshape(-1)[index] if self.obs_codec.kind == "box" else x[bad, index]
            remedy = f"entry {index} is {value}; fix the environment, or train with dtype float64"
            raise NonFiniteError("obs", remedy, env=env, step=self.steps_taken)
        return x

    def _see(self, obs: Any, info: dict[str, Any], whole: bool = True) -> np.ndarray:
        """What the policy acts on next (B, D); `info` is of all environments, or (not `whole`) of those just reset."""
        if self.masks is not None:
            self.masks.update(info, whole)
        try:
            x = self._encode(obs)
        except SpaceError as why:
            raise SpaceError(f"step={self.steps_taken}: {why}") from why
        if len(x) != self.num_envs:
            raise SpaceError(f"step={self.steps_taken}: {len(x)} observations of {self.num_envs} environments")
        return x

    def collect(self, theta: np.ndarray, inputs: Any) -> Rollout:
        """`num_steps` rows (T, B) under π_θ, θ and what stands before it (`inputs`) as they are."""
        T, B, D = self.num_steps, self.num_envs, self.obs.shape[1]
        dist = self.policy.dist
        action_type = np.int64 if dist.action_dtype is np.int64 else self.dtype
        rollout = Rollout(
            obs=np.empty((T, B, D), self.obs_dtype),
            action=np.empty((T, B, *dist.action_shape), action_type),
            reward=np.empty((T, B)),
            next_obs=np.empty((T, B, D), self.obs_dtype),
            terminated=np.empty((T, B), bool),
            truncated=np.empty((T, B), bool),
            valid=np.ones((T, B), bool),
            mask=np.empty((T, B, dist.num_params), bool) if self.masks is not None else None,
        )
        self._begin()
        if self.native and self.envs.whole_rollouts and self.policy.in_one_call(inputs):
            self._all_at_once(theta, inputs, rollout)
        else:
            self._step_by_step(theta, inputs, rollout)
        self._check_rewards(rollout)
        self.whole = True
        return rollout

    def _step_by_step(self, theta: np.ndarray, inputs: Any, rollout: Rollout) -> None:
        act = self.policy.actor(theta, inputs)
        for t in range(self.num_steps):
            mask = self.masks.read(self.due) if self.masks is not None else None
            if rollout.mask is not None:
                rollout.mask[t] = mask
            resetting = self.due is not self.nobody
            if resetting:
                rollout.valid[t] = ~self.due
            noise = self.noise.next(rollout.valid[t] if resetting else None)
            action = act(self.obs, noise, mask)
            rollout.obs[t], rollout.action[t] = self.obs, action
            if action.dtype != rollout.action.dtype:
                action = rollout.action[t].copy()  # what is sent is what is stored
            self._step(rollout, t, action, resetting)

    def _all_at_once(self, theta: np.ndarray, inputs: Any, rollout: Rollout) -> None:
        """The same rows by one call of a native environment."""
        out = rollout.obs, rollout.action, rollout.reward, rollout.next_obs, rollout.terminated, rollout.truncated
        done = self.envs.rollout(self.policy.act_arguments(theta, inputs), self.noise.all(), out, self.action_codec.spread)
        self.steps_taken += done
        if done < self.num_steps:
            self._check_action(rollout.action[done])
        rollout.truncated[...] &= ~rollout.terminated
        self.obs = self._encode(self.envs.observations)

    def _begin(self) -> None:
        """Start a rollout; after one that was interrupted or failed half-way, from fresh episodes."""
        self.restarted = not self.whole
        if self.restarted:
            self.obs = self._see(*self._call(self.envs.reset))
            self.episode_return, self.episode_length = np.zeros(self.num_envs), np.zeros(self.num_envs)
            self.due = self.nobody
        self.whole, self.first, self.resets = False, self.steps_taken, []
        self.noise.refill()

    def _call(self, call: Any, *args: Any, **kwargs: Any) -> Any:
        """A call of the environments whose errors name them and the step."""
        try:
            return call(*args, **kwargs)
        except BaseException as why:
            raise_placed(why, place(why, self.envs, self.steps_taken + 1))

    def _step(self, rollout: Rollout, t: int, action: np.ndarray, resetting: bool) -> None:
        """One step of the vector: fills row t and moves to the observation that the policy sees next."""
        self._check_action(action)
        sent = self.action_codec.decode(action)
        try:
            returned, reward, terminated, truncated, info = self.envs.step(sent)
        except BaseException as why:  # as _call does, which costs a call
            raise_placed(why, place(why, self.envs, self.steps_taken + 1))
        if getattr(terminated, "dtype", None) is not BOOL or getattr(truncated, "dtype", None) is not BOOL:
            terminated = self._call(truths, "terminated", terminated)
            truncated = self._call(truths, "truncated", truncated)
        self.steps_taken += 1
        self.obs = rollout.next_obs[t] = self._see(returned, info)
        over, cut = rollout.terminated[t], rollout.truncated[t]
        rollout.reward[t], over[...], cut[...] = reward, terminated, truncated
        if resetting:
            rollout.reward[t, self.due] = 0.0
            over[self.due] = cut[self.due] = False
        if resetting or 1 in over.tobytes() or 1 in cut.tobytes():  # of a few flags the quickest look
            done = over | cut
            cut &= ~over  # both set: terminated wins
            self._after_episodes(rollout, t, done, info)

    def _check_action(self, action: np.ndarray) -> None:
        if action.dtype.kind == "f" and not _core.all_finite(action):
            env = int(np.flatnonzero(~np.isfinite(action).all(axis=1))[0])
            raise NonFiniteError("action", "the policy's σ or mean overflowed; lower the learning rate", env=env, step=self.steps_taken + 1)

    def _after_episodes(self, rollout: Rollout, t: int, done: np.ndarray, info: dict[str, Any]) -> None:
        """Row t ended episodes (`done`), or was somebody's reset step: the three modes, each to the same transitions."""
        rows = np.flatnonzero(done)
        if self.mode is AutoresetMode.NEXT_STEP:  # the final observation was returned; the reset is the next step of these
            self.due = done if len(rows) else self.nobody
            if done.all():  # no one would do anything real in the next row: reset now, so that no row is empty
                obs, *_, info = self._call(self.envs.step, self.action_codec.decode(rollout.action[t].copy()))
                self.steps_taken += 1
                self.resets.append(t)
                self.obs = self._see(obs, info)
                self.due = self.nobody
        elif self.mode is AutoresetMode.SAME_STEP:  # the reset observation was returned, the final one is in info
            if "final_obs" not in info:
                raise EnvError("the vector environment says SAME_STEP but its info has no final_obs at the end of an episode")
            last = [self._fitted(info["final_obs"][b], b) for b in rows.tolist()]
            rollout.next_obs[t, rows] = self._encode(last, rows)
        elif len(rows):  # DISABLED: the final observation was returned, the reset is ours
            obs, info = self._call(self.envs.reset, options={"reset_mask": done})
            self.obs = self._see(obs, info, whole=False)

    def _fitted(self, obs: Any, env: int) -> Any:
        """A last observation as its space says, or an error with environment and step."""
        try:
            return obs if self.checked else fitted(self.envs.single_observation_space, obs)
        except Misfit as why:
            raise_placed(why, f"env={env}, step={self.steps_taken}")

    def _check_rewards(self, rollout: Rollout) -> None:
        if not _core.all_finite(rollout.reward):
            t, env = (int(i) for i in np.argwhere(~np.isfinite(rollout.reward))[0])
            step = self.first + t + 1 + sum(row < t for row in self.resets)
            remedy = f"the environment returned {rollout.reward[t, env]}; fix the environment"
            raise NonFiniteError("reward", remedy, env=env, step=step)

    def finished_episodes(self, rollout: Rollout) -> tuple[np.ndarray, np.ndarray]:
        """Returns (undiscounted, unscaled) and lengths of the episodes that ended in this rollout, in the order of their ends."""
        cut = rollout.cut
        returns, self.episode_return = _core.running_return(rollout.reward, cut, self.episode_return, 1.0)
        lengths, self.episode_length = _core.running_return(rollout.valid.astype(np.float64), cut, self.episode_length, 1.0)
        return returns[cut], lengths[cut].astype(np.int64)

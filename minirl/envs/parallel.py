"""gymnasium's environments in a process each: what goes wrong in one is named, and nothing is left behind."""

import multiprocessing
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.error import ClosedEnvironmentError
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import (
    batch_space,
    concatenate,
    create_empty_array,
    create_shared_memory,
    iterate,
    read_from_shared_memory,
)

from minirl.envs.contract import NUMBERS
from minirl.envs.faults import close, raise_placed
from minirl.envs.processes import Processes
from minirl.envs.resumable import EpisodeLog, Resumable
from minirl.envs.serial import add_info, reset_arguments
from minirl.envs.worker import write_row
from minirl.errors import EnvError

TIMEOUT = 60.0  # seconds for a reset, a step or a call of all environments; what takes longer counts as hanging
ASK: dict[str, Any] = {}  # what an episode began from, which its worker knows
MAKING = 600.0  # seconds for making all of them: each process may have to import a simulator


class ParallelVectorEnv(VectorEnv, Resumable):
    """What SerialVectorEnv gives, from `Guarded` environments in processes; the next step overwrites the observations.

    In place of gymnasium's AsyncVectorEnv, which waits for ever for a worker that was killed or hangs, and leaves
    workers behind. An environment's exception is raised here as it is; EnvProcessError for a worker that has died, or
    that has not answered within `timeout` seconds (None: TIMEOUT). close() takes less than two seconds.
    """

    closed = True  # until the workers are there

    def __init__(self, env_fns: Sequence[Callable[[], Any]], timeout: float | None = None):
        self.num_envs, self.timeout = len(env_fns), timeout
        self._taken = 0  # steps, for messages
        self.log: EpisodeLog | None = None  # how the episodes came to where they are, where somebody saves that
        first = env_fns[0]()  # for what the memory's size depends on
        try:
            self.metadata = dict(first.metadata) | {"autoreset_mode": AutoresetMode.SAME_STEP}
            self.render_mode = first.render_mode
            self.single_observation_space, self.single_action_space = first.observation_space, first.action_space
        finally:
            close(first, "env=0")
        space: Any = self.single_observation_space
        self.observation_space = batch_space(space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        context: Any = multiprocessing.get_context()
        shared = create_shared_memory(space, self.num_envs, context) if _shareable(space) else None
        self._shared = shared is not None
        self._buffer: Any = create_empty_array(space, self.num_envs) if shared is None else None
        if shared is not None:
            self._buffer = read_from_shared_memory(space, shared, self.num_envs)
        self._seen: list[Any] = [None] * self.num_envs  # the last observation of each, where they are not shared
        self.workers = Processes(env_fns, (space, self.single_action_space), shared, context)
        self.closed = False
        try:
            self._check_spaces()
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> list[Any]:
        return self.workers.processes

    @property
    def kept(self) -> tuple[str, ...] | None:
        """The infos that are handed on; None: all of them. A collector sets it to what it reads."""
        return self.get_attr("kept")[0]

    @kept.setter
    def kept(self, names: tuple[str, ...] | None) -> None:
        self.set_attr("kept", [names] * self.num_envs)

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """New episodes -> observations, infos; the arguments are SerialVectorEnv's."""
        seeds, rows, options = reset_arguments(seed, options, self.num_envs)
        infos: dict[str, Any] = {}
        answers = self._ask("reset", {i: (seeds[i], options) for i in rows})
        for i, (obs, info) in zip(rows, answers, strict=True):
            self._seen[i] = obs
            if info:
                add_info(infos, info, i, self.num_envs)
            if self.log is not None:
                self.log.began(i, ASK)
        return self._observed(), infos

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """An action for each -> observations, reward (B,), terminated (B,), truncated (B,), infos."""
        B, infos = self.num_envs, dict[str, Any]()
        each = {i: (action,) for i, action in enumerate(iterate(self.action_space, actions))}
        if len(each) != B:
            raise ValueError(f"{len(each)} actions: it takes {B}, one for each environment")
        reward, terminated, truncated = np.empty(B), np.empty(B, bool), np.empty(B, bool)
        self._taken += 1
        if self.log is not None:
            self.log.acted(actions)
        i = 0
        answers = self._ask("step", each)
        try:
            for i, (obs, gain, terminated[i], truncated[i], info) in enumerate(answers):
                reward[i], self._seen[i] = gain, obs
                if info:
                    add_info(infos, info, i, B)
        except Exception as why:
            raise_placed(why, f"env={i}, step={self._taken}")
        if self.log is not None:
            for i in np.flatnonzero(terminated | truncated).tolist():
                self.log.began(i, ASK)
        return self._observed(), reward, terminated, truncated, infos

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Each environment's attribute `name`, the outermost wrapper's first, called if it can be."""
        return tuple(self._ask("call", {i: (name, args, kwargs) for i in range(self.num_envs)}))

    def get_attr(self, name: str) -> tuple[Any, ...]:
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """A list or tuple holds a value for each environment, anything else goes to all of them."""
        each = values if isinstance(values, (list, tuple)) else [values] * self.num_envs
        if len(each) != self.num_envs:
            raise ValueError(f"{len(each)} values for {name}: it takes {self.num_envs}, one for each environment")
        self._ask("set", {i: (name, value) for i, value in enumerate(each)})

    def record(self) -> None:
        """From the next reset on, remember what `snapshot` needs."""
        self.log = EpisodeLog(self.num_envs)
        self.set_attr("recording", True)

    def forget(self) -> None:
        """Drop what belongs to episodes that are over."""
        if self.log is not None:
            self.log.forget()

    def snapshot(self) -> dict[str, Any] | None:
        """How each episode began, and the actions since; None where an environment's generator cannot be saved."""
        if self.log is None or self.closed or not self.repeats:
            return None
        known = zip(self.log.begun, self.call("begun"), strict=True)
        self.log.begun = [None if how is None else begun for how, begun in known]
        return self.log.tree()

    def restore(self, tree: dict[str, Any]) -> Any:
        """Play the episodes of a snapshot again -> observations; EnvError where they end, or an environment raises."""
        self.record()
        assert self.log is not None
        self.log.take(tree)
        self._taken = self.log.taken
        asked: dict[int, tuple[Any, ...]] = {i: ("play", self.log.of(i), {}) for i in range(self.num_envs)}
        self.paid = np.zeros(self.num_envs)
        for i, (obs, paid) in enumerate(self.workers.ask("call", asked, MAKING)):
            self._seen[i], self.paid[i] = obs, paid
            if self._shared:
                write_row(self._buffer, i, obs)
        return self._observed()

    def render(self) -> tuple[Any, ...]:
        return self.call("render")

    def close_extras(self, **kwargs: Any) -> None:
        """Let every worker close its environment, and end those that do not within a second."""
        self.workers.stop()

    def _ask(self, name: str, each: dict[int, tuple[Any, ...]]) -> list[Any]:
        if self.closed:
            raise ClosedEnvironmentError("the environments are closed")
        return self.workers.ask(name, each, TIMEOUT if self.timeout is None else self.timeout)

    def _check_spaces(self) -> None:
        made = self.workers.ask("make", dict.fromkeys(range(self.num_envs), ()), MAKING)
        for i, same in enumerate(made):
            for name, fits in zip(("observation_space", "action_space"), same, strict=True):
                if not fits:
                    raise EnvError(f"env={i}: its {name} is not that of env=0; copies have to have the same spaces")

    def _observed(self) -> Any:
        if not self._shared:
            self._buffer = concatenate(self.single_observation_space, self._seen, self._buffer)
        return self._buffer

    def __del__(self) -> None:
        if not self.closed:
            self.close()


def _shareable(space: Any) -> bool:
    """Whether observations are arrays, or dicts and tuples of arrays."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.spaces.values() if isinstance(space, spaces.Dict) else space.spaces
        return all(map(_shareable, parts))
    return isinstance(space, NUMBERS)

"""What environments show, as the arrays that a policy acts on: anything else is an error with environment and step."""

from typing import Any

import numpy as np

from minirl import _core
from minirl.envs.contract import Misfit, fitted
from minirl.envs.faults import raise_placed
from minirl.errors import NonFiniteError, SpaceError
from minirl.spaces.observation_checks import ObservationError
from minirl.spaces.observations import ObsCodec


class ObservationReader:
    """Observations of B environments -> (B, D), encoded, finite. `step` is the vector's, for messages alone.

    space: of one environment, where final observations have to be held against it; None: the vector has done it.
    """

    def __init__(self, codec: ObsCodec, dtype: np.dtype, num_envs: int, space: Any = None):
        self.codec, self.dtype, self.num_envs, self.space = codec, dtype, num_envs, space
        self.all_envs = np.arange(num_envs)

    def read(self, obs: Any, step: int) -> np.ndarray:
        """What a step or a reset returned -> (B, D); SpaceError for a misfit, NonFiniteError for NaN and infinity."""
        try:
            x = self.codec.encode(obs, self.dtype)
        except SpaceError as why:
            named = why.of_an_env(step, self.all_envs) if isinstance(why, ObservationError) else why
            raise SpaceError(f"step={step}: {named}") from named
        if not _core.all_finite(x):
            raise self._not_finite(obs, x, self.all_envs, step)
        if len(x) != self.num_envs:
            raise SpaceError(f"step={step}: {len(x)} observations of {self.num_envs} environments")
        return x

    def read_final(self, finals: list[Any], envs: np.ndarray, step: int) -> np.ndarray:
        """Final observations (n,) of the environments `envs` (n,) -> (n, D); errors as in `read`, and EnvError."""
        finals = [self._fitted(obs, env, step) for obs, env in zip(finals, envs.tolist(), strict=True)]
        try:
            x = self.codec.encode(self.codec.stack(finals), self.dtype)
        except ObservationError as why:
            raise why.of_an_env(step, envs) from None
        if not _core.all_finite(x):
            raise self._not_finite(finals, x, envs, step)
        return x

    def _fitted(self, obs: Any, env: int, step: int) -> Any:
        """A final observation as its space says, or an error with environment and step."""
        try:
            return obs if self.space is None else fitted(self.space, obs)
        except Misfit as why:
            raise_placed(why, f"env={env}, step={step}")

    def _not_finite(self, obs: Any, x: np.ndarray, envs: np.ndarray, step: int) -> NonFiniteError:
        """The error that names the first number of `obs`, x when encoded, that is NaN or infinite."""
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        entry = int(np.flatnonzero(~np.isfinite(x[row]))[0])
        value = self.codec.as_given(obs, x, row, entry)
        remedy = f"entry {entry} is {value}; fix the environment, or train with dtype float64"
        return NonFiniteError("obs", remedy, env=int(envs[row]), step=step)

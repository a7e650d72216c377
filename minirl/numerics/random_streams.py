"""Randomness: one seed, independent streams by name. Nothing in minirl draws from a global generator."""

from collections.abc import Mapping

import numpy as np

NAMES = ("init", "envs", "actions", "updates", "evaluation", "features")  # the order is part of the format: append only


def stream_seeds(seed: int) -> dict[str, np.random.SeedSequence]:
    """A seed sequence per name, spawned from `seed`: runs with neighbouring seeds share nothing."""
    return dict(zip(NAMES, np.random.SeedSequence(seed).spawn(len(NAMES)), strict=True))


def generator(sequence: np.random.SeedSequence) -> np.random.Generator:
    """The generator of a stream. PCG64 by name: NumPy's default may change, a resumed run must not."""
    return np.random.Generator(np.random.PCG64(sequence))


def integer_seeds(sequence: np.random.SeedSequence, n: int) -> list[int]:
    """n seeds, one per environment, each of a stream of its own; of 31 bits, since many simulators take an int32."""
    return [int(child.generate_state(1)[0]) >> 1 for child in sequence.spawn(n)]


def get_state(rng: np.random.Generator) -> dict[str, object]:
    """The generator's state: strings and integers, JSON-safe."""
    return rng.bit_generator.state  # type: ignore[return-value]  # a dict that is made for each call


def from_state(state: Mapping[str, object]) -> np.random.Generator:
    """A generator that goes on where `state` was taken."""
    rng = np.random.Generator(np.random.PCG64(0))
    rng.bit_generator.state = state
    return rng

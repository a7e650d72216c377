"""The random numbers behind the actions."""

from typing import Any

import numpy as np

from minirl.files.tree import check_like
from minirl.numerics import random_streams

REMEMBERED = 16  # refills since the generators' states were asked for, which takes long where there are many


class ActionNoise:
    """The random numbers behind the actions: a stream per environment, used up one by one by its real steps alone.

    A reset step draws nothing, so what an environment sees does not depend on the autoreset mode or on its neighbours.
    """

    def __init__(self, dist: Any, seed: np.random.SeedSequence, num_envs: int, num_steps: int):
        self.dist = dist
        self.rngs = [random_streams.generator(child) for child in seed.spawn(num_envs)]
        self.ahead = np.stack([dist.noise(rng, num_steps) for rng in self.rngs], axis=1)  # (T, B, …), unused
        self.used = np.zeros(num_envs, dtype=np.intp)
        self.used_by_each: int | None = 0  # all of `used`, as one number while they are equal
        self.columns = np.arange(num_envs)
        self.states: list[dict[str, object]]
        self.drawn: list[np.ndarray]
        self._remember()

    def _remember(self) -> None:
        """The generators' states, for `tree`; later ones are these and the numbers `drawn` since, a row per refill."""
        self.states, self.drawn = [random_streams.get_state(rng) for rng in self.rngs], []

    def refill(self) -> None:
        """Draw what the last rollout used, behind what it left."""
        used = self._used()
        for b, rng in enumerate(self.rngs):
            n = int(used[b])
            if n:
                self.ahead[:, b] = np.concatenate([self.ahead[n:, b], self.dist.noise(rng, n)])
        self.drawn.append(used.copy())
        if len(self.drawn) == REMEMBERED:
            self._remember()
        self.used[:], self.used_by_each = 0, 0

    def _used(self) -> np.ndarray:
        """How many of its numbers each environment has used (B,)."""
        if self.used_by_each is not None:
            self.used[:] = self.used_by_each
        return self.used

    def tree(self) -> dict[str, Any]:
        """The state as arrays and JSON scalars, copied."""
        return {
            "rngs": list(self.states),
            "drawn": np.array(self.drawn, np.int64).reshape(-1, len(self.rngs)),
            "ahead": self.ahead.copy(),
            "used": self._used().copy(),
        }

    def check(self, tree: dict[str, Any]) -> None:
        """ValueError for a tree of another number of environments or steps."""
        check_like({k: tree[k] for k in ("ahead", "used")}, {"ahead": self.ahead, "used": self.used}, "noise")
        if (tree["used"] < 0).any() or (tree["used"] > len(self.ahead)).any() or len(tree["rngs"]) != len(self.rngs):
            raise ValueError(f"noise has to have {len(self.rngs)} generators, and used 0 to {len(self.ahead)} numbers")
        drawn, most = tree["drawn"], len(self.ahead)
        check_like(drawn, np.zeros((len(drawn), len(self.rngs)), np.int64), "noise.drawn")
        if len(drawn) >= REMEMBERED or drawn.min(initial=0) < 0 or drawn.max(initial=0) > most:
            raise ValueError(f"noise.drawn has to have less than {REMEMBERED} rows of 0 to {most} numbers")

    def restore(self, tree: dict[str, Any]) -> None:
        """Go on where `tree` was taken."""
        self.states, self.drawn = list(tree["rngs"]), list(tree["drawn"].astype(np.intp))
        self.rngs = [random_streams.from_state(state) for state in self.states]
        for row in self.drawn:
            for rng, n in zip(self.rngs, row.tolist(), strict=True):
                if n:
                    self.dist.noise(rng, n)  # as `refill` has drawn them
        self.ahead, self.used, self.used_by_each = tree["ahead"].copy(), tree["used"].copy(), None

    def all(self) -> np.ndarray:
        """The numbers of a whole rollout (T, B, …) in which every step is real."""
        self.used_by_each = len(self.ahead)
        return self.ahead

    def next(self, real: np.ndarray | None) -> np.ndarray:
        """One number (or vector) per environment (B, …); only `real` environments (None: all) use theirs up."""
        if real is None and self.used_by_each is not None:
            self.used_by_each += 1
            return self.ahead[self.used_by_each - 1]
        noise = self.ahead[self._used(), self.columns]
        self.used_by_each = None
        self.used += True if real is None else real
        return noise

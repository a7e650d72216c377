"""What a training gives back."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from minirl.config import Config
from minirl.deploy.agent import Agent
from minirl.envs import given
from minirl.errors import shorten
from minirl.training.learner import Update
from minirl.training.notebook_curve import html

C = TypeVar("C", bound=Config, covariant=True)
PATH = 40  # letters of a run directory's name that are shown


@dataclass(frozen=True, repr=False, eq=False)
class Result(Generic[C]):
    """The policy, what each update did, and how it was trained; `policy, history, run = result` takes it apart."""

    policy: Agent
    history: list[Update]
    run: Path | None  # the run directory, where one was asked for
    algorithm: str
    config: C
    interrupted: bool = False  # Ctrl-C ended it: all of this is what there was by then

    def __iter__(self) -> Iterator[Any]:
        return iter((self.policy, self.history, self.run))

    @property
    def curve(self) -> list[tuple[int, float]]:
        """Steps so far and mean return, of the updates in which episodes ended."""
        return [(update.global_step, float(update.returns.mean())) for update in self.history if len(update.returns)]

    def __repr__(self) -> str:
        count, steps = len(self.history), self.history[-1].global_step if self.history else 0
        end = next(
            (f", return {update.returns.mean():.6g}" for update in reversed(self.history) if len(update.returns)), ""
        )
        where = str(self.run)
        where = "" if self.run is None else f", run {where if len(where) <= PATH else '…' + where[1 - PATH :]}"
        stopped = ", interrupted" if self.interrupted else ""
        name = shorten(given.name(self.config.env), 26)
        done = f"{count} update{'' if count == 1 else 's'}, {steps} steps{end}{stopped}{where}"
        return shorten(f"Result({self.algorithm} on {name}: {done})")

    def _repr_html_(self) -> str:
        return html(repr(self), self.curve)

"""What each command does: arguments become flags. `train`, which has an algorithm's fields for flags, stands in `command_train.py`."""

import json
from collections.abc import Callable
from typing import Annotated

import gymnasium
import tyro

from minirl import api
from minirl import plot as plotting
from minirl.algorithms import ALGORITHMS
from minirl.command_train import summary, train
from minirl.console import say
from minirl.errors import UserError
from minirl.evaluation import Evaluation

__all__ = ["COMMANDS", "train"]


def evaluate(
    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN", help="run directory or policy file")],
    episodes: Annotated[int, tyro.conf.arg(help="episodes to play, >= 1")] = 20,
    stochastic: Annotated[bool, tyro.conf.arg(help="sample actions instead of taking the likeliest")] = False,
    seed: Annotated[int, tyro.conf.arg(help="of the episodes, >= 0")] = 0,
    json: Annotated[bool, tyro.conf.arg(help="print one JSON object, with the return of each episode")] = False,
    env: Annotated[str | None, tyro.conf.arg(help="gymnasium id, by itself the one that the policy was trained on")] = None,
) -> int:
    """Play a trained policy: mean ± standard deviation, least and largest return, and mean length of the episodes."""
    played = api.evaluate(run, env, episodes, stochastic, seed)
    if json:
        say(_json(played, stochastic, seed))
    else:
        say(f"{summary(played)}, {'stochastic' if stochastic else 'greedy'}, seed {seed}")
    return 0


def _json(played: Evaluation, stochastic: bool, seed: int) -> str:
    returns, lengths = played.returns, played.lengths
    numbers = {"mean": played.mean, "std": played.std, "min": float(returns.min()), "max": float(returns.max())}
    how = {"length": float(lengths.mean()), "episodes": len(returns), "stochastic": stochastic, "seed": seed}
    return json.dumps(numbers | how | {"returns": returns.tolist(), "lengths": lengths.tolist()})


def plot(
    runs: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="RUN...", help="run directories")],
    out: Annotated[
        str | None, tyro.conf.arg(help="picture, .png, .svg or .pdf; by itself RUN/curve.png, or curves.png for several")
    ] = None,
) -> int:
    """Draw learning curves: one line per run, or mean ± standard deviation where an algorithm has several."""
    if not runs:
        raise UserError("plot needs a run directory, or several")
    say(f"drawn: {plotting.plot(runs, out)}")
    return 0


def list_all(
    envs: Annotated[
        tuple[str, ...] | None,
        tyro.conf.arg(metavar="[FILTER]", help="list gymnasium's environments instead, those whose id contains FILTER"),
    ] = None,
) -> int:
    """List the algorithms, or the environments that are registered here."""
    if envs is None:
        for algorithm in ALGORITHMS.values():
            say(f"{algorithm.name:6s} {algorithm.summary}")
        return 0
    found = [name for name in sorted(gymnasium.registry) if all(part.lower() in name.lower() for part in envs)]
    if not found:
        raise UserError(f"no environment id contains {' '.join(envs)!r}")
    say("\n".join(found))
    return 0


COMMANDS: dict[str, Callable[..., int]] = {"eval": evaluate, "plot": plot, "list": list_all}

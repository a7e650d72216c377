"""What each command does. Its flags are a dataclass: the field is the flag, the comment beside it the help.

`train`, whose flags depend on the algorithm, stands in `train.py`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import gymnasium

from minirl import api, equations, equations_page
from minirl.algorithms import ALGORITHMS
from minirl.cli.console import complain, say, width
from minirl.cli.train import summary
from minirl.config import AtLeastOne, NonNegative, check_ranges
from minirl.errors import FileError, UserError
from minirl.evaluation import Evaluation
from minirl.runs import plot as plotting
from minirl.theory import demo, figures


@dataclass(frozen=True)
class Eval:
    """Play a trained policy: mean ± standard deviation, least and largest return, and mean length of the episodes."""

    run: Path  # run directory or policy file
    episodes: Annotated[int, AtLeastOne] = 20  # episodes to play, >= 1
    stochastic: bool = False  # sample actions instead of taking the likeliest
    seed: Annotated[int, NonNegative] = 0  # of the episodes, >= 0
    json: bool = False  # print one JSON object, with the return of each episode
    env: str | None = None  # gymnasium id; None is the one that the policy was trained on

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Plot:
    """Draw learning curves: a line per setting, with a band where it has several runs; a panel per environment."""

    runs: tuple[Path, ...]  # run directories, or folders of them
    out: Path | None = None  # .png, .svg or .pdf; None is RUN/curve.png, or curves.png for several runs
    y: str = plotting.RETURN  # column of metrics.csv, with or without what stands before its slash: approx_kl
    band: Literal["minmax", "ci", "std"] = "minmax"  # range of the runs, 95 % interval of their mean, mean ± deviation


@dataclass(frozen=True)
class List:
    """List the algorithms, or gymnasium's environments."""

    envs: tuple[str, ...] | None = None  # list environments, those whose id contains each of these words


@dataclass(frozen=True)
class Equations:
    """Look up the equations of the documents: formula, lines of code, tests, measured error, remarks."""

    words: tuple[str, ...]  # tags (TR-9) or words to search for; none lists all
    markdown: bool = False  # print the whole index as the page docs/equations.md


@dataclass(frozen=True)
class Demo:
    """Show one proposed step as TRPO and PPO see it: the worked numbers of the documents, computed here."""


@dataclass(frozen=True)
class Figures:
    """Draw the documents' three figures, and the tightness of the bound, from the library's own computations."""

    out: Path = Path("figures")  # directory for fig-1.png, fig-2.png, fig-3.png and bound.png


def evaluate(flags: Eval) -> int:
    played = api.evaluate(flags.run, flags.env, flags.episodes, flags.stochastic, flags.seed)
    say(_json(played, flags) if flags.json else f"{summary(played)}, {'stochastic' if flags.stochastic else 'greedy'}, seed {flags.seed}")
    return 0


def _json(played: Evaluation, flags: Eval) -> str:
    returns, lengths = played.returns, played.lengths
    numbers = {"mean": played.mean, "std": played.std, "min": float(returns.min()), "max": float(returns.max())}
    how = {"length": float(lengths.mean()), "episodes": len(returns), "stochastic": flags.stochastic, "seed": flags.seed, "cut": played.cut}
    return json.dumps(numbers | how | {"returns": returns.tolist(), "lengths": lengths.tolist()})


def plot(flags: Plot) -> int:
    if not flags.runs:
        raise UserError("plot needs a run directory, or several")
    say(f"drawn: {plotting.plot(flags.runs, flags.out, flags.y, flags.band, complain)}")
    return 0


def list_all(flags: List) -> int:
    if flags.envs is None:
        for algorithm in ALGORITHMS.values():
            say(f"{algorithm.name:10s} {algorithm.summary}")
        return 0
    import minirl.envs  # noqa: F401  # registers its own

    found = [name for name in sorted(gymnasium.registry) if all(word.lower() in name.lower() for word in flags.envs)]
    if not found:
        raise UserError(f"no environment id contains {' '.join(flags.envs)!r}")
    say("\n".join(found))
    return 0


def show_equations(flags: Equations) -> int:
    for line in equations_page.page(equations.load()) if flags.markdown else equations.main_lines(flags.words, width()):
        say(line)
    return 0


def demonstrate(_flags: Demo) -> int:
    for line in demo.lines():
        say(line)
    return 0


def draw_figures(flags: Figures) -> int:
    try:
        drawn = figures.draw_all(flags.out)
    except ModuleNotFoundError as why:
        raise UserError('drawing needs matplotlib: pip install ".[plot]"') from why
    except OSError as why:
        raise FileError(f"--out {flags.out}: {why.strerror or why}") from why
    for path in drawn:
        say(f"drawn: {path}")
    return 0


COMMANDS: dict[str, tuple[type, Callable[[Any], int]]] = {
    "eval": (Eval, evaluate),
    "plot": (Plot, plot),
    "list": (List, list_all),
    "equations": (Equations, show_equations),
    "demo": (Demo, demonstrate),
    "figures": (Figures, draw_figures),
}

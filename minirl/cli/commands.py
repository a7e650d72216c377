"""What each command does. Its flags are a dataclass: the field is the flag, the comment beside it the help.

`train`, whose flags depend on the algorithm, stands in `train.py`.
"""

import json
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from minirl.cli.console import complain, say, say_all, width, write_utf8
from minirl.cli.flags import flags_of
from minirl.cli.live import open_view
from minirl.cli.play import Play, play_against
from minirl.cli.tables import env_ids, run_lines
from minirl.cli.train import play, run_through, summary
from minirl.cli.values import literal
from minirl.config import AtLeastOne, NonNegative, Range, check_ranges
from minirl.deploy.team import load_policy
from minirl.envs import given
from minirl.equations import index, page
from minirl.errors import FileError, UserError
from minirl.methods import every
from minirl.multiagent.league import tournament
from minirl.runs import league_picture
from minirl.runs import plot as plotting
from minirl.runs.directory import current
from minirl.runs.listing import find_runs
from minirl.runs.record import CONFIG, NOT_STORED, read_record
from minirl.runs.resume import configuration, resumed
from minirl.runs.verify import verify
from minirl.theory import demo, figures
from minirl.training.evaluation import Evaluation


@dataclass(frozen=True)
class Eval:
    """Play a trained policy: mean ± standard deviation, least and largest return, and mean length of the episodes."""

    run: Path  # run directory or policy file
    episodes: Annotated[int, AtLeastOne] = 20  # episodes to play, >= 1
    stochastic: bool = False  # sample actions instead of taking the likeliest
    seed: Annotated[int, NonNegative] = 0  # of the episodes, >= 0
    json: bool = False  # print one JSON object, with the return of each episode
    env: str | None = None  # gymnasium id; None is the one that the policy was trained on
    import_: str | None = None  # MODULE:NAME in place of --env: the module is imported, which no file may ask for
    env_kwargs: dict[str, Any] = field(default_factory=dict)  # arguments of the environment, over those of its training

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Resume:
    """Go on with a run after its last checkpoint, as if nothing had happened: the same numbers to the last bit."""

    run: Path  # run directory
    env: str | None = None  # what it was trained on, where config.json does not say it
    import_: str | None = None  # MODULE:NAME in place of --env: the module is imported, which no file may ask for
    total_timesteps: Annotated[int, AtLeastOne] | None = None  # train to here; None is where it was to end
    eval_episodes: Annotated[int, NonNegative] = 20  # episodes that the trained policy plays at the end, >= 0
    quiet: bool = False  # print nothing but errors

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Verify:
    """Train a run again from its config.json and compare every number that it wrote."""

    run: Path  # run directory
    env: str | None = None  # what it was trained on, where config.json does not say it
    import_: str | None = None  # MODULE:NAME in place of --env: the module is imported, which no file may ask for
    quiet: bool = False  # print the result alone


@dataclass(frozen=True)
class Plot:
    """Draw learning curves: a line per setting, with a band where it has several runs; a panel per environment."""

    runs: tuple[Path, ...]  # run directories, or folders of them
    out: Path | None = None  # .png, .svg or .pdf; None is RUN/curve.png, or curves.png for several runs
    y: str = plotting.RETURN  # column of metrics.csv, with or without what stands before its slash: approx_kl
    band: Literal["minmax", "ci", "std"] = "minmax"  # range of the runs, 95 % interval of their mean, mean ± deviation


@dataclass(frozen=True)
class League:
    """Let the checkpoints of a run of self-play play each other: payoffs and Elo ratings, as a table and a picture."""

    run: Path  # run directory of self-play
    games: Annotated[int, Range(2)] = 100  # games of each pair, half of them on each side, >= 2
    checkpoints: Annotated[int, AtLeastOne] = 20  # how many of them, evenly spaced, besides a random player, >= 1
    seed: Annotated[int, NonNegative] = 0  # of the games, >= 0
    out: Path | None = None  # .png; None is RUN/league.png

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class List:
    """List the algorithms, gymnasium's environments, or runs: what differs between them, and their last return."""

    runs: tuple[Path, ...] | None = None  # list the runs in these directories; without one, those in runs
    envs: tuple[str, ...] | None = None  # list environments, those whose id contains each of these words


@dataclass(frozen=True)
class Equations:
    """Look up the equations of the documents: formula, lines of code, tests, measured error, remarks."""

    words: tuple[str, ...]  # tags (TR-9) or words to search for; none lists all
    markdown: bool = False  # print the whole index as the page docs/index.md


@dataclass(frozen=True)
class Demo:
    """Show one proposed step as TRPO and PPO see it: the worked numbers of the documents, computed here."""


@dataclass(frozen=True)
class Figures:
    """Draw the documents' three figures, and the tightness of the bound, from the library's own computations."""

    out: Path = Path("figures")  # directory for fig-1.png, fig-2.png, fig-3.png and bound.png


def evaluate(flags: Eval) -> int:
    run = current() / flags.run  # an environment may change the current directory
    policy, about = load_policy(flags.run)
    env, env_kwargs = _environment(flags, about["env"]), flags.env_kwargs
    if given.same(env, about["env"]):
        env_kwargs = _trained_with(run, about["env"]) | env_kwargs
        missing = [name for name, value in env_kwargs.items() if isinstance(value, dict) and NOT_STORED in value]
        if missing:
            raise UserError(f"env_kwargs = {', '.join(missing)}: config.json could not hold them, name them here")
    traces = run if (run / CONFIG).is_file() else None
    played = play(policy, about["algorithm"], env, env_kwargs, flags.episodes, flags.stochastic, flags.seed, traces)
    how = "stochastic" if flags.stochastic else "greedy"
    say(_json(played, flags) if flags.json else f"{summary(played)}, {how}, seed {flags.seed}")
    return 0


def resume(flags: Resume) -> int:
    changes = {} if flags.total_timesteps is None else {"total_timesteps": flags.total_timesteps}
    opened = resumed(flags.run, _environment_of_run(flags), changes)
    return run_through(opened, flags.eval_episodes, flags.quiet)


def verify_run(flags: Verify) -> int:
    env, about = _environment_of_run(flags), read_record(flags.run)
    _, config = configuration(about, str(flags.run), env)
    with open_view(f"verify {flags.run}", config.total_timesteps, flags.quiet) as view:
        verified = verify(flags.run, env, view.show)
    say_all(verified.lines())
    return int(verified.update is not None)


def _environment_of_run(flags: Resume | Verify) -> str | None:
    """What a run's config.json may not name by itself; None where it may."""
    about = read_record(flags.run).get("config")
    known = about.get("env") if isinstance(about, dict) else None
    env = _environment(flags, known if isinstance(known, str) else "")
    return None if env == known and not flags.env and not flags.import_ else env


def _environment(flags: Eval | Resume | Verify, known: str) -> str:
    """What to play in: what the flags name, else what the file does, but for a module to import. UserError."""
    if flags.import_ is not None and flags.env is not None:
        raise UserError(f"--import = {flags.import_!r} beside --env {flags.env}: give one of them")
    if flags.import_ is not None and not re.fullmatch(r"[^:]+:[^:]+", flags.import_):
        raise UserError(f"--import = {flags.import_!r}: takes MODULE:NAME, an environment and the module that has it")
    env = flags.env or flags.import_
    if not env and not known:
        named = "name it with --env ID, or --import MODULE:NAME"
        raise UserError(f"{flags.run} was trained on an environment that no file can name: {named}")
    if not env and given.would_import(known):  # a file does not get to say that
        name = type(flags).__name__.lower()
        command = shlex.join(["minirl", name, *_typed(flags), "--import" if ":" in known else "--env", known])
        raise UserError(f"{flags.run} was trained on {known}, which would import a module; if you trust it: {command}")
    return env or known


def _trained_with(run: Path, env: str) -> dict[str, Any]:
    """The arguments of the environment in a run's config.json; none for a policy file without one beside it."""
    config = (run if run.is_dir() else run.parent) / CONFIG
    if not os.path.lexists(config):
        return {}
    try:
        about = read_record(config.parent).get("config")
        kwargs = about.get("env_kwargs", {}) if isinstance(about, dict) and about.get("env") == env else {}
        if not isinstance(kwargs, dict):
            raise FileError(f"{config} is no configuration of a run: its 'env_kwargs' are no object")
    except FileError:
        if run.is_dir():
            raise
        return {}  # what lies beside a policy file may be of another origin
    return kwargs


def _typed(flags: Any) -> list[str]:
    """The words that these flags are made of, those at their defaults left out."""
    words: list[str] = []
    for flag in flags_of(type(flags)).values():
        value = vars(flags)[flag.field]
        if flag.positional:
            words.append(str(value))
        elif flag.kind is dict and value:
            words += [flag.name, *(f"{name}={_as_text(each)}" for name, each in value.items())]
        elif value != flag.default:
            words += [flag.name] if value is True else [flag.name, str(value)]
    return words


def _as_text(value: Any) -> str:
    return str(value) if literal(str(value)) == value else repr(value)


def _json(played: Evaluation, flags: Eval) -> str:
    returns, lengths = played.returns, played.lengths
    numbers = {"mean": played.mean, "std": played.std, "min": float(returns.min()), "max": float(returns.max())}
    how = {
        "length": float(lengths.mean()),
        "episodes": len(returns),
        "stochastic": flags.stochastic,
        "seed": flags.seed,
        "cut": played.cut,
    }
    return json.dumps(numbers | how | {"returns": returns.tolist(), "lengths": lengths.tolist()})


def plot(flags: Plot) -> int:
    if not flags.runs:
        raise UserError("plot needs a run directory, or several")
    say(f"drawn: {plotting.plot(flags.runs, flags.out, flags.y, flags.band, complain)}")
    return 0


def league(flags: League) -> int:
    played = tournament(flags.run, flags.games, flags.checkpoints, flags.seed)
    say_all(played.lines())
    say(f"drawn: {league_picture.picture(played, flags.out or flags.run / league_picture.FILE)}")
    return 0


def list_all(flags: List) -> int:
    if flags.runs is not None:
        say_all(run_lines(find_runs(*(flags.runs or (Path("runs"),))), width()))
    elif flags.envs is None:
        say_all(f"{algorithm.name:10s} {algorithm.summary}" for algorithm in every().values())
    if flags.envs is not None:
        say_all(env_ids(flags.envs))
    return 0


def show_equations(flags: Equations) -> int:
    if flags.markdown:
        write_utf8()
    say_all(page.page(index.load()) if flags.markdown else index.main_lines(flags.words, width()))
    return 0


def demonstrate(_flags: Demo) -> int:
    say_all("\n".join(demo.lines()).split("\n"))
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
    "resume": (Resume, resume),
    "verify": (Verify, verify_run),
    "eval": (Eval, evaluate),
    "plot": (Plot, plot),
    "play": (Play, play_against),
    "league": (League, league),
    "list": (List, list_all),
    "equations": (Equations, show_equations),
    "demo": (Demo, demonstrate),
    "figures": (Figures, draw_figures),
}

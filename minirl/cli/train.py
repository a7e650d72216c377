"""`minirl train ALGORITHM`: flags are the fields of the algorithm's configuration, their help the comments there."""

import contextlib
import shlex
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from minirl import methods
from minirl._core import COMPILED, REFERENCE
from minirl.cli import help
from minirl.cli.console import complain, say, say_all, width
from minirl.cli.flags import did_you_mean, flags_of, parse
from minirl.cli.live import open_view
from minirl.config import AtLeastOne, NonNegative, check_ranges
from minirl.deploy.agent import Agent
from minirl.deploy.team import Team
from minirl.envs import faults
from minirl.errors import EnvRaisedError, FileError, MinirlError, NonFiniteError, UserError
from minirl.files.atomic import write_atomically
from minirl.methods import every, having
from minirl.runs.interrupt import StoppedError
from minirl.runs.recorder import Recording
from minirl.runs.session import Training, training
from minirl.training.evaluation import Evaluation

TRACEBACK = "traceback.txt"
TWINS = "the compiled core is not built; running on the NumPy twins (same results, slower)"


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the run goes, and what is shown of it."""

    run: str = "auto"  # run directory; auto is runs/ENV-ALGORITHM-SEED-N with the first free N
    track: Literal["tensorboard"] | None = None  # also write the metrics for TensorBoard, into RUN/tensorboard
    save_every: Annotated[int, AtLeastOne] | None = None  # updates between two saves, >= 1; None: 20, and 5 seconds
    eval_every: Annotated[int, NonNegative] = 0  # updates between two evaluations on the way, the best is kept; 0: none
    eval_episodes: Annotated[int, NonNegative] = 20  # episodes of each, and that the policy plays at the end, >= 0
    quiet: bool = False  # print nothing but errors

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.eval_every and not self.eval_episodes:
            raise UserError(f"eval_every = {self.eval_every}: it needs eval_episodes of at least 1")


def train(argv: list[str]) -> int:
    """`minirl train ALGORITHM [flags]`; --help without an algorithm says which there are."""
    if not argv:
        raise UserError(f"train needs an algorithm: {', '.join(every())}; `minirl train --help` explains them")
    name, rest = argv[0].lower(), argv[1:]
    if name in ("-h", "--help", "--help-all"):
        say_all(help.algorithms(width()))
        return 0
    if name.startswith("-"):
        raise UserError(f"train needs an algorithm before {argv[0]}: {', '.join(every())}")
    if name not in every():
        raise UserError(f"algorithm {argv[0]!r}: takes one of {', '.join(every())}{did_you_mean(name, every())}")
    config = every()[name].config
    flags = flags_of(config, Output)
    if help.is_asked(rest):
        say_all(help.algorithm(name, flags.values(), "--help-all" in rest, width()))
        return 0
    _refuse_flags_of_others(name, rest)

    def make(config: config, output: Output) -> Any:  # type: ignore[valid-type]
        return config, output

    made = parse(make, rest, f"minirl train {name}", flags)
    return 0 if made is None else _train(name, *made)


def _refuse_flags_of_others(name: str, argv: list[str]) -> None:
    """UserError for a flag that only other algorithms have, with their names."""
    for flag in (word.split("=")[0] for word in argv if word.startswith("--")):
        others = having(flag.removeprefix("--").removeprefix("no-").replace("-", "_"))
        if others and name not in others:
            raise UserError(f"{name} has no {flag}: {methods.listed(others)} can do that")


def _train(name: str, config: Any, output: Output) -> int:
    """Train, save, evaluate; the exit code."""
    command = shlex.join(["minirl", *sys.argv[1:]])
    recording = Recording(output.track, output.save_every, output.eval_every, output.eval_episodes)
    opened = training(every()[name], config, output.run, recording, command)
    return run_through(opened, output.eval_episodes, output.quiet)


def run_through(opened: Any, eval_episodes: int, quiet: bool) -> int:
    """Train a session to its end, with all that is said about it; the exit code."""
    tell = _silent if quiet else say
    session: Training | None = None
    try:
        with opened as session:
            _introduce(session, tell)
            _loop(session, quiet)
    except StoppedError as why:
        _say_how_to_go_on(why, session, tell)
        return 128 + why.signum
    except NonFiniteError as why:
        raise MinirlError(f"{why}" + (f"; the last finite policy is in {session.name}" if session else "")) from why
    except EnvRaisedError as why:
        raise _unexpected(why, session) from why
    except MinirlError:
        raise
    except Exception as why:
        raise _unexpected(why, session) from why

    learner, config = session.learner, session.learner.config
    tell(f"done {_how_far(session)}")
    for line in filter(None, (session.best, session.note)):
        tell(line)
    # What has a vector entry point need not exist as a single environment.
    if eval_episodes and config.vectorization == "vector_entry_point":
        tell(f"not evaluated: vector_entry_point; `minirl eval {session.name}` tries the single environment")
    elif eval_episodes:
        name = learner.algorithm.name
        played = play(learner.policy, name, config.env, config.env_kwargs, eval_episodes, traces=session.path)
        tell(f"greedy policy: {summary(played)}")
    return 0


def _how_far(session: Training) -> str:
    learner = session.learner
    updates = "1 update" if learner.updates == 1 else f"{learner.updates} updates"
    return f"after {learner.global_step} steps and {updates}, saved in {session.name}"


def _say_how_to_go_on(why: StoppedError, session: Training | None, tell: Callable[[str], None]) -> None:
    """What a signal has left, and the command that goes on with it."""
    if session is None:
        tell(f"{why} before the first update: nothing was trained")
        return
    tell(f"{why} {_how_far(session)}")
    for line in filter(None, (session.best, session.note)):
        tell(line)
    tell(f"to go on: minirl resume {shlex.quote(session.name)}")


def play(
    policy: Agent | Team,
    method: str,
    env: str,
    env_kwargs: dict[str, Any],
    episodes: int,
    stochastic: bool = False,
    seed: int = 0,
    traces: Path | None = None,
) -> Evaluation:
    """An evaluation; what the environment raises becomes one sentence, its traceback goes into `traces`."""
    try:
        return methods.evaluate(policy, method, env, episodes, stochastic, seed, env_kwargs)
    except EnvRaisedError as why:
        kept = f"; the traceback is in {traces / TRACEBACK}" if traces and _keep_traceback(why, traces) else ""
        raise EnvRaisedError(f"the evaluation ended early: {why}{kept}") from why


def _silent(_text: str) -> None:
    pass


def _introduce(session: Training, tell: Callable[[str], None]) -> None:
    """What is trained, where, and on what."""
    learner = session.learner
    cfg, name = learner.config, learner.algorithm.name
    tell(f"{name} on {cfg.env}, seed {cfg.seed}: {cfg.total_timesteps} steps in {cfg.num_envs} environments")
    if learner.updates:
        tell(f"resumed after update {learner.updates}, {learner.global_step} steps")
    core = "compiled core" if COMPILED else "NumPy twins"
    tell(f"{learner.size}; {core}")
    tell(f"run directory {session.name}")
    if not COMPILED and not REFERENCE:
        complain(TWINS)


def _loop(session: Training, quiet: bool) -> None:
    learner = session.learner
    config = learner.config
    title = f"{learner.algorithm.name} · {config.env} · seed {config.seed}"
    with open_view(title, config.total_timesteps, quiet) as view:
        for update in session:
            view.show(update)


def _unexpected(why: Exception, session: Training | None) -> MinirlError:
    """One sentence for what an environment, or minirl, raised in training; the run directory gets the traceback."""
    if session is None or session.path is None:
        for line in "".join(traceback.format_exception(why)).splitlines():
            complain(line)
        return MinirlError(_said(why))
    if session.recorder is not None and session.recorder.lost:
        _keep_traceback(why, session.path)
        return MinirlError(_said(why))  # what is saved was said in a warning
    kept = "and the traceback are" if _keep_traceback(why, session.path) else "is"
    return MinirlError(f"{_said(why)}; the policy after {session.learner.global_step} steps {kept} in {session.name}")


def _said(why: BaseException) -> str:
    """The exception, its message on one line, and where it was raised: environment and step if an environment did."""
    return str(why) if isinstance(why, EnvRaisedError) else faults.described(why)


def _keep_traceback(why: BaseException, directory: Path) -> bool:
    text = "".join(traceback.format_exception(why))
    with contextlib.suppress(FileError):
        write_atomically(directory / TRACEBACK, text.encode("utf-8", "backslashreplace"))
        return True
    return False


def summary(played: Evaluation) -> str:
    """The statistics of an evaluation on one line."""
    returns = played.returns
    spread = f"return {played.mean:.2f} ± {played.std:.2f}, min {returns.min():.2f}, max {returns.max():.2f}"
    return f"{spread}, length {played.lengths.mean():.1f}, {len(returns)} episodes"

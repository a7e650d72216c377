"""`minirl train ALGORITHM`: the flags are the fields of the algorithm's configuration, their help the comments beside them."""

import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from minirl import environments, evaluation
from minirl._core import COMPILED, REFERENCE
from minirl.algorithms import ALGORITHMS, find, having
from minirl.cli.console import complain, say
from minirl.cli.live import open_view
from minirl.config import AtLeastOne, NonNegative, check_ranges
from minirl.errors import MinirlError, NonFiniteError, UserError
from minirl.evaluation import Evaluation
from minirl.runs.interrupt import Stop, stop_on_signals
from minirl.runs.training import SAVE_EVERY, Training, training

TWINS = "the compiled core is not built; running on the NumPy twins (same results, slower)"


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where the run goes, and what is shown of it."""

    run: str = "auto"  # run directory; auto is runs/ENV-ALGORITHM-SEED-N with the first free N
    track: Literal["tensorboard"] | None = None  # also write the metrics for TensorBoard, into RUN/tensorboard
    save_every: Annotated[int, AtLeastOne] = SAVE_EVERY  # updates between two saves of the policy, >= 1
    eval_episodes: Annotated[int, NonNegative] = 20  # episodes that the trained policy plays at the end, >= 0
    quiet: bool = False  # print nothing but errors

    def __post_init__(self) -> None:
        check_ranges(self)


def train(argv: list[str], parse: Callable[..., Any]) -> int:
    """`minirl train ALGORITHM [flags]`; --help without an algorithm shows the flags of all."""
    if not argv or argv[0] in ("-h", "--help"):
        if not argv:
            raise UserError(f"train needs an algorithm: {', '.join(ALGORITHMS)}; `minirl train --help` explains them")
        say("usage: minirl train ALGORITHM [flags]\n")
        for a in ALGORITHMS.values():
            say(f"  {a.name:10s} {a.summary}")
        for name in ALGORITHMS:
            say()
            parse(_flags(name), ["--help"], f"minirl train {name}")
        return 0
    if argv[0].startswith("-"):
        raise UserError(f"train needs an algorithm before {argv[0]}: {', '.join(ALGORITHMS)}")
    _refuse_flags_of_others(argv[0], argv[1:])
    flags = parse(_flags(argv[0]), argv[1:], f"minirl train {argv[0]}")
    return 0 if flags is None else _train(argv[0], *flags)


def _refuse_flags_of_others(name: str, argv: list[str]) -> None:
    """UserError for a flag that only other algorithms have, with their names."""
    for flag in (word for word in argv if word.startswith("--")):
        others = having(flag.split("=")[0].removeprefix("--").removeprefix("no-").replace("-", "_"))
        if others and name not in others:
            raise UserError(f"{name} has no {flag}: {' and '.join(others)} can do that")


def _flags(name: str) -> Callable[..., Any]:
    """The function whose arguments are the flags of `minirl train NAME`: it only hands them back."""
    algorithm = find(name)

    def flags(config: algorithm.config, output: Output) -> Any:  # type: ignore[name-defined]
        return config, output

    flags.__doc__ = f"{name}: {algorithm.summary}."
    return flags


def _train(name: str, config: Any, output: Output) -> int:
    """Train, save, evaluate; the exit code."""
    tell = _silent if output.quiet else say
    command = shlex.join(["minirl", *sys.argv[1:]])
    session: Training | None = None
    try:
        with (
            stop_on_signals() as stop,
            training(name, config, output.run, output.track, output.save_every, command) as session,
        ):
            _introduce(name, session, tell)
            _loop(name, session, stop, output.quiet)
    except NonFiniteError as why:
        raise MinirlError(f"{why}" + (f"; the last finite policy is in {session.path}" if session else "")) from why
    except MinirlError:
        raise
    except Exception as why:
        raise _unexpected(why, session) from why

    learner = session.learner
    end = f"stopped by {signal.Signals(stop.signum).name}" if stop.signum else "done"
    updates = "1 update" if learner.updates == 1 else f"{learner.updates} updates"
    tell(f"{end} after {learner.global_step} steps and {updates}, saved in {session.path}")
    if session.note:
        tell(session.note)
    if stop.signum:
        return 128 + stop.signum
    if output.eval_episodes and config.vectorization == "vector_entry_point":  # it may not exist as a single environment
        tell(f"not evaluated: vector_entry_point; `minirl eval {session.path}` tries the single environment")
    elif output.eval_episodes:
        played = evaluation.evaluate(learner.policy, config.env, output.eval_episodes, env_kwargs=config.env_kwargs)
        tell(f"greedy policy: {summary(played)}")
    return 0


def _silent(_text: str) -> None:
    pass


def _introduce(name: str, session: Training, tell: Callable[[str], None]) -> None:
    """What is trained, where, and on what."""
    learner = session.learner
    obs, dist, cfg = learner.collector.obs_codec, learner.nets.policy.dist, learner.config
    kind = f"{dist.num_params} actions" if dist.name == "categorical" else f"{dist.action_shape[0]}-dimensional actions"
    tell(f"{name} on {cfg.env}, seed {cfg.seed}: {cfg.total_timesteps} steps in {learner.collector.num_envs} environments")
    core = "compiled core" if COMPILED else "NumPy twins"
    tell(f"{obs.dim} inputs, {kind}, {learner.nets.policy.num_params} policy parameters; {core}")
    tell(f"run directory {session.path}")
    if not COMPILED and not REFERENCE:
        complain(TWINS)


def _loop(name: str, session: Training, stop: Stop, quiet: bool) -> None:
    config = session.learner.config
    with open_view(f"{name} · {config.env} · seed {config.seed}", config.total_timesteps, quiet) as view:
        for update in session:
            view.show(update)
            if stop.signum:
                break


def _unexpected(why: Exception, session: Training | None) -> MinirlError:
    """One sentence for what an environment, or minirl, raised; the traceback goes into the run directory."""
    frame = traceback.extract_tb(why.__traceback__)[-1]
    place = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
    text = f"{type(why).__name__}: {environments.one_line(why)} ({place})"
    if session is None or session.path is None:
        traceback.print_exception(why)
        return MinirlError(text)
    (session.path / "traceback.txt").write_text("".join(traceback.format_exception(why)), "utf-8", "backslashreplace")
    step = session.learner.global_step
    return MinirlError(f"{text}; the policy after {step} steps and the traceback are in {session.path}")


def summary(played: Evaluation) -> str:
    """The statistics of an evaluation on one line."""
    returns = played.returns
    spread = f"return {played.mean:.2f} ± {played.std:.2f}, min {returns.min():.2f}, max {returns.max():.2f}"
    return f"{spread}, length {played.lengths.mean():.1f}, {len(returns)} episodes"

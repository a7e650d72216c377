"""`minirl play RUN`: a person against the policy, in the terminal."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np

from minirl.cli.console import ask, say, say_all
from minirl.config import NonNegative, check_ranges
from minirl.deploy.agent import Agent
from minirl.deploy.team import load_policy
from minirl.envs.games import Game, make_game
from minirl.errors import SpaceError, UserError

SEATS = ("first", "second")


@dataclass(frozen=True)
class Play:
    """Play a game against a policy: type the number or the name of a move; Ctrl-C or the end of input leaves."""

    run: Path  # run directory or policy file
    side: Literal["first", "second"] = "first"  # which player you are
    stochastic: bool = False  # the policy samples its moves instead of taking the likeliest
    seed: Annotated[int, NonNegative] | None = None  # of cards and sampled moves, >= 0; None is another one each time
    env: str | None = None  # the game; None is the one that the policy was trained on

    def __post_init__(self) -> None:
        check_ranges(self)


def play_against(flags: Play) -> int:
    """One game; the exit code."""
    policy, about = load_policy(flags.run)
    if not isinstance(policy, Agent):
        raise UserError(f"{flags.run} holds a team of policies: play takes one of `minirl train selfplay`")
    game, rng, you = make_game(flags.env or about["env"], 1), np.random.default_rng(flags.seed), SEATS.index(flags.side)
    check_fits(policy, game, flags)
    game.reset(np.ones(1, bool), rng)
    say(f"{flags.env or about['env']}: you are the {flags.side} player")
    try:
        while not game.over[0]:
            if not one_move(game, policy, you, rng if flags.stochastic else None):
                say("the input has ended: the game is left")
                return 0
    except KeyboardInterrupt:
        say()
        say("the game is left")
        return 130
    say_all(game.text(0, you).split("\n"))
    say(result(float(game.payoff[0, you])))
    return 0


def check_fits(policy: Agent, game: Game, flags: Play) -> None:
    """SpaceError where the policy was trained on something else than this game."""
    moves = policy.policy.dist.num_params if policy.action_codec.maskable else 0
    if (policy.obs_codec.dim, moves) != (game.obs_dim, game.num_actions):
        shows = f"this game shows {game.obs_dim} numbers and has {game.num_actions} moves"
        raise SpaceError(f"{flags.run} was trained for {policy.obs_codec} and {policy.action_codec}: {shows}")


def one_move(game: Game, policy: Agent, you: int, rng: np.random.Generator | None) -> bool:
    """The next move, of both players where they move at once; False where the person's input has ended."""
    person, other = np.array([you]), np.array([1 - you])
    if game.simultaneous or game.to_move[0] == you:
        say_all(game.text(0, you).split("\n"))
        mine = asked(game, game.legal(person)[0])
        if mine is None:
            return False
        if not game.simultaneous:
            game.play(np.array([mine]))
            return True
    theirs = int(policy.act_batch(game.observe(other), rng, game.legal(other))[0])
    say(f"they: {game.action_name(theirs)}")
    if game.simultaneous:
        game.play(np.array([[mine, theirs] if you == 0 else [theirs, mine]]))
    else:
        game.play(np.array([theirs]))
    return True


def asked(game: Game, legal: np.ndarray) -> int | None:
    """A legal move (K,) bool that the person types, by number or name; None at the end of the input."""
    names = {int(action): game.action_name(int(action)) for action in np.flatnonzero(legal)}
    choices = ", ".join(f"{action} {name}" for action, name in names.items())
    say(f"your moves: {choices}")
    while (line := ask("> ")) is not None:
        word = " ".join(line.split()).lower()
        found = [a for a, name in names.items() if word in (str(a), name.lower())]
        found = found or [a for a, name in names.items() if word and name.lower().startswith(word)]
        if len(found) == 1:
            return found[0]
        say(f"{word[:40]!r} is no move here: type one of {choices}")
    return None


def result(payoff: float) -> str:
    """How the game ended for the person."""
    if payoff == 0:
        return "a draw"
    return f"you {'win' if payoff > 0 else 'lose'}" + (f" {abs(payoff):g}" if abs(payoff) != 1 else "")

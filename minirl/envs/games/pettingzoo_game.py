"""PettingZoo's turn-based games of two players with action masks, B of them stepped one after the other."""

import importlib
import re
import warnings
from collections.abc import Callable
from typing import Any, NoReturn, Self

import numpy as np

from minirl.envs.faults import one_line, raise_placed
from minirl.envs.games.game import Boards, drawn, live_moves
from minirl.errors import EnvError
from minirl.numerics.arrays import Array


def maker(name: str) -> Callable[[], Any]:
    """What makes PettingZoo's classic game of this name, tictactoe_v3 for instance; EnvError where there is none."""
    module, remedy = f"pettingzoo.classic.{name}", "give one of them, such as tictactoe_v3 or connect_four_v3"
    unknown = f"env = 'pettingzoo/{name}' is none of PettingZoo's classic games: {remedy}"
    if not re.fullmatch(r"\w+_v\d+", name):  # a policy file may say it
        raise EnvError(unknown)
    try:
        with warnings.catch_warnings():  # of its old interface, which has no other one for these games
            warnings.simplefilter("ignore", DeprecationWarning)
            importlib.import_module("pettingzoo")
            return importlib.import_module(module).env
    except ImportError as why:
        if why.name == module:
            raise EnvError(unknown) from why
        needs = why.name or one_line(why)
        package = '"minirl[marl]"' if needs in ("pettingzoo", "pygame") else needs
        raise EnvError(f"env = 'pettingzoo/{name}' needs {needs}: pip install {package}") from why


class PettingZooGame(Boards):
    """B games that a function makes; player i is the i-th of a game's possible agents.

    Observations are scaled to [0, 1] by their space and flattened with their last axis first, planes before cells:
    tictactoe_v3 and connect_four_v3 show what minirl/TicTacToe-v0 and minirl/ConnectFour-v0 show.
    """

    def __init__(self, name: str, make: Callable[[], Any], num_boards: int):
        super().__init__(num_boards)
        self.name, self.make = name, make
        self.envs = [make() for _ in range(num_boards)]
        self.history: list[tuple[int, list[int]]] = [(0, []) for _ in self.envs]  # seed, moves: a copy plays them again
        self.agents, self.box, self.num_actions = self.shapes()
        self.obs_dim = int(np.prod(self.box.shape))
        self.names = tuple(f"action {action}" for action in range(self.num_actions))
        for env in self.envs:
            env.reset(seed=0)
        self.gained = np.zeros((num_boards, 2))  # so far, by each player

    def shapes(self) -> tuple[list[str], Any, int]:
        """The two agents, the space of what they see, how many actions they have; EnvError for other games."""
        env = self.envs[0]
        if not hasattr(env, "observe") or len(env.possible_agents) != 2:
            agents = getattr(env, "possible_agents", ())
            self.reject(f"has {len(agents)} agents" if hasattr(env, "observe") else "is not turn-based")
        agents = list(env.possible_agents)
        (seen, other), (acts, others) = map(env.observation_space, agents), map(env.action_space, agents)
        parts = getattr(seen, "spaces", {})
        if "action_mask" not in parts or "observation" not in parts:
            self.reject("has no action masks")
        if seen != other or acts != others:
            self.reject("has players with different spaces")
        box = parts["observation"]
        if not hasattr(acts, "n") or not np.isfinite([getattr(box, "low", np.inf), getattr(box, "high", np.inf)]).all():
            self.reject(f"has {type(acts).__name__} actions and {type(box).__name__} observations")
        return agents, box, int(acts.n)

    def reject(self, said: str) -> NoReturn:
        """EnvError for a game that cannot be played here."""
        needs = "discrete actions with an action_mask, bounded observations and payoffs that sum to 0"
        raise EnvError(f"env = {self.name!r} {said}: a game has two players in turns, {needs}")

    def reset(self, boards: Array, rng: np.random.Generator) -> None:
        """Start the games of these boards (B,) bool again, each with a seed of its own."""
        self.start(boards)
        for board in np.flatnonzero(boards):
            self.restart(int(board), int(rng.integers(2**31)))

    def restart(self, board: int, seed: int) -> None:
        """Start the game of one board with this seed."""
        self.envs[board].reset(seed=seed)
        self.history[board] = (seed, [])
        self.gained[board] = 0
        self.to_move[board] = self.agents.index(self.envs[board].agent_selection)

    def observe(self, player: Array) -> Array:
        """What this player (B,) sees, planes first -> (B, D) float32."""
        viewers = zip(self.envs, player, strict=True)
        seen = np.stack([env.observe(self.agents[who])["observation"] for env, who in viewers])
        low, high = self.box.low.astype(np.float64), self.box.high.astype(np.float64)
        scaled = (seen - low) / np.where(high > low, high - low, 1.0)
        return np.moveaxis(scaled, -1, 1).reshape(self.num_boards, -1).astype(np.float32)

    def legal(self, player: Array) -> Array:
        """The mask of this player (B,) -> (B, K) bool; all where it has no move to make."""
        legal = np.ones((self.num_boards, self.num_actions), bool)
        for board in np.flatnonzero(~self.none_to_make(player)):
            legal[board] = self.envs[board].observe(self.agents[player[board]])["action_mask"]
        return legal

    def play(self, action: Array) -> None:
        """Moves (B,) of the players to move."""
        action, live = live_moves(self, action), ~self.over
        self.to_move = self.to_move.copy()
        for board in np.flatnonzero(live):
            try:
                self.step(int(board), int(action[board]))
            except BaseException as why:
                raise_placed(why, f"env = {self.name!r}, board={board}")
        ended = live & [any((*env.terminations.values(), *env.truncations.values())) for env in self.envs]
        if (abs(self.gained[ended].sum(axis=1)) > 1e-9).any():
            self.reject("ended with payoffs that do not sum to 0")
        self.end(ended, self.gained[:, 0])

    def step(self, board: int, action: int) -> None:
        """One move on one board."""
        env = self.envs[board]
        env.step(action)
        self.history[board][1].append(action)
        self.gained[board] += [env.rewards.get(agent, 0.0) for agent in self.agents]
        self.to_move[board] = self.agents.index(env.agent_selection)

    def text(self, board: int, player: int) -> str:
        """Two planes as a board, with which letter is the viewer's; other observations as they are."""
        seen = self.envs[board].observe(self.agents[player])["observation"]
        if seen.ndim != 3 or seen.shape[2] != 2:
            return str(seen)
        sides = seen.astype(int) if player == 0 else seen[:, :, ::-1].astype(int)
        return f"{drawn(sides[:, :, 0] + 2 * sides[:, :, 1])}\nyou are {'XO'[player]}"

    def copy(self) -> Self:
        """The same position on every board: games made again, with the same seeds and moves.

        PettingZoo's are not copied themselves: a copy of one forgets its position.
        """
        other = type(self)(self.name, self.make, self.num_boards)
        other.restore(self.snapshot())
        return other

    def snapshot(self) -> dict[str, Any]:
        """Seed and moves of each game, who is to move, what is over, and who got what."""
        seeds, moves = zip(*self.history, strict=True)
        arrays = {"to_move": self.to_move, "over": self.over, "payoff": self.payoff}
        return {"seeds": list(seeds), "moves": [list(each) for each in moves]} | {
            k: x.copy() for k, x in arrays.items()
        }

    def restore(self, tree: dict[str, Any]) -> None:
        """Play the games of a snapshot again."""
        for board, (seed, moves) in enumerate(zip(tree["seeds"], tree["moves"], strict=True)):
            self.restart(board, seed)
            for action in moves:
                self.step(board, action)
        self.to_move, self.over, self.payoff = (tree[name].copy() for name in ("to_move", "over", "payoff"))

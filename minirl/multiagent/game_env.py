"""A two-player game as a vector environment of one player: the other side is played by past selves. [EXT-3]

A transition belongs to the learner: it begins where the learner moves and ends where it moves again, or where the game
is over, by a move of either player. So the loser's last move gets its −1, and nothing of the opponent's is learned
from.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from minirl.envs.games.game import Game
from minirl.envs.resumable import Resumable
from minirl.errors import EnvError
from minirl.files.tree import check_like
from minirl.multiagent.opponent_pool import Checkpoint, Pool
from minirl.numerics import random_streams
from minirl.numerics.arrays import Array


def moved(game: Game, boards: Array, action: Array) -> None:
    """Play `action` (B, …) on these boards (B,) bool alone."""
    over = game.over
    game.over = over | ~boards
    try:
        game.play(action)
    finally:
        game.over = np.where(boards, game.over, over)


class OpponentVector(gymnasium.vector.VectorEnv, Resumable):
    """B games against checkpoints of `pool`, each drawn when its game begins and kept until it is over.

    In mode DISABLED: games that are over wait for reset(options={"reset_mask": …}). info["action_mask"] (B, K) are the
    learner's legal moves. Reward: the learner's payoff, when the game is over.
    """

    metadata = {"autoreset_mode": AutoresetMode.DISABLED}  # noqa: RUF012  gymnasium's own attribute

    def __init__(self, game: Game, pool: Pool):
        self.game, self.pool, self.num_envs = game, pool, game.num_boards
        self.single_observation_space = spaces.Box(0.0, 1.0, (game.obs_dim,), np.float32)
        self.single_action_space = spaces.Discrete(game.num_actions)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.side = np.zeros(self.num_envs, int)  # the learner's
        self.opponents: list[Checkpoint | None] = [None] * self.num_envs
        self.rng = np.random.default_rng(0)
        self.results: list[tuple[Checkpoint, float]] = []  # of games that ended since they were last asked for

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Array, dict[str, Any]]:
        """Begin games, those of `reset_mask` or all: sides and opponents are drawn, an opponent that begins moves."""
        boards = np.ones(self.num_envs, bool) if options is None else np.asarray(options["reset_mask"])
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        if options is None:  # games that were broken off count for nothing, nor do those before them
            self.results = []
        self.game.reset(boards, self.rng)
        self.side = np.where(boards, self.rng.integers(2, size=self.num_envs), self.side)
        for b, opponent in zip(np.flatnonzero(boards).tolist(), self.pool.draw(int(boards.sum())), strict=True):
            self.opponents[b] = opponent
        self._opponents_move(boards)
        return self._seen()

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """The learner's moves, and the opponents' answers."""
        playing = ~self.game.over
        if self.game.simultaneous:
            theirs = self._choose(playing)
            both = np.stack([actions, theirs], axis=1)
            moved(self.game, playing, np.where((self.side == 0)[:, None], both, both[:, ::-1]))
        else:
            moved(self.game, playing, np.asarray(actions))
            self._opponents_move(playing)
        over = playing & self.game.over
        payoff = self.game.payoff[np.arange(self.num_envs), self.side]
        reward = np.where(over, payoff, 0.0)
        self.results += [(self.opponents[b], float(reward[b])) for b in np.flatnonzero(over).tolist()]  # type: ignore[misc]
        obs, info = self._seen()
        return obs, reward, over, np.zeros(self.num_envs, bool), info

    def take_results(self) -> tuple[list[Checkpoint], Array]:
        """Opponents and payoffs of the games that ended since the last call."""
        results, self.results = self.results, []
        return [opponent for opponent, _ in results], np.array([payoff for _, payoff in results])

    def snapshot(self) -> dict[str, Any] | None:
        """Positions and sides; who the opponents are, the pool's snapshot says. None while games are not begun."""
        if any(opponent is None for opponent in self.opponents):  # `in` would compare each with `==`
            return None
        return {"game": self.game.snapshot(), "side": self.side.copy(), "rng": random_streams.get_state(self.rng)}

    def restore(self, tree: dict[str, Any]) -> Array:
        """Back to a snapshot, against those who play now -> what is seen."""
        check_like(tree["side"], self.side, "side")
        if not np.isin(tree["side"], (0, 1)).all():
            raise EnvError("side has to be 0 or 1 for each game")
        self.game.restore(tree["game"])
        self.side, self.rng, self.results = tree["side"].copy(), random_streams.from_state(tree["rng"]), []
        return self._seen()[0]

    def _seen(self) -> tuple[Array, dict[str, Any]]:
        return self.game.observe(self.side), {"action_mask": self.game.legal(self.side)}

    def _opponents_move(self, boards: Array) -> None:
        """Moves on those of these boards where it is the opponent's turn, until it is the learner's."""
        if self.game.simultaneous:
            return
        while (theirs := boards & ~self.game.over & (self.game.to_move != self.side)).any():
            moved(self.game, theirs, self._choose(theirs))

    def _choose(self, boards: Array) -> Array:
        """The opponents' moves (B,), sampled, one batch for each checkpoint; 0 on other boards."""
        other = 1 - self.side
        obs, legal, action = self.game.observe(other), self.game.legal(other), np.zeros(self.num_envs, int)
        rows: dict[int, list[int]] = {}
        for b in np.flatnonzero(boards).tolist():
            rows.setdefault(id(self.opponents[b]), []).append(b)
        for mine in rows.values():
            opponent = self.opponents[mine[0]]
            assert opponent is not None  # every game has been reset once
            action[mine] = opponent.agent.act_batch(obs[mine], self.rng, legal[mine])
        return action

    def close_extras(self, **kwargs: Any) -> None:
        """Nothing is open."""

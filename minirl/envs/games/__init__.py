"""Two-player games, many boards at once: tic-tac-toe, connect-four, Kuhn poker, rock-paper-scissors; PettingZoo's.

game = make_game("minirl/ConnectFour-v0", num_boards=128)
game.reset(np.ones(128, bool), rng)
while not game.over.all():
    game.play(random_moves(game, rng))
"""

from collections.abc import Callable

from minirl.envs.games.connect_four import ConnectFour
from minirl.envs.games.game import Game
from minirl.envs.games.kuhn_poker import KuhnPoker
from minirl.envs.games.opponents import one_ply, random_moves
from minirl.envs.games.pettingzoo_game import PettingZooGame, maker
from minirl.envs.games.rock_paper_scissors import RockPaperScissors
from minirl.envs.games.tic_tac_toe import TicTacToe
from minirl.errors import ConfigError, EnvError

__all__ = [
    "GAMES",
    "ConnectFour",
    "Game",
    "KuhnPoker",
    "PettingZooGame",
    "RockPaperScissors",
    "TicTacToe",
    "make_game",
    "one_ply",
    "random_moves",
]

GAMES: dict[str, Callable[[int], Game]] = {
    "minirl/TicTacToe-v0": TicTacToe,
    "minirl/ConnectFour-v0": ConnectFour,
    "minirl/KuhnPoker-v0": KuhnPoker,
    "minirl/RockPaperScissors-v0": RockPaperScissors,
}


def make_game(env_id: str, num_boards: int) -> Game:
    """B boards of a game by its id, one of `GAMES` or pettingzoo/NAME, over until `reset`; EnvError for other ids."""
    if num_boards < 1:
        raise ConfigError(f"num_boards = {num_boards} leaves nothing to play on: give 1 or more")
    if isinstance(env_id, str) and env_id.startswith("pettingzoo/"):
        return PettingZooGame(env_id, maker(env_id.removeprefix("pettingzoo/")), num_boards)
    if env_id not in GAMES:
        raise EnvError(f"env = {env_id!r} is no game of two players: give one of {', '.join(GAMES)} or pettingzoo/NAME")
    return GAMES[env_id](num_boards)

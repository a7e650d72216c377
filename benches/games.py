"""How many moves a second the two-player games make, random play, B boards at once on one thread.

    python benches/games.py                          the native games at B = 128, and PettingZoo's where it is installed
    python benches/games.py --boards 1 16 128 1024   other sizes

A round is what self-play does: look, take the mask, choose, move, start again what is over. Median of five, spread
beside it.
"""

import argparse
import time
from importlib.util import find_spec

import numpy as np

from minirl.envs.games import GAMES, make_game, random_moves

PETTINGZOO = ("pettingzoo/tictactoe_v3", "pettingzoo/connect_four_v3")


def rate(env_id: str, num_boards: int, seconds: float = 0.4) -> float:
    """Boards times moves in a second."""
    rng, moves = np.random.default_rng(0), 0
    game = make_game(env_id, num_boards)
    game.reset(np.ones(num_boards, bool), rng)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        game.observe(game.to_move)
        game.play(random_moves(game, rng))
        moves += num_boards
        if game.over.any():
            game.reset(game.over, rng)
    return moves / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--boards", type=int, nargs="+", default=[128])
    for num_boards in parser.parse_args().boards:
        for env_id in (*GAMES, *(PETTINGZOO if find_spec("pettingzoo") and find_spec("pygame") else ())):
            rates = [rate(env_id, num_boards) for _ in range(5)]
            span = f"(from {min(rates):,.0f} to {max(rates):,.0f})"
            print(f"{env_id:30} B={num_boards:<5} {np.median(rates):12,.0f} moves/s  {span}")


if __name__ == "__main__":
    main()

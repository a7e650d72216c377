"""Self-play against what is known exactly, and against fixed players: one configuration per game, for all seeds.

    python benches/self_play.py                                    all four games, seeds 0, 1 and 2
    python benches/self_play.py --games tic-tac-toe --seeds 7      another seed: nothing is written
    python benches/self_play.py --picture docs/self-play.png       the first seed of connect-four as a picture, too

tic-tac-toe: the probability that the greedy policy loses, as first and as second player, over the whole game tree,
against a uniform choice among perfect moves. connect-four: wins of the greedy policy in 1 000 games, half on each side,
against random play and against one that takes a win, blocks a loss and else moves at random; rank correlation of age
and Elo over the checkpoints. Kuhn poker and rock-paper-scissors: exploitability (NashConv / 2, exact) of the average of
all checkpoints, weighted by how likely each comes to an information set, and of the last policy beside it.
rock-paper-scissors starts biased: 3 is added to the logit of rock in the head of the policy, P(rock) = 0.91.
The configurations were chosen on seeds from 100 on. Writes
benches/results/self_play.json, game by game, where the seeds are 0, 1 and 2.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
sys.path.insert(0, str(Path(__file__).parent))

import numpy as np  # noqa: E402
from machine import describe  # noqa: E402

import minirl  # noqa: E402
from minirl import methods  # noqa: E402
from minirl.multiagent import league  # noqa: E402
from minirl.multiagent.game_evaluation import OPPONENTS, of_agent, play_games  # noqa: E402
from minirl.runs import league_picture  # noqa: E402
from minirl.runs.recorder import Recording  # noqa: E402
from minirl.runs.session import training  # noqa: E402
from minirl.theory.games import KUHN, ROCK, average_policy, exploitability, loss_probability  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "self_play.json"
BIAS = 3.0
SEEDS = [0, 1, 2]
BOARD = {"hidden": (128, 128), "total_timesteps": 1_000_000}
LARGE = {"hidden": (512, 128), "activation": "relu", "share_trunk": True, "total_timesteps": 12_000_000}
BATCH = {"num_envs": 512, "minibatch_size": 1024, "epochs": 3, "lr": 1e-3, "lam": 0.8, "ent_coef": 0.15}
SMALL = {"num_steps": 32, "minibatch_size": 1024, "pool_size": 1000}
GAMES = {  # name: id, fields that differ from the defaults
    "tic-tac-toe": ("minirl/TicTacToe-v0", BOARD),
    "connect-four": ("minirl/ConnectFour-v0", LARGE | BATCH | {"pool_every": 10}),
    "kuhn-poker": (KUHN, SMALL | {"clip": 0.1, "total_timesteps": 6_000_000}),
    "rock-paper-scissors": (ROCK, {"ent_coef": 0.2, "pool_size": 1000, "total_timesteps": 1_000_000}),
}


def command(name: str) -> str:
    """What the training is at the command line, but for the seed."""
    env, fields = GAMES[name]
    return " ".join(["minirl train selfplay --env", env, *(flag(*each) for each in fields.items())])


def flag(field: str, value: object) -> str:
    """A field as the command line takes it."""
    name = field.replace("_", "-")
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    return f"--{name} {str(value).strip('()').replace(',', '')}"


def train(name: str, seed: int, run: Path) -> int:
    """Train into `run`; the number of transitions."""
    env, fields = GAMES[name]
    config = minirl.configure("selfplay", env=env, seed=seed, **fields)
    with training(methods.find("selfplay"), config, run, recording=Recording(save_every=10**9)) as session:
        learner = session.learner
        if env == ROCK:
            theta = learner.state["theta_pi"].copy()
            theta[-3:] += (BIAS, 0.0, 0.0)
            learner.state["theta_pi"] = theta
        for _ in session:
            pass
        return int(learner.global_step)


def tic_tac_toe(run: Path) -> dict[str, object]:
    first, second = loss_probability(league.probabilities(minirl.load(run)))
    return {"loses as first": float(first), "loses as second": float(second)}


def connect_four(run: Path) -> dict[str, object]:
    env, agent, found = GAMES["connect-four"][0], minirl.load(run), {}
    for name, other in OPPONENTS.items():
        payoff, _ = play_games(env, of_agent(agent), other, 1000)
        found[f"wins against {name}"] = float((payoff > 0).mean())
    played = league.tournament(run)
    elo = dict(zip(played.steps.tolist(), np.round(played.elo, 1).tolist(), strict=True))
    return found | {"rank correlation": played.rank_correlation, "elo": elo}


def exploited(run: Path) -> dict[str, object]:
    agents, env = league.load(run)
    policies = [league.probabilities(agent) for agent in agents.values()]
    last = league.probabilities(minirl.load(run))
    return {
        "average": exploitability(env, average_policy(env, policies)),
        "last": exploitability(env, last),
        "second half": exploitability(env, average_policy(env, policies[len(policies) // 2 :])),
        "checkpoints": len(policies),
    }


MEASURES = {
    "tic-tac-toe": tic_tac_toe,
    "connect-four": connect_four,
    "kuhn-poker": exploited,
    "rock-paper-scissors": exploited,
}


def measured(name: str, seed: int, picture: Path | None) -> dict[str, object]:
    """Train and measure; a row of the results."""
    with tempfile.TemporaryDirectory() as folder:
        run, start = Path(folder) / "r", time.perf_counter()
        steps = train(name, seed, run)
        row = {"game": name, "seed": seed, "steps": steps, "seconds": round(time.perf_counter() - start, 1)}
        if picture is not None:
            league_picture.picture(league.tournament(run), picture)
        return row | MEASURES[name](run)


def keep(name: str, rows: list[dict[str, object]]) -> None:
    """Put a game's rows into the results, in place of those that are there."""
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"games": {}}
    found["games"][name] = {"command": f"{command(name)} --seed SEED", "machine": describe(), "rows": rows}
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES))
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    for name in args.games:
        print(command(name), flush=True)
        rows = []
        for seed in args.seeds:
            drawn = args.picture if name == "connect-four" and seed == args.seeds[0] else None
            row = measured(name, seed, drawn)
            rows.append(row)
            shown = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()}
            print("  ".join(f"{key} {value}" for key, value in shown.items() if key not in ("game", "elo")), flush=True)
        if args.seeds == SEEDS:
            keep(name, rows)


if __name__ == "__main__":
    main()

"""Every method there is, by name: the algorithms of one agent, then those of several."""

from collections.abc import Mapping
from typing import Any

from minirl import algorithms
from minirl.algorithms import ALGORITHMS, Algorithm
from minirl.deploy.team import Team
from minirl.envs.games import GAMES
from minirl.multiagent import METHODS as OF_SEVERAL
from minirl.multiagent import evaluate_games, evaluate_team
from minirl.training import evaluation
from minirl.training.evaluation import Evaluation

METHODS: dict[str, Algorithm] = ALGORITHMS | OF_SEVERAL


def find(method: Any) -> Algorithm:
    """The row of that name; a row is itself. ConfigError lists the names there are."""
    return algorithms.find(method, METHODS)


def having(field: str) -> list[str]:
    """The methods whose configuration has a field of that name."""
    return algorithms.having(field, METHODS)


def listed(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def evaluate(
    policy: Any,
    method: str,
    env: Any,
    episodes: int = 20,
    stochastic: bool = False,
    seed: int = 0,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Play whole episodes in the way of the method that trained the policy; "" where nobody knows which."""
    row = METHODS.get(method)
    play = (row and row.evaluate) or evaluation.evaluate
    if isinstance(policy, Team):
        play = evaluate_team
    elif isinstance(env, str) and (env in GAMES or env.startswith("pettingzoo/")) and play is not evaluate_team:
        play = evaluate_games
    return play(policy, env, episodes, stochastic, seed, env_kwargs)  # type: ignore[return-value]  # a row's own

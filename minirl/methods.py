"""Every method there is, by name: the algorithms of one agent, then those of several."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from minirl import algorithms
from minirl.algorithms import ALGORITHMS, Algorithm
from minirl.deploy.agent import Agent
from minirl.deploy.team import Team
from minirl.training import evaluation
from minirl.training.evaluation import Evaluation


@cache
def every() -> dict[str, Algorithm]:
    """The rows by name. Those of several agents are imported when somebody asks for them, not with `import minirl`."""
    from minirl.multiagent import METHODS

    return ALGORITHMS | METHODS


def __getattr__(name: str) -> dict[str, Algorithm]:
    """METHODS is `every()`, made when it is first asked for (PEP 562)."""
    if name == "METHODS":
        return every()
    raise AttributeError(f"module 'minirl.methods' has no attribute {name!r}")


def find(method: Any) -> Algorithm:
    """The row of that name; a row is itself. ConfigError lists the names there are."""
    known = isinstance(method, Algorithm) or (isinstance(method, str) and method in ALGORITHMS)
    return algorithms.find(method, ALGORITHMS if known else every())


def having(field: str) -> list[str]:
    """The methods whose configuration has a field of that name."""
    return algorithms.having(field, every())


def listed(names: list[str]) -> str:
    """a, b and c."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def is_game(env: str) -> bool:
    """Whether that is the id of a game of two players."""
    from minirl.envs.games import GAMES

    return env in GAMES or env.startswith("pettingzoo/")


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
    of_one = method in ALGORITHMS or (not method and isinstance(policy, Agent))
    game = isinstance(env, str) and env.startswith(("minirl/", "pettingzoo/")) and is_game(env)
    if of_one and not game:
        return evaluation.evaluate(policy, env, episodes, stochastic, seed, env_kwargs)
    from minirl.multiagent import evaluate_games, evaluate_team

    row = every().get(method)
    play = (row and row.evaluate) or evaluation.evaluate
    if isinstance(policy, Team):
        play = evaluate_team
    elif game and play is not evaluate_team:
        play = evaluate_games
    return play(policy, env, episodes, stochastic, seed, env_kwargs)  # type: ignore[return-value]  # a row's own

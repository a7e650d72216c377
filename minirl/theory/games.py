"""How much a policy can lose: exact exploitability in Kuhn poker and rock-paper-scissors, of one policy or an average.

    exploitability(π) = NashConv(π) / 2 = (max_q u₀(q, π) + max_q u₁(π, q)) / 2

u_p is the expected payoff of player p in a zero-sum game; 0 means that π is an equilibrium. The trees are grown by
playing the library's own games. `tic_tac_toe` has what is exact there.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from minirl.envs.games import Game, make_game
from minirl.envs.games.kuhn_poker import DEALS, KuhnPoker
from minirl.errors import ConfigError, EnvError
from minirl.numerics.arrays import Array
from minirl.theory.tic_tac_toe import GamePolicy, asked, loss_probability, perfect_moves

__all__ = ["GamePolicy", "average_policy", "exploitability", "game_tree", "loss_probability", "perfect_moves"]

KUHN, ROCK = "minirl/KuhnPoker-v0", "minirl/RockPaperScissors-v0"


class Node(NamedTuple):
    """A history of moves: who chooses next, in which information set; at an end what player 0 gets."""

    player: int
    info: int  # row of `GameTree.obs`
    payoff: float
    children: tuple["Node", ...]  # by action; none at an end


class GameTree(NamedTuple):
    """A small game: its beginnings, equally likely, and the I information sets that its players tell apart."""

    roots: tuple[Node, ...]
    owner: Array  # (I,): the player that chooses there
    obs: Array  # (I, D): what it sees
    legal: Array  # (I, K) bool: everything


@cache
def game_tree(env_id: str) -> GameTree:
    """The tree of Kuhn poker or rock-paper-scissors; EnvError for another id."""
    if env_id not in (KUHN, ROCK):
        raise EnvError(f"env = {env_id!r} has no small tree to solve: give {KUHN} or {ROCK}")
    sets: dict[tuple[int, bytes], Array] = {}
    roots = tuple(grow(game, sets) for game in beginnings(env_id))
    obs = np.stack(list(sets.values()))
    owner, legal = np.array([player for player, _ in sets]), np.ones((len(sets), len(roots[0].children)), bool)
    return GameTree(roots, owner, obs, legal)


def beginnings(env_id: str) -> list[Game]:
    """A board for each way the game can begin."""
    if env_id == ROCK:
        game = make_game(ROCK, 1)
        game.reset(np.ones(1, bool), np.random.default_rng(0))
        return [game]
    tables = [KuhnPoker(1) for _ in DEALS]
    for table, cards in zip(tables, DEALS, strict=True):
        table.deal(np.ones(1, bool), cards[None])
    return list(tables)


def grow(game: Game, sets: dict[tuple[int, bytes], Array]) -> Node:
    """The tree from this position on; `sets` collects the observations, a row per player and observation."""
    if game.over[0]:
        return Node(-1, -1, float(game.payoff[0, 0]), ())
    moves, player = range(game.num_actions), int(game.to_move[0])
    info = row(game, player, sets)
    if not game.simultaneous:
        return Node(player, info, 0.0, tuple(grow(after(game, [a]), sets) for a in moves))
    other = row(game, 1, sets)  # player 1 chooses without knowing what player 0 has chosen
    replies = [tuple(grow(after(game, [[a, b]]), sets) for b in moves) for a in moves]
    return Node(0, info, 0.0, tuple(Node(1, other, 0.0, each) for each in replies))


def row(game: Game, player: int, sets: dict[tuple[int, bytes], Array]) -> int:
    """The information set of a player: what it sees, and which player it is."""
    obs = game.observe(np.array([player]))[0]
    sets.setdefault((player, obs.tobytes()), obs)
    return list(sets).index((player, obs.tobytes()))


def after(game: Game, action: list) -> Game:
    """The position that a move leads to."""
    game = game.copy()
    game.play(np.array(action))
    return game


def exploitability(env_id: str, policy: GamePolicy) -> float:
    """NashConv / 2 of one policy that plays both sides: the mean of what a best response wins on either side."""
    tree = game_tree(env_id)
    pi = asked(policy, tree.obs, tree.legal)
    return (best_response(tree, pi, 0) + best_response(tree, pi, 1)) / 2


def best_response(tree: GameTree, pi: Array, player: int) -> float:
    """max_q u_player(q, π): what the best policy wins for this player against π (I, K).

    In each information set the action with the highest value, each history weighted by the probability that chance and
    the other player lead to it. Players forget nothing, so the deeper sets never depend on the choice above them.
    """
    weighted: dict[int, list[tuple[float, Node]]] = {}

    def collect(node: Node, prob: float) -> None:
        if node.player == player:
            weighted.setdefault(node.info, []).append((prob, node))
        shares = np.ones(len(node.children)) if node.player in (player, -1) else pi[node.info]
        for share, child in zip(shares, node.children, strict=True):
            collect(child, prob * share)

    @cache
    def choice(info: int) -> int:
        histories = weighted[info]
        worth = [sum(prob * value(node.children[a]) for prob, node in histories) for a in range(pi.shape[1])]
        return int(np.argmax(worth))

    def value(node: Node) -> float:
        if not node.children:
            return node.payoff if player == 0 else -node.payoff
        if node.player == player:
            return value(node.children[choice(node.info)])
        return float(sum(share * value(child) for share, child in zip(pi[node.info], node.children, strict=True)))

    for root in tree.roots:
        collect(root, 1 / len(tree.roots))
    return sum(value(root) for root in tree.roots) / len(tree.roots)


def average_policy(env_id: str, policies: Sequence[GamePolicy], weights: Array | None = None) -> GamePolicy:
    """One policy that plays as the mixture that draws one of M policies, with these weights (M,), before each game.

    π(a|I) = Σ_m w_m x_m(I) π_m(a|I) / Σ_m w_m x_m(I), where x_m(I) is the probability that m's own moves lead to I.
    """
    tree = game_tree(env_id)
    w = np.ones(len(policies)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(policies),) or not w.sum() > 0 or (w < 0).any():
        raise ConfigError(f"weights = {weights} of {len(policies)} policies: give one each, ≥ 0, with a sum above 0")
    each = np.stack([asked(policy, tree.obs, tree.legal) for policy in policies])  # (M, I, K)
    reach = w[:, None] * np.stack([own_reach(tree, pi) for pi in each])  # (M, I)
    reach = np.where(reach.sum(axis=0) > 0, reach, w[:, None])  # where none of them comes: anything will do
    pi = (reach[:, :, None] * each).sum(axis=0) / reach.sum(axis=0)[:, None]
    rows = {obs.tobytes(): i for i, obs in enumerate(tree.obs)}

    def average(obs: Array, legal: Array) -> Array:
        known = [rows.get(one.tobytes()) for one in np.ascontiguousarray(obs, np.float32)]
        if None in known:
            raise ConfigError(f"obs holds what no player of {env_id} sees: give observations as the game shows them")
        return pi[known]

    return average


def own_reach(tree: GameTree, pi: Array) -> Array:
    """Probability that its owner's own moves under π (I, K) lead to each information set -> (I,)."""
    reach = np.zeros(len(pi))

    def walk(node: Node, own: tuple[float, float]) -> None:
        if not node.children:
            return
        reach[node.info] = own[node.player]
        for share, child in zip(pi[node.info], node.children, strict=True):
            moved = own[node.player] * share
            walk(child, (moved, own[1]) if node.player == 0 else (own[0], moved))

    for root in tree.roots:
        walk(root, (1.0, 1.0))
    return reach

"""Exact answers about games: against plain minimax, every pure strategy, OpenSpiel, and the known numbers."""

import itertools
from functools import cache

import numpy as np
import pytest

from minirl.envs.games import TicTacToe, random_moves
from minirl.envs.games.kuhn_poker import DEALS
from minirl.errors import ConfigError, EnvError
from minirl.theory.games import average_policy, exploitability, game_tree
from minirl.theory.tic_tac_toe import LINES, loss_probability, perfect_moves, tic_tac_toe

KUHN, ROCK = "minirl/KuhnPoker-v0", "minirl/RockPaperScissors-v0"
HISTORIES = ["", "pb", "p", "b"]  # before a choice: the first two are player 0's
SEEN = dict(zip([(0, 0, 0, 0), (1, 0, 0, 1), (0, 0, 1, 0), (0, 0, 0, 1)], HISTORIES, strict=True))


def uniform(obs, legal):
    return legal / legal.sum(axis=1, keepdims=True)


def hashed(salt):
    """A policy as arbitrary as can be, the same whenever it is asked."""

    def policy(obs, legal):
        rows = [np.random.default_rng([salt, *one.astype(int)]).random(legal.shape[1]) for one in obs]
        weights = np.where(legal, rows, 0)
        return weights / weights.sum(axis=1, keepdims=True)

    return policy


# ---- tic-tac-toe


@cache
def minimax(cells, mover):
    """The value to player 0 and the perfect moves, by plain recursion over tuples."""
    for side in (0, 1):
        if any(all(cells[i] == side + 1 for i in line) for line in LINES):
            return 1 - 2 * side, ()
    worth = {i: minimax((*cells[:i], mover + 1, *cells[i + 1 :]), 1 - mover)[0] for i in range(9) if not cells[i]}
    if not worth:
        return 0, ()
    best = (max, min)[mover](worth.values())
    return best, tuple(i for i, value in worth.items() if value == best)


def plain_loss(policy, player, cells, mover, greedy):
    """P(this player loses from here), by plain recursion."""
    value, perfect = minimax(cells, mover)
    if not perfect:
        return float(value == (-1, 1)[player])
    chances = {i: 1 / len(perfect) for i in perfect}
    if mover == player:
        board = np.array(cells)
        obs = np.concatenate([board == mover + 1, board == 2 - mover]).astype(np.float32)
        pi = policy(obs[None], (board == 0)[None])[0]
        chances = {int(np.argmax(pi)): 1.0} if greedy else dict(enumerate(pi))
    after = {i: (*cells[:i], mover + 1, *cells[i + 1 :]) for i in chances}
    return sum(p * plain_loss(policy, player, after[i], 1 - mover, greedy) for i, p in chances.items() if p > 0)


def test_tic_tac_toe_is_solved_as_plain_minimax_solves_it():
    tree = tic_tac_toe()
    assert len(tree.cells) == 5478 and (~tree.legal.any(axis=1)).sum() == 958
    assert (tree.winner == 1).sum() == 626 and (tree.winner == -1).sum() == 316
    for cells, mover, value, perfect in zip(tree.cells.tolist(), tree.mover, tree.value, tree.perfect, strict=True):
        assert (value, tuple(np.flatnonzero(perfect))) == minimax(tuple(cells), int(mover))


def test_what_every_child_knows_of_tic_tac_toe():
    game = TicTacToe(3)
    game.reset(np.ones(3, bool), np.random.default_rng(0))
    empty = np.zeros(3, int)
    assert (perfect_moves(game.observe(empty), game.legal(empty)) > 0).all()
    game.play(np.array([0, 4, 1]))
    reply = perfect_moves(game.observe(game.to_move), game.legal(game.to_move)) > 0
    assert list(np.flatnonzero(reply[0])) == [4]  # a corner: the centre alone
    assert list(np.flatnonzero(reply[1])) == [0, 2, 6, 8]  # the centre: a corner


def test_positions_look_as_the_game_shows_them(rng):
    shown = {}

    def policy(obs, legal):
        shown.update(zip([one.tobytes() for one in obs], legal.tolist(), strict=True))
        return uniform(obs, legal)

    loss_probability(policy)
    game = TicTacToe(100)
    game.reset(np.ones(100, bool), rng)
    while not game.over.all():
        obs, legal = game.observe(game.to_move), game.legal(game.to_move)
        assert all(shown[obs[board].tobytes()] == legal[board].tolist() for board in np.flatnonzero(~game.over))
        game.play(random_moves(game, rng))


@pytest.mark.parametrize("greedy", [True, False])
def test_loss_probability_is_that_of_a_plain_recursion(greedy):
    for policy in (hashed(1), hashed(2), perfect_moves):
        plain = [plain_loss(policy, player, (0,) * 9, 0, greedy) for player in (0, 1)]
        np.testing.assert_allclose(loss_probability(policy, greedy), plain, rtol=0, atol=1e-12)


def test_perfect_moves_never_lose_and_a_policy_that_takes_the_first_free_cell_does():
    assert (loss_probability(perfect_moves) == 0).all() and (loss_probability(perfect_moves, greedy=False) == 0).all()
    assert (loss_probability(uniform) > 0.5).all()


def test_a_policy_that_gives_no_probabilities_is_refused():
    for gives in (np.zeros_like, np.logical_not, lambda legal: np.where(legal, np.nan, 0)):
        with pytest.raises(ConfigError, match="policy gives no probabilities"):
            loss_probability(lambda obs, legal, gives=gives: gives(legal))


# ---- Kuhn poker and rock-paper-scissors


def table(bets):
    """Kuhn poker's policy from P(bet) by (card, history)."""

    def policy(obs, legal):
        bet = np.array([bets[int(one[:3].argmax()), SEEN[tuple(one[3:].astype(int))]] for one in obs], float)
        return np.stack([1 - bet, bet], axis=1)

    return policy


def payoff(first, second):
    """E[payoff to player 0] of two tables, by the rules."""
    total = 0.0
    for a, b in DEALS.tolist():
        higher, opens, calls = (1 if a > b else -1), first[a, ""], first[a, "pb"]
        raises, meets = second[b, "p"], second[b, "b"]
        passed = (1 - raises) * higher + raises * ((1 - calls) * -1 + calls * 2 * higher)
        total += opens * ((1 - meets) + meets * 2 * higher) + (1 - opens) * passed
    return total / 6


def pure(histories):
    """All deterministic tables for these histories."""
    places = list(itertools.product(range(3), histories))
    return [dict(zip(places, bets, strict=True)) for bets in itertools.product((0, 1), repeat=6)]


def random_table(rng):
    return {place: rng.random() for place in itertools.product(range(3), HISTORIES)}


def equilibrium(alpha):
    """Kuhn's equilibria, one for each α in [0, 1/3]."""
    first = {(0, ""): alpha, (1, ""): 0, (2, ""): 3 * alpha, (0, "pb"): 0, (1, "pb"): alpha + 1 / 3, (2, "pb"): 1}
    return first | {(0, "p"): 1 / 3, (1, "p"): 0, (2, "p"): 1, (0, "b"): 0, (1, "b"): 1 / 3, (2, "b"): 1}


def test_the_known_numbers():
    assert exploitability(KUHN, uniform) == pytest.approx(11 / 24, abs=1e-15)  # 0.458333
    for alpha in (0, 0.1, 0.2, 1 / 3):
        bets = equilibrium(alpha)
        assert exploitability(KUHN, table(bets)) == pytest.approx(0, abs=1e-15)
        assert payoff(bets, bets) == pytest.approx(-1 / 18, abs=1e-15)
    assert exploitability(ROCK, uniform) == pytest.approx(0, abs=1e-15)
    assert exploitability(ROCK, lambda obs, legal: np.eye(3)[[0] * len(obs)]) == 1


def test_exploitability_is_that_of_the_best_of_all_pure_strategies(rng):
    for _ in range(5):
        bets = random_table(rng)
        first = max(payoff(q, bets) for q in pure(["", "pb"]))
        second = max(-payoff(bets, q) for q in pure(["p", "b"]))
        assert exploitability(KUHN, table(bets)) == pytest.approx((first + second) / 2, abs=1e-12)


def test_exploitability_of_rock_paper_scissors_is_the_largest_entry_of_the_payoffs(rng):
    for _ in range(20):
        pi = rng.dirichlet(np.ones(3))
        beats = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]])
        asked = exploitability(ROCK, lambda obs, legal, pi=pi: np.tile(pi, (len(obs), 1)))
        assert asked == pytest.approx((beats @ pi).max(), abs=1e-15)


def test_exploitability_is_openspiels(rng):
    spiel = pytest.importorskip("pyspiel")
    measure = pytest.importorskip("open_spiel.python.algorithms.exploitability")
    tabular = pytest.importorskip("open_spiel.python.policy")
    for _ in range(10):
        bets = random_table(rng)
        theirs = tabular.TabularPolicy(spiel.load_game("kuhn_poker"))
        for card, history in itertools.product(range(3), HISTORIES):
            bet = bets[card, history]
            theirs.policy_for_key(f"{card}{history}")[:] = [1 - bet, bet]
        expected = measure.nash_conv(theirs.game, theirs) / 2
        assert exploitability(KUHN, table(bets)) == pytest.approx(expected, abs=1e-12)


def test_an_average_policy_earns_the_average_against_every_pure_strategy(rng):
    """The mixture before the game and the policy it is turned into cannot be told apart: on either side."""
    tables, w = [random_table(rng) for _ in range(4)], rng.dirichlet(np.ones(4))
    average = average_policy(KUHN, [table(bets) for bets in tables], w)
    tree = game_tree(KUHN)
    pi = average(tree.obs, tree.legal)
    bets = dict(zip(places(tree), pi[:, 1], strict=True))
    for q in pure(["", "pb"]):
        assert payoff(q, bets) == pytest.approx(w @ [payoff(q, each) for each in tables], abs=1e-12)
    for q in pure(["p", "b"]):
        assert payoff(bets, q) == pytest.approx(w @ [payoff(each, q) for each in tables], abs=1e-12)


def places(tree):
    """Card and history of each information set."""
    return [(int(obs[:3].argmax()), SEEN[tuple(obs[3:].astype(int))]) for obs in tree.obs]


def test_averages_are_by_reach_and_not_by_policy():
    """One checkpoint never passes first with a jack: what it would do after pass and bet counts for nothing."""
    always, never = equilibrium(0) | {(0, ""): 1, (0, "pb"): 1}, equilibrium(0) | {(0, ""): 0, (0, "pb"): 0}
    average = average_policy(KUHN, [table(always), table(never)])
    jack = np.array([[1, 0, 0, 0, 0, 0, 0], [1, 0, 0, 1, 0, 0, 1]], np.float32)
    np.testing.assert_allclose(average(jack, np.ones((2, 2), bool)), [[0.5, 0.5], [1, 0]])
    alone = average_policy(KUHN, [table(always)])  # never comes there: its own choice stands
    np.testing.assert_allclose(alone(jack, np.ones((2, 2), bool)), [[0, 1], [0, 1]])


def test_rock_paper_and_scissors_in_turn_are_the_equilibrium_on_average():
    always = [lambda obs, legal, a=a: np.eye(3)[[a] * len(obs)] for a in range(3)]
    assert exploitability(ROCK, average_policy(ROCK, always)) == pytest.approx(0, abs=1e-15)
    assert exploitability(ROCK, average_policy(ROCK, always, np.array([1, 1, 0]))) == pytest.approx(0.5)


def test_bad_games_weights_and_observations_are_refused():
    with pytest.raises(EnvError, match=r"'minirl/TicTacToe-v0' has no small tree to solve: give minirl/KuhnPoker-v0"):
        exploitability("minirl/TicTacToe-v0", uniform)
    for weights in ([1.0], [0.0, 0.0], [2.0, -1.0]):
        with pytest.raises(ConfigError, match=r"weights = .* of 2 policies: give one each"):
            average_policy(KUHN, [uniform, uniform], weights)
    with pytest.raises(ConfigError, match="obs holds what no player"):
        average_policy(KUHN, [uniform])(np.zeros((1, 7)), np.ones((1, 2), bool))

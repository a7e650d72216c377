"""Two-player games: PettingZoo's and OpenSpiel's transitions, masks and payoffs; perspective, refusals, opponents."""

import sys

import numpy as np
import pytest
from gymnasium import spaces

from minirl.envs.games import GAMES, KuhnPoker, PettingZooGame, make_game, one_ply, random_moves
from minirl.envs.games.kuhn_poker import DEALS
from minirl.errors import ConfigError, EnvError, UserError

PETTINGZOO = {"minirl/TicTacToe-v0": "tictactoe_v3", "minirl/ConnectFour-v0": "connect_four_v3"}
NATIVE = sorted(GAMES)


def both(game):
    """The two players, for each board."""
    return [np.full(game.num_boards, player) for player in (0, 1)]


def started(env_id, num_boards, rng):
    """A game whose boards have all begun."""
    game = make_game(env_id, num_boards)
    game.reset(np.ones(num_boards, bool), rng)
    return game


def played(env_id, moves, num_boards=1):
    """A game after these moves, the same on every board."""
    game = started(env_id, num_boards, np.random.default_rng(0))
    for move in moves:
        game.play(np.full(num_boards, move))
    return game


def peer(name, count):
    """PettingZoo's games of this name, each begun."""
    module = pytest.importorskip(f"pettingzoo.classic.{name}")
    envs = [module.env() for _ in range(count)]
    for env in envs:
        env.reset()
    return envs


def assert_same_board(game, board, env):
    """Observations of both sides, masks of the one to move, who that is, payoffs."""
    assert (np.any(list(env.terminations.values()))) == game.over[board]
    for player, sides in enumerate(both(game)):
        seen = env.observe(env.possible_agents[player])
        np.testing.assert_array_equal(game.observe(sides)[board], np.moveaxis(seen["observation"], -1, 0).ravel())
        if game.over[board]:
            assert env.rewards[env.possible_agents[player]] == game.payoff[board, player]
        elif game.to_move[board] == player:
            assert env.agent_selection == env.possible_agents[player]
            np.testing.assert_array_equal(game.legal(sides)[board], seen["action_mask"].astype(bool))


@pytest.mark.parametrize("env_id", sorted(PETTINGZOO))
def test_a_native_game_is_pettingzoos(env_id, rng):
    count = 256
    game, envs = started(env_id, count, rng), peer(PETTINGZOO[env_id], count)
    while not game.over.all():
        live, action = ~game.over, random_moves(game, rng)
        game.play(action)
        for board in np.flatnonzero(live):
            envs[board].step(int(action[board]))
            assert_same_board(game, board, envs[board])
    draws = set() if env_id == "minirl/ConnectFour-v0" else {0.0}  # rare there: a test of its own
    assert set(game.payoff[:, 0]) >= {-1.0, 1.0} | draws


def test_a_full_board_of_connect_four_is_a_draw():
    """Columns in an order that leaves no four in a line, up to the last stone."""
    env, game = peer("connect_four_v3", 1)[0], played("minirl/ConnectFour-v0", [])
    pair = np.array([0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 0, 1])
    for column in [*pair, *(pair + 2), *(pair + 4), *[6] * 6]:
        assert not game.over[0]
        game.play(np.array([column]))
        env.step(column)
        assert_same_board(game, 0, env)
    assert game.over[0] and (game.payoff == 0).all()


def lines(game):
    """All lines of a grid's game, as cells counted in reading order."""
    found = []
    for row, column in np.ndindex(game.rows, game.columns):
        for down, right in [(0, 1), (1, 0), (1, 1), (1, -1)]:
            line = [(row + i * down, column + i * right) for i in range(game.length)]
            if all(0 <= r < game.rows and 0 <= c < game.columns for r, c in line):
                found.append([r * game.columns + c for r, c in line])
    return found


@pytest.mark.parametrize(("env_id", "count"), [("minirl/TicTacToe-v0", 8), ("minirl/ConnectFour-v0", 69)])
def test_a_line_is_found_exactly_where_one_is(env_id, count, rng):
    game = make_game(env_id, 1)
    bits, sets = 1 << game.cells, np.array(lines(game))
    assert len(sets) == count
    assert game.has_line(bits[sets].sum(axis=1)).all()
    assert not game.has_line(bits[sets].sum(axis=1)[:, None] - bits[sets]).any()  # without any one of its stones
    stones = rng.random((20_000, len(bits))) < 0.4
    np.testing.assert_array_equal(game.has_line(stones @ bits), stones[:, sets].all(axis=2).any(axis=1))


@pytest.mark.parametrize("env_id", sorted(PETTINGZOO))
def test_pettingzoos_game_behind_the_adapter_is_the_native_one(env_id, rng):
    peer(PETTINGZOO[env_id], 1)
    native, adapter = started(env_id, 8, rng), started(f"pettingzoo/{PETTINGZOO[env_id]}", 8, rng)
    for name in ("num_actions", "obs_dim", "simultaneous"):
        assert getattr(native, name) == getattr(adapter, name)
    for step in range(60):
        action = random_moves(native, rng)
        native.play(action)
        adapter.play(action)
        game = adapter.copy() if step % 10 == 0 else adapter  # a copy goes on from the same position
        for player in both(native):
            np.testing.assert_array_equal(native.observe(player), game.observe(player))
            np.testing.assert_array_equal(native.legal(player), game.legal(player))
            assert native.text(0, player[0]).splitlines()[-1] == game.text(0, player[0]).splitlines()[-1]
        for name in ("over", "payoff", "to_move"):
            np.testing.assert_array_equal(getattr(native, name)[~native.over], getattr(game, name)[~native.over])
        np.testing.assert_array_equal(native.payoff, game.payoff)
        again = native.over & (rng.random(8) < 0.5)
        native.reset(again, rng)
        adapter.reset(again, rng)


def test_a_copy_of_pettingzoos_game_goes_its_own_way(rng):
    peer("tictactoe_v3", 1)
    game = started("pettingzoo/tictactoe_v3", 2, rng)
    game.play(np.array([4, 0]))
    other, before = game.copy(), game.observe(np.zeros(2, int))
    other.play(np.array([0, 4]))
    np.testing.assert_array_equal(game.observe(np.zeros(2, int)), before)
    assert not np.array_equal(other.observe(np.zeros(2, int)), before)


# ---- Kuhn poker: every deal and every history


def histories(state, moves=()):
    """(moves, OpenSpiel's state) after each sequence of moves from here."""
    yield moves, state
    if not state.is_terminal():
        for action in state.legal_actions():
            yield from histories(state.child(action), (*moves, action))


@pytest.mark.parametrize("cards", DEALS.tolist())
def test_kuhn_poker_is_openspiels(cards):
    root = pytest.importorskip("pyspiel").load_game("kuhn_poker").new_initial_state()
    for card in cards:
        root.apply_action(card)
    count = 0
    for moves, state in histories(root):
        game = KuhnPoker(1)
        game.deal(np.ones(1, bool), np.array([cards]))
        for move in moves:
            game.play(np.array([move]))
        assert game.over[0] == state.is_terminal()
        np.testing.assert_array_equal(game.payoff[0], state.returns() if state.is_terminal() else [0, 0])
        if not state.is_terminal():
            assert game.to_move[0] == state.current_player()
        count += 1
    assert count == 9


def test_kuhn_players_see_their_own_information_set_and_nothing_more():
    """Equal observations of the player to move: the same card and the same history, whichever the other card is."""
    sets = {}
    for cards in DEALS:
        for moves in [(), (0,), (1,), (0, 1)]:
            game = KuhnPoker(1)
            game.deal(np.ones(1, bool), cards[None])
            for move in moves:
                game.play(np.array([move]))
            player = game.to_move[0]
            sets.setdefault(game.observe(game.to_move).tobytes(), set()).add((player, cards[player], moves))
    assert len(sets) == 12 and all(len(each) == 1 for each in sets.values())


def test_kuhn_deals_are_equally_likely_and_only_of_the_boards_asked_for(rng):
    game = started("minirl/KuhnPoker-v0", 60_000, rng)
    counts = np.unique(game.cards @ [3, 1], return_counts=True)[1]
    assert len(counts) == 6 and (abs(counts / 60_000 - 1 / 6) < 0.01).all()
    before, some = game.cards, np.arange(60_000) % 2 == 0
    game.reset(some, rng)
    np.testing.assert_array_equal(before[~some], game.cards[~some])
    assert not np.array_equal(before[some], game.cards[some])


def test_rock_paper_scissors_pays_as_the_rules_say():
    game = started("minirl/RockPaperScissors-v0", 9, np.random.default_rng(0))
    first, second = np.divmod(np.arange(9), 3)
    game.play(np.stack([first, second], axis=1).astype(np.uint8))  # whose differences are not below 0
    beats = {("paper", "rock"), ("scissors", "paper"), ("rock", "scissors")}
    for board in range(9):
        mine, theirs = game.action_name(first[board]), game.action_name(second[board])
        assert game.payoff[board, 0] == ((mine, theirs) in beats) - ((theirs, mine) in beats)
    assert game.over.all()


# ---- what all of them keep


@pytest.mark.parametrize("env_id", NATIVE)
def test_payoffs_are_zero_sum_and_only_at_the_end(env_id, rng):
    game = started(env_id, 64, rng)
    for _ in range(200):
        game.play(random_moves(game, rng))
        assert (game.payoff.sum(axis=1) == 0).all() and (game.payoff[~game.over] == 0).all()
        assert not np.signbit(game.payoff[game.payoff == 0]).any()
        game.reset(game.over & (rng.random(64) < 0.5), rng)


@pytest.mark.parametrize("env_id", NATIVE)
def test_boards_that_are_over_ignore_their_moves_and_everything_is_legal_there(env_id, rng):
    game = started(env_id, 32, rng)
    while not game.over.any():
        game.play(random_moves(game, rng))
    over = game.over
    payoff, seen = game.payoff, [game.observe(player) for player in both(game)]
    assert all(game.legal(player)[over].all() for player in both(game))
    action = random_moves(game, rng)
    action[over] = 99
    game.play(action)
    np.testing.assert_array_equal(game.payoff[over], payoff[over])
    for player, before in zip(both(game), seen, strict=True):
        np.testing.assert_array_equal(game.observe(player)[over], before[over])


@pytest.mark.parametrize("env_id", NATIVE)
def test_observations_are_float32_between_0_and_1_and_masks_leave_a_move(env_id, rng):
    game = started(env_id, 16, rng)
    for _ in range(100):
        for player in both(game):
            seen, legal = game.observe(player), game.legal(player)
            assert seen.dtype == np.float32 and seen.shape == (16, game.obs_dim) and seen.min() >= 0 and seen.max() <= 1
            assert legal.dtype == bool and legal.shape == (16, game.num_actions) and legal.any(axis=1).all()
            assert game.simultaneous or legal[game.to_move != player].all()
        game.play(random_moves(game, rng))
        game.reset(game.over, rng)


@pytest.mark.parametrize("env_id", sorted(PETTINGZOO))
def test_the_viewers_own_stones_come_first_on_both_sides(env_id):
    game = played(env_id, [0, 1])
    first, second = (game.observe(player).reshape(2, -1) for player in both(game))
    np.testing.assert_array_equal(first, second[::-1])
    bottom = 0 if env_id == "minirl/TicTacToe-v0" else 35  # the cell of action 0
    assert np.flatnonzero(first[0]) == bottom and np.flatnonzero(first[1]) == bottom + 1


@pytest.mark.parametrize("env_id", NATIVE)
def test_sp_01_a_copy_shares_no_memory_and_the_arrays_that_were_kept_stay(env_id, rng):
    game = started(env_id, 8, rng)
    other = game.copy()
    arrays = {name: value for name, value in vars(game).items() if isinstance(value, np.ndarray)}
    kept = {name: value.copy() for name, value in arrays.items()}
    assert all(not np.shares_memory(value, getattr(other, name)) for name, value in arrays.items())
    for _ in range(12):
        game.play(random_moves(game, rng))
        game.reset(game.over, rng)
    for name, value in kept.items():
        np.testing.assert_array_equal(arrays[name], value)
        np.testing.assert_array_equal(getattr(other, name), value)


@pytest.mark.parametrize("env_id", NATIVE)
def test_a_board_does_not_depend_on_the_others(env_id, rng):
    """B boards are B games of one board, moved alike."""
    together = started(env_id, 6, rng)
    alone = [together.copy() for _ in range(6)]
    for _ in range(10):
        action = random_moves(together, rng)
        together.play(action)
        for board, game in enumerate(alone):
            moves = np.array(random_moves(game, rng))
            moves[board] = action[board]
            game.play(moves)
            for player in both(together):
                np.testing.assert_array_equal(game.observe(player)[board], together.observe(player)[board])
            np.testing.assert_array_equal(game.payoff[board], together.payoff[board])


# ---- refusals


@pytest.mark.parametrize(
    ("env_id", "action", "says"),
    [
        ("minirl/TicTacToe-v0", [3, 4], ["4 (centre)", "player 1", "board 1", "play one of 0, 1, 2, 3, 5, 6, 7, 8"]),
        ("minirl/TicTacToe-v0", [9, 0], ["action = 9 of", "player 1", "board 0"]),
        ("minirl/TicTacToe-v0", [0, -1], ["action = -1 of", "player 1", "board 1"]),
        ("minirl/KuhnPoker-v0", [0, 2], ["action = 2 of", "player 1", "board 1", "play one of 0, 1"]),
    ],
)
def test_an_illegal_move_is_refused_before_anything_is_moved(env_id, action, says):
    game = played(env_id, [4 if "Tic" in env_id else 0], num_boards=2)
    before = game.observe(np.zeros(2, int))
    with pytest.raises(UserError) as refused:
        game.play(np.array(action))
    assert all(each in str(refused.value) for each in says), str(refused.value)
    np.testing.assert_array_equal(game.observe(np.zeros(2, int)), before)


def test_a_full_column_and_either_players_move_in_rock_paper_scissors_are_refused():
    game = played("minirl/ConnectFour-v0", [2] * 6)
    with pytest.raises(UserError, match=r"2 \(column 2\) of player 0 on board 0 is illegal: play one of 0, 1, 3, 4"):
        game.play(np.array([2]))
    with pytest.raises(UserError, match="action = 3 of player 1 on board 0 is illegal: play one of 0, 1, 2"):
        played("minirl/RockPaperScissors-v0", []).play(np.array([[0, 3]]))


@pytest.mark.parametrize("action", [np.zeros(2), np.zeros((2, 2), int), np.zeros(3, int)])
def test_moves_of_another_shape_or_type_are_refused(action):
    with pytest.raises(UserError, match=r"give integers of shape \(2,\)"):
        played("minirl/TicTacToe-v0", [], num_boards=2).play(action)


def test_ids_that_are_no_game_are_refused_with_those_there_are(monkeypatch):
    with pytest.raises(EnvError, match=r"'CartPole-v1' is no game of two players.*TicTacToe.*pettingzoo/NAME"):
        make_game("CartPole-v1", 1)
    with pytest.raises(ConfigError, match="num_boards = 0"):
        make_game("minirl/TicTacToe-v0", 0)
    monkeypatch.setitem(sys.modules, "pettingzoo", None)
    with pytest.raises(EnvError, match=r'needs pettingzoo: pip install "minirl\[marl\]"'):
        make_game("pettingzoo/tictactoe_v3", 1)


def test_games_of_pettingzoo_that_are_none_of_ours_are_refused():
    pytest.importorskip("pettingzoo.classic.rps_v2")
    with pytest.raises(EnvError, match="'pettingzoo/checkers_v1' is none of PettingZoo's classic games"):
        make_game("pettingzoo/checkers_v1", 1)
    with pytest.raises(EnvError, match="'pettingzoo/rps_v2' has no action masks"):
        make_game("pettingzoo/rps_v2", 1)


class Nim:
    """Turn-based as PettingZoo's games are, without PettingZoo: who takes the last of three stones wins."""

    possible_agents = ("a", "b")
    gains = (1, -1)

    def observation_space(self, agent):
        parts = {"observation": spaces.Box(0, 3, (1,), np.int8), "action_mask": spaces.Box(0, 1, (2,), np.int8)}
        return spaces.Dict(parts)

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None):
        self.stones, self.agent_selection = 3, self.possible_agents[0]
        self.rewards, self.terminations, self.truncations = ({agent: 0 for agent in "ab"} for _ in range(3))

    def observe(self, agent):
        return {"observation": np.array([self.stones], np.int8), "action_mask": np.array([1, self.stones > 1], np.int8)}

    def step(self, action):
        mover, other = self.agent_selection, self.possible_agents[self.agent_selection == "a"]
        self.stones -= action + 1
        if self.stones == 0:
            self.rewards = dict(zip((mover, other), self.gains, strict=True))
            self.terminations = dict.fromkeys("ab", True)
        self.agent_selection = other


def test_any_turn_based_game_with_masks_can_be_played_and_what_it_raises_says_where(rng):
    game = PettingZooGame("nim", Nim, 2)
    game.reset(np.ones(2, bool), rng)
    np.testing.assert_allclose(game.observe(game.to_move), [[1], [1]])  # 3 of 0…3
    game.play(np.array([1, 0]))
    with pytest.raises(UserError, match=r"action = 1 \(action 1\) of player 1 on board 0 is illegal: play one of 0"):
        game.play(np.array([1, 1]))
    game.play(np.array([0, 0]))
    assert game.over.tolist() == [True, False] and game.payoff.tolist() == [[-1, 1], [0, 0]] and game.to_move[1] == 0
    game.envs[1].step = lambda action: 1 / 0
    with pytest.raises(ZeroDivisionError) as raised:
        game.play(np.array([0, 0]))
    assert "env = 'nim', board=1" in raised.value.__notes__[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"possible_agents": ("a", "b", "c")}, "has 3 agents"),
        ({"observe": property()}, "is not turn-based"),
        ({"observation_space": lambda self, agent: spaces.Discrete(2)}, "has no action masks"),
        ({"action_space": lambda self, agent: spaces.Discrete(2 + (agent == "b"))}, "players with different spaces"),
        ({"action_space": lambda self, agent: spaces.Box(0, 1, (2,))}, "has Box actions and Box observations"),
        ({"gains": (1, 0)}, "ended with payoffs that do not sum to 0"),
    ],
)
def test_a_game_that_does_not_fit_is_refused_in_one_sentence(changes, says, rng):
    with pytest.raises(EnvError, match=f"env = 'nim' .*{says}: a game has two players in turns"):
        game = PettingZooGame("nim", type("Other", (Nim,), changes), 1)
        game.reset(np.ones(1, bool), rng)
        while True:
            game.play(np.zeros(1, int))


# ---- simple opponents


@pytest.mark.parametrize(
    ("env_id", "moves", "best"),
    [
        ("minirl/TicTacToe-v0", [0, 3, 1, 4], {2}),  # wins rather than blocks 5
        ("minirl/TicTacToe-v0", [0, 4, 1], {2}),  # blocks
        ("minirl/TicTacToe-v0", [0, 4, 8, 2], {6}),
        ("minirl/ConnectFour-v0", [0, 1, 0, 1, 0, 1], {0}),  # wins rather than blocks
        ("minirl/ConnectFour-v0", [0, 1, 0, 1, 0], {0}),
        ("minirl/ConnectFour-v0", [2, 2, 3, 3, 4], {1, 5}),  # two threats: one of them
        ("minirl/ConnectFour-v0", [], set(range(7))),
    ],
)
def test_one_ply_wins_else_blocks_else_plays_anything(env_id, moves, best, rng):
    assert set(one_ply(played(env_id, moves, num_boards=200), rng)) == best


@pytest.mark.parametrize("env_id", sorted(PETTINGZOO))
def test_winning_moves_are_those_that_win(env_id, rng):
    game = started(env_id, 64, rng)
    for _ in range(40):
        wins = game.winning(game.to_move)
        for action in range(game.num_actions):
            can = game.legal(game.to_move)[:, action]
            after = game.copy()
            after.play(np.where(can, action, random_moves(game, rng)))
            won = can & ~game.over & (after.payoff[np.arange(64), game.to_move] == 1)
            np.testing.assert_array_equal(won[~game.over], wins[~game.over, action])
        game.play(random_moves(game, rng))
        game.reset(game.over, rng)


def test_one_ply_beats_random_play_and_needs_a_grid(rng):
    game = started("minirl/ConnectFour-v0", 400, rng)
    ours = np.arange(400) % 2
    while not game.over.all():
        game.play(np.where(game.to_move == ours, one_ply(game, rng), random_moves(game, rng)))
    assert game.payoff[np.arange(400), ours].mean() > 0.6
    with pytest.raises(EnvError, match="one_ply cannot look ahead in KuhnPoker"):
        one_ply(started("minirl/KuhnPoker-v0", 1, rng), rng)


# ---- drawn for a person


def test_text_shows_the_board_with_what_can_be_played():
    game = played("minirl/TicTacToe-v0", [4, 0])
    assert game.text(0, 0) == "O 1 2\n3 X 5\n6 7 8\nyou are X"
    assert game.text(0, 1).endswith("you are O") and game.action_name(4) == "centre"
    four = played("minirl/ConnectFour-v0", [3, 3]).text(0, 1).splitlines()
    assert four[4:] == [". . . O . . .", ". . . X . . .", "0 1 2 3 4 5 6", "you are O"]


def test_text_of_kuhn_poker_keeps_the_other_card_hidden_until_it_is_shown():
    game = KuhnPoker(1)
    game.deal(np.ones(1, bool), np.array([[0, 2]]))
    assert game.text(0, 0) == "your card: J (of J < Q < K), first to act\nyou: –\nthey: –"
    folded = game.copy()
    for move in (1, 0):
        folded.play(np.array([move]))
    assert "their card" not in folded.text(0, 0)
    for move in (0, 1, 1):
        game.play(np.array([move]))
    assert game.text(0, 0).endswith("you: pass, bet\nthey: bet\ntheir card: K")


def test_text_of_rock_paper_scissors_says_what_both_chose():
    game = played("minirl/RockPaperScissors-v0", [])
    assert game.text(0, 0) == "rock, paper or scissors?"
    game.play(np.array([[0, 1]]))
    assert game.text(0, 1) == "you: paper\nthey: rock"

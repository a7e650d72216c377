"""Self-play: whose moves are learned from, who is played against and when, and what that does to ratings. [EXT-3]"""

import hashlib
import itertools

import numpy as np
import pytest
from toy_teams import same_trees

import minirl
from minirl.deploy.agent import Agent
from minirl.errors import ConfigError
from minirl.multiagent import METHODS, game
from minirl.multiagent.opponent_pool import Checkpoint, Pool, RandomPlayer
from minirl.multiagent.self_play import SelfPlayLearner

SMALL = {"num_envs": 6, "num_steps": 20, "hidden": (5,), "epochs": 2, "minibatch_size": 64, "dtype": "float64"}
SMALL |= {"opponents": "uniform"}
SHAPES = {"tic_tac_toe": (3, 3, 3), "connect_four": (6, 7, 4)}
IDS = [
    ("minirl/TicTacToe-v0", "tic_tac_toe"),
    ("minirl/ConnectFour-v0", "connect_four"),
    ("pettingzoo/tictactoe_v3", "tic_tac_toe"),
    ("pettingzoo/connect_four_v3", "connect_four"),
]


def self_play(env, **fields):
    """A learner on a game; its `heard` holds all that was played: (board, side, opponent, action or None: a reset)."""
    if env.startswith("pettingzoo"):
        pytest.importorskip("pettingzoo")
        pytest.importorskip("pygame")
    config = minirl.configure("selfplay", env=env, **(SMALL | {"total_timesteps": 10**6} | fields))
    envs = game(config)
    envs.heard, play, reset = [], envs.game.play, envs.game.reset

    def heard_play(action):
        live = ~envs.game.over
        play(action)
        for b in np.flatnonzero(live).tolist():
            envs.heard.append((b, int(envs.side[b]), envs.opponents[b], np.array(action)[b].tolist()))

    def heard_reset(boards, rng):
        reset(boards, rng)
        envs.heard.extend((b, None, None, None) for b in np.flatnonzero(boards).tolist())

    envs.game.play, envs.game.reset = heard_play, heard_reset
    return SelfPlayLearner(METHODS["selfplay"], envs, config)


def played(learner):
    """The games on each board: board -> list of games, each a list of (side, opponent, action)."""
    boards = {b: [] for b in range(learner.envs.num_envs)}
    for b, side, opponent, action in learner.envs.heard:
        if action is None:
            boards[b].append([])
        else:
            boards[b][-1].append((side, opponent, action))
    return boards


class Plain:
    """Stones in a line, as one would write it down: a grid of 0, 1 and 2."""

    def __init__(self, kind):
        self.rows, self.columns, self.length = SHAPES[kind]
        self.drops, self.grid = kind == "connect_four", np.zeros((self.rows, self.columns), int)

    def put(self, player, action):
        """A stone -> whether it wins."""
        if self.drops:
            row, column = np.flatnonzero(self.grid[:, action] == 0).max(), action
        else:
            row, column = divmod(action, 3)
        assert self.grid[row, column] == 0
        self.grid[row, column] = player + 1
        for down, right in ((0, 1), (1, 0), (1, 1), (1, -1)):
            reach = range(-self.length + 1, self.length)
            line = "".join(str(self.at(row + n * down, column + n * right)) for n in reach)
            if str(player + 1) * self.length in line:
                return True
        return False

    def at(self, row, column):
        return self.grid[row, column] if 0 <= row < self.rows and 0 <= column < self.columns else 0

    def seen(self, side):
        return np.concatenate([(self.grid == side + 1).ravel(), (self.grid == 2 - side).ravel()]).astype(float)

    @property
    def full(self):
        return (self.grid > 0).all()


def transitions(kind, moves, side, over):
    """What a player on `side` lives through: (obs, action, reward, end, next obs) of each of its moves."""
    board, mine, found = Plain(kind), None, []
    for n, action in enumerate(moves):
        player = n % 2
        if player == side:
            if mine:
                found.append((*mine, 0.0, False, board.seen(side)))
            mine = board.seen(side), action
        won = board.put(player, action)
        assert (won or board.full) == (over and n == len(moves) - 1)
    if over:
        found.append((*mine, float(won) * (1 if player == side else -1), True, board.seen(side)))
    return found


# ------------------------------------------------------------------- SP-05: rows, signs, the last move


@pytest.mark.parametrize(("env", "kind"), IDS)
def test_sp_05_ext_3_only_the_learners_own_rows_with_its_own_sign(env, kind):
    """Every row of three rollouts, against games replayed on a plain board: on both sides, wins and losses."""
    learner = self_play(env, num_steps=30 if kind == "tic_tac_toe" else 60)
    rows = {b: [] for b in range(learner.envs.num_envs)}
    for _ in range(3):
        rollout = learner.collector.collect(learner.state["theta_pi"], learner.preprocess)
        learner.collector.commit()
        assert rollout.valid.all() and not rollout.truncated.any()
        for t, b in np.ndindex(rollout.reward.shape):
            row = [getattr(rollout, name)[t, b] for name in ("obs", "action", "reward", "terminated", "next_obs")]
            rows[b].append(row)
    ends = set()
    for b, games in played(learner).items():
        expected = []
        for number, moves in enumerate(games):
            if not moves:  # the last one, that has just begun
                continue
            side, actions = moves[0][0], [action for _, _, action in moves]
            assert {side} == {each for each, _, _ in moves}
            found = transitions(kind, actions, side, over=number < len(games) - 1)
            ends |= {(side, found[-1][2])} if number < len(games) - 1 else set()
            expected += found
        expected = expected[: len(rows[b])]
        assert len(rows[b]) - len(expected) <= 1  # the last move of the last rollout may have led to nothing yet
        for row, other in zip(rows[b], expected, strict=False):
            for x, y in zip(row, other, strict=True):
                assert np.array_equal(x, y)
    assert {(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0)} <= ends


def test_sp_05_simultaneous_moves_are_paid_to_their_own_side():
    """Rock-paper-scissors against its table: a beats b where a = b + 1 (mod 3)."""
    learner = self_play("minirl/RockPaperScissors-v0", num_envs=12)
    rollout = learner.collector.collect(learner.state["theta_pi"], learner.preprocess)
    sides = set()
    for b, games in played(learner).items():
        for t, ((side, _, both),) in enumerate(g for g in games if g):
            mine, theirs = both[side], both[1 - side]
            assert rollout.action[t, b] == mine and rollout.terminated[t, b]
            assert rollout.reward[t, b] == [0, 1, -1][(mine - theirs) % 3]
            sides.add(side)
    assert sides == {0, 1}


def test_sp_05_kuhn_poker_pays_what_its_table_says():
    """Pass = 0, bet = 1; a fold loses the ante, a showdown the ante or two; rewards of the learner add up so."""
    learner = self_play("minirl/KuhnPoker-v0", num_envs=12, num_steps=40)
    learner.collector.collect(learner.state["theta_pi"], learner.preprocess)
    envs = learner.envs
    assert np.array_equal(np.abs([p for _, p in envs.results]) >= 1, np.ones(len(envs.results), bool))
    lengths = {tuple(a for _, _, a in moves) for games in played(learner).values() for moves in games[:-1]}
    assert lengths == {(0, 0), (0, 1, 0), (0, 1, 1), (1, 0), (1, 1)}


# ---------------------------------------------------------------------- SP-01, SP-02, SP-04: opponents


def fingerprint(agent):
    """Of all numbers that an agent acts by."""
    parts = [agent.theta, agent.normalizer.moments.mean, agent.normalizer.moments.m2, agent.normalizer.inv_std]
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def test_sp_01_sp_04_ext_3_a_snapshot_stays_what_it_was_with_its_own_statistics(rng):
    """While training goes on: its bits, and the probabilities of its moves, those of the policy of its time."""
    learner = self_play("minirl/TicTacToe-v0", pool_every=2, normalize_obs=True, lr=0.01)
    obs, known = rng.random((9, 18)).astype(np.float32), {}
    for _ in range(12):
        learner.step()
        for member in learner.pool.members[1:]:
            print_, phi = fingerprint(member.agent), member.agent.phi(obs)
            if id(member) not in known:
                assert member.step == learner.global_step and np.array_equal(phi, learner.policy.phi(obs))
                known[id(member)] = print_, phi
            assert known[id(member)][0] == print_ and np.array_equal(known[id(member)][1], phi)
    agents = [member.agent for member in learner.pool.members[1:]]
    assert len(agents) == 6 and len(known) == 6
    for one, other in itertools.combinations([*agents[:-1], learner.policy], 2):
        assert not np.shares_memory(one.theta, other.theta) and not np.array_equal(one.theta, other.theta)
        assert one.normalizer.moments.count < other.normalizer.moments.count
        assert not np.array_equal(one.phi(obs), other.phi(obs))
    assert not any(np.shares_memory(agent.theta, learner.state["theta_pi"]) for agent in agents)


@pytest.mark.parametrize("opponents", ["latest", "uniform", "prioritised"])
def test_sp_02_ext_3_opponents_change_between_games_alone(opponents):
    """A checkpoint joins after every update, in the middle of games, and the pool is thinned."""
    learner = self_play("minirl/ConnectFour-v0", pool_every=1, pool_size=4, num_steps=9, opponents=opponents)
    for _ in range(12):
        learner.step()
    games = [moves for games in played(learner).values() for moves in games]
    met = [{id(opponent) for _, opponent, _ in moves} for moves in games]
    assert all(len(each) == 1 for each in met if each) and len(set.union(*met)) > 4
    assert max(map(len, games)) > 2 * 9  # over more than one update
    assert len(learner.pool.members) <= 4


def test_sp_02_the_opponent_that_was_drawn_is_the_one_that_moves():
    """Members of the pool that always take the first or the last legal move, told apart by their moves."""

    class First:
        def act_batch(self, obs, rng, mask):
            return mask.argmax(axis=1)

    class Last:
        def act_batch(self, obs, rng, mask):
            return mask.shape[1] - 1 - mask[:, ::-1].argmax(axis=1)

    learner = self_play("minirl/TicTacToe-v0", pool_every=1000)
    learner.pool.members = [Checkpoint(First(), 0, 0.0), Checkpoint(Last(), 0, 0.0)]
    learner.envs.reset()
    learner.envs.heard.clear()
    learner.collector.reset()
    learner.step()
    for moves in itertools.chain(*played(learner).values()):
        free = list(range(9))
        for n, (side, opponent, action) in enumerate(moves):
            if n % 2 != side:
                assert action == (free[0] if isinstance(opponent.agent, First) else free[-1])
            free.remove(action)


def test_ext_3_who_is_drawn():
    """latest: the newest; uniform: all alike; prioritised: (1 − p)², p = (score + 1)/(games + 2)."""
    pool = Pool(10, "prioritised", np.random.default_rng(0))
    pool.members = [Checkpoint(RandomPlayer(), 0, 0.0, 8, 8), Checkpoint(RandomPlayer(), 1, 0.0, 8, 0)]
    pool.members.append(Checkpoint(RandomPlayer(), 2, 0.0))
    weight = np.array([0.1**2, 0.9**2, 0.5**2])
    np.testing.assert_allclose(pool.probabilities(), weight / weight.sum(), rtol=1e-12)
    drawn = pool.draw(4000)
    share = [sum(each is member for each in drawn) / 4000 for member in pool.members]
    np.testing.assert_allclose(share, weight / weight.sum(), atol=0.03)
    pool.choice = "latest"
    assert pool.probabilities().tolist() == [0, 0, 1]
    pool.choice = "uniform"
    assert pool.probabilities().tolist() == [1 / 3] * 3


@pytest.mark.parametrize("size", [1, 2, 5])
def test_ext_3_a_full_pool_keeps_the_newest_and_thins_the_rest(size):
    pool = Pool(size, "latest", np.random.default_rng(0))
    for step in range(1, 30):
        pool.add(RandomPlayer(), step)
        assert pool.members[-1].step == step and len(pool.members) <= size
        steps = [member.step for member in pool.members]
        assert steps == sorted(set(steps))


# -------------------------------------------------------------------------------------- SP-03: ratings


def rated(rng, members=7):
    pool = Pool(100, "uniform", np.random.default_rng(0))
    pool.members = [Checkpoint(RandomPlayer(), n, float(elo)) for n, elo in enumerate(rng.normal(0, 300, members))]
    pool.elo = 120.0
    return pool


def test_sp_03_ext_3_the_sum_of_all_ratings_stays_and_the_order_of_results_does_not_matter(rng):
    """1000 games in batches, in three orders: the same ratings to the last bit, the sum to 1e-9."""
    who, payoff = rng.integers(7, size=1000), rng.choice([-2.0, -1.0, 0.0, 1.0], size=1000)
    found = []
    for order in range(3):
        pool = rated(np.random.default_rng(5))
        before = pool.elo + sum(member.elo for member in pool.members)
        for batch in np.split(np.arange(1000), 20):
            batch = np.random.default_rng(order).permutation(batch)
            pool.record([pool.members[i] for i in who[batch]], payoff[batch])
            total = pool.elo + sum(member.elo for member in pool.members)
            assert abs(total - before) < 1e-9
        assert sum(member.games for member in pool.members) == 1000
        assert sum(member.score for member in pool.members) == ((np.sign(payoff) + 1) / 2).sum()
        found.append([pool.elo, *(member.elo for member in pool.members)])
    assert found[0] == found[1] == found[2]


def test_sp_03_a_win_moves_both_ratings_by_the_formula():
    """Elo: K (score − 1/(1 + 10^((theirs − mine)/400))), K = 32."""
    for payoff, score in ((1.0, 1.0), (2.0, 1.0), (0.0, 0.5), (-1.0, 0.0)):
        pool = Pool(9, "latest", np.random.default_rng(0))
        pool.elo, pool.members[0].elo = 100.0, 300.0
        pool.record(pool.members[:1], np.array([payoff]))
        change = 32 * (score - 1 / (1 + 10**0.5))
        np.testing.assert_allclose([pool.elo, pool.members[0].elo], [100 + change, 300 - change], rtol=1e-14)
        assert (pool.members[0].games, pool.members[0].score) == (1, score)


def test_sp_03_the_result_belongs_to_the_learner_and_to_the_one_it_played():
    """Replayed on a plain board: payoffs to the learner on both sides, to the member of the pool that sat there."""
    learner = self_play("minirl/TicTacToe-v0", pool_every=1, num_envs=9)
    for _ in range(3):
        learner.step()
    before = {id(member): (member.games, member.score) for member in learner.pool.members}
    learner.envs.heard.clear()
    learner.collector.reset()
    learner.collector.collect(learner.state["theta_pi"], learner.preprocess)
    opponents, payoff = learner.envs.take_results()
    learner.pool.record(opponents, payoff)
    tally, sides = {}, set()
    for games in played(learner).values():
        for moves in games[:-1]:
            side, opponent, _ = moves[0]
            board = Plain("tic_tac_toe")
            won = [board.put(n % 2, action) for n, (_, _, action) in enumerate(moves)][-1]
            mine = 0.5 if not won else float((len(moves) - 1) % 2 == side)
            count, score = tally.get(id(opponent), (0, 0.0))
            tally[id(opponent)] = count + 1, score + mine
            sides.add((side, mine))
    assert {(0, 1.0), (0, 0.0), (1, 1.0), (1, 0.0)} <= sides and len(tally) >= 3
    for member in learner.pool.members:
        count, score = before[id(member)]
        more = tally.get(id(member), (0, 0.0))
        assert (member.games, member.score) == (count + more[0], score + more[1])


# --------------------------------------------------------------------------------- snapshots, mistakes


@pytest.mark.parametrize("normalize", [False, True])
def test_ext_3_a_snapshot_holds_the_pool_and_goes_back_to_it(normalize):
    learner = self_play("minirl/TicTacToe-v0", pool_every=1, normalize_obs=normalize)
    for _ in range(3):
        learner.step()
    before = learner.snapshot()
    agents = [member.agent for member in learner.pool.members]
    learner.step()
    assert not same_trees(before, learner.snapshot())
    learner.restore(before)
    assert same_trees(before, learner.snapshot())
    obs = np.random.default_rng(0).random((5, 18)).astype(np.float32)
    for old, member in zip(agents, learner.pool.members, strict=True):
        assert type(old) is type(member.agent)
        if isinstance(old, Agent):
            assert np.array_equal(old.phi(obs), member.agent.phi(obs))
    learner.step()
    learner.restore(before)
    assert same_trees(before, learner.snapshot())


@pytest.mark.parametrize(
    ("fields", "said"),
    [({"mask_actions": False}, "mask_actions = False"), ({"opponents": "best"}, "opponents = 'best'")],
)
def test_ext_3_what_cannot_be_is_said(fields, said):
    with pytest.raises(ConfigError, match=said):
        minirl.configure("selfplay", **fields)


def test_ext_3_greedy_play_beats_a_random_player_after_a_little_training():
    """Tic-tac-toe, 40 000 moves: a mean payoff above 0.5 against random moves, half of the games on each side."""
    result = minirl.train("selfplay", total_timesteps=40_000, num_envs=32, seed=1, lr=3e-3)
    returns = minirl.evaluate(result, episodes=400).returns
    assert returns.mean() > 0.5 and set(returns) <= {-1.0, 0.0, 1.0}

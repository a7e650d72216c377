"""Self-play on one page: PPO (Schulman et al., 2017) against a growing pool of its own past, NumPy alone.

    opponent ∼ earlier θ, all alike, drawn for each game; it grows stronger as the policy does  [EXT-3]

To learn tic-tac-toe, in less than a minute:  python docs/onepage/selfplay.py --seed 0
New against ppo.py: the game, illegal moves, and collect, where past selves answer. The library,
minirl/multiagent/self_play.py, is the same made fast, general and safe: a test finds the same parameters in both.
A tag such as [PPO-1] names an equation in docs/equations.md and stands at the line that computes it. theta is θ of the
policy π_θ, phi is φ of the value function V_φ, both flat vectors (n,). N samples, T moves on each of B boards.
"""

import argparse
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Config:
    seed: int = 0
    total_timesteps: int = 600_000  # moves of the learner on all boards together
    num_envs: int = 128  # B, boards
    num_steps: int = 32  # T, moves of the learner on each board before an update
    pool_every: int = 15  # updates until a copy of the policy joins the pool
    gamma: float = 1.0  # γ, discount of rewards
    lam: float = 0.95  # λ of GAE
    clip: float = 0.2  # ε
    ent_coef: float = 0.1  # c_H
    vf_coef: float = 0.5  # c_V
    lr: float = 3e-3  # α, step size of Adam, which falls to 0
    epochs: int = 4  # passes over a rollout
    minibatch_size: int = 256
    max_grad_norm: float = 0.5  # a longer gradient is shortened to this


# ---- The network: y = tanh(tanh(x W1 + b1) W2 + b2) W3 + b3, with all its parameters in one vector theta (n,).
def split(theta, D):
    """W1 (D, 64), b1 (64,), W2 (64, 64), b2 (64,), W3 (64, out), b3 (out,), cut out of theta in this order."""
    out = (len(theta) - (D + 1) * 64 - (64 + 1) * 64) // (64 + 1)
    shapes = (D, 64), (64,), (64, 64), (64,), (64, out), (out,)
    parts = np.split(theta, np.cumsum([np.prod(shape) for shape in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def init(D, out, last_gain, rng):
    """First parameters (n,): orthogonal weights, which keep the length of what goes through them; biases of 0."""
    parts = []
    for n_in, n_out, gain in (D, 64, np.sqrt(2)), (64, 64, np.sqrt(2)), (64, out, last_gain):
        q, r = np.linalg.qr(rng.standard_normal((max(n_in, n_out), min(n_in, n_out))))
        q = q * np.sign(np.diag(r))  # so that no orthogonal matrix is more likely than another
        parts += [gain * (q if n_in >= n_out else q.T).ravel(), np.zeros(n_out)]
    return np.concatenate(parts)


def forward(theta, x):
    """Outputs y (..., out) for inputs x (..., D), and what the derivatives of y in theta are made of."""
    W1, b1, W2, b2, W3, b3 = split(theta, x.shape[-1])
    h1 = np.tanh(x @ W1 + b1)
    h2 = np.tanh(h1 @ W2 + b2)
    return h2 @ W3 + b3, (x, h1, h2, W2, W3)


def backward(cache, dy):
    """Jᵀ dy (n,), J = ∂y/∂θ: back-propagation from dy (N, out), the gradient of a number in y, to its gradient in θ."""
    x, h1, h2, W2, W3 = cache
    dz2 = dy @ W3.T * (1 - h2**2)  # tanh' = 1 − tanh²
    dz1 = dz2 @ W2.T * (1 - h1**2)
    return np.concatenate([g.ravel() for g in (x.T @ dz1, dz1.sum(0), h1.T @ dz2, dz2.sum(0), h2.T @ dy, dy.sum(0))])


def adam_step(theta, g, adam, lr):
    """A step of Adam (Kingma & Ba, 2015) against the gradient g; theta and adam, its memory, change in place."""
    adam["t"] += 1
    adam["m"] += (1 - 0.9) * (g - adam["m"])  # running means of the gradient and of its square
    adam["v"] += (1 - 0.999) * (g * g - adam["v"])
    m, v = adam["m"] / (1 - 0.9 ** adam["t"]), adam["v"] / (1 - 0.999 ** adam["t"])
    theta -= lr * m / (np.sqrt(v) + 1e-5)


# ---- The game. A board (18,), as one of its players sees it: 1 where its own stones are, then 1 where the other's are.
LINES = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 3, 6], [1, 4, 7], [2, 5, 8], [0, 4, 8], [2, 4, 6]])


def result(board):
    """Who has won boards (N, 18): 1 I, −1 the other, 0 nobody (N,); and which games are over (N,)."""
    mine, theirs = (board[:, side + LINES].all(axis=2).any(axis=1) for side in (0, 9))
    return mine.astype(float) - theirs, mine | theirs | (board.sum(axis=1) == 9)


# ---- The data: a rollout of the policy π_θ(k|s) = exp(y_k) / Σ_j exp(y_j), and how good its moves were.
def policy(theta, board):
    """log π_θ (N, 9) of the player that sees boards (N, 18); a taken cell has probability 0, and so gradient 0."""
    y, cache = forward(theta, board)
    z = np.where(board[:, :9] + board[:, 9:] == 0, y, -1e9)
    z = z - z.max(axis=1, keepdims=True)  # without the largest y, which cancels, exp cannot overflow
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True)), cache


def draw(logp, u):
    """Moves (N,): probabilities are lengths that fill [0, 1); the one that u (N, 1), uniform there, meets is it."""
    p = np.exp(logp)
    return (p.cumsum(axis=1) <= u * p.sum(axis=1, keepdims=True)).sum(axis=1)


def answer(board, where, opponent, pool, rng):
    """The opponents' moves on the boards (B, 18) `where` (B,), in place; each sees its board from the other side."""
    for k in dict.fromkeys(opponent[where]):  # one past self after the other
        b = np.flatnonzero(where & (opponent == k))
        board[b, 9 + draw(policy(pool[k], np.roll(board[b], 9, axis=1))[0], rng.random((len(b), 1)))] = 1


def begin(board, where, opponent, pool, rng):
    """New games on the boards (B, 18) `where` (B,), in place: on about half of them the opponent moves first."""
    second = rng.integers(2, size=len(board)) == 1
    board[where] = 0
    opponent[where] = len(pool) * rng.random(where.sum())  # rounded down: any past self, until the game ends  [EXT-3]
    answer(board, where & second, opponent, pool, rng)


def collect(theta, board, opponent, pool, rng, rngs, config):
    """T moves of π_θ on each board (B, 18), which go on in place: five arrays (T, B, ...), in the order of `rows`."""
    rows = []
    for _ in range(config.num_steps):
        before, u = board.copy(), np.array([[each.random()] for each in rngs])
        action = draw(policy(theta, board)[0], u)
        board[np.arange(len(board)), action] = 1
        answer(board, ~result(board)[1], opponent, pool, rng)
        reward, over = result(board)  # after the answer: the loser's last move gets its −1
        rows.append((before, action, reward, board.copy(), over))
        if over.any():
            begin(board, over, opponent, pool, rng)
    return [np.array(column) for column in zip(*rows, strict=True)]


def gae(reward, value, next_value, terminated, over, config):
    """Advantages (T, B), the last step first. V_φ stands for what a truncation, or the end of the rollout, cuts off."""
    td = reward + config.gamma * next_value * ~terminated - value  # δ_t = r_t + γ V(s_{t+1}) − V(s_t)  [GAE-1]
    adv, running = np.zeros_like(td), 0.0
    for t in reversed(range(len(td))):
        adv[t] = running = td[t] + config.gamma * config.lam * ~over[t] * running  # = Σ_l (γλ)^l δ_{t+l}  [GAE-2]
    return adv


def gradient(theta, phi, samples, config):
    """∇ of −(L^CLIP + c_H H − c_V L_V) in [theta, phi], on some of the samples: as in ppo.py."""
    board, action, adv, returns, logp_old = samples
    N, (logp, cache) = len(board), policy(theta, board)
    p, ratio = np.exp(logp), np.exp(logp[np.arange(N), action] - logp_old)  # r = π_θ(a|s) / π_old(a|s)  [IS-2]
    clipped = np.minimum(np.maximum(ratio, 1 - config.clip), 1 + config.clip) * adv  # clip(r, 1−ε, 1+ε) A  [PPO-2]
    dratio = np.where(clipped < ratio * adv, 0, adv)  # of min(r A, clip(r) A)  [PPO-1, PPO-3]
    dy = (dratio * ratio)[:, None] * (np.eye(9)[action] - p)  # ∇r = r ∇log π  [IS-5]
    dy -= config.ent_coef * p * (logp - (p * logp).sum(axis=1, keepdims=True))  # ∇H  [PPO-7]
    value, cache_v = forward(phi, board)
    dvalue = 2 * (value - returns[:, None])  # of (V − V̂)²  [PPO-8]
    return np.concatenate([-backward(cache, dy / N), config.vf_coef * backward(cache_v, dvalue / N)])


def train(config):
    """The algorithm. Yields theta and phi after each update."""
    init_seed, env_seed, action_seed, update_seed = np.random.SeedSequence(config.seed).spawn(4)
    init_rng, rng, update_rng = map(np.random.default_rng, (init_seed, env_seed, update_seed))
    rngs = [np.random.default_rng(child) for child in action_seed.spawn(config.num_envs)]
    theta, phi = init(18, 9, 0.01, init_rng), init(18, 1, 1.0, init_rng)  # 0.01: all moves about as likely
    params = np.concatenate([theta, phi])
    theta, phi = np.split(params, [len(theta)])  # stretches of params: what changes it changes them
    adam = {"t": 0, "m": np.zeros_like(params), "v": np.zeros_like(params)}
    pool = [np.zeros_like(theta)]  # the first opponent: with θ = 0 every legal move is as likely
    start, opponent = np.zeros((config.num_envs, 18)), np.zeros(config.num_envs, int)
    begin(start, np.ones(config.num_envs, bool), opponent, pool, rng)
    for update, steps in enumerate(range(0, config.total_timesteps, config.num_steps * config.num_envs), 1):
        board, action, reward, after, over = collect(theta, start, opponent, pool, rng, rngs, config)
        value, next_value = forward(phi, board)[0][..., 0], forward(phi, after)[0][..., 0]
        adv = gae(reward, value, next_value, over, over, config)
        board, action, adv, returns = board.reshape(-1, 18), action.ravel(), adv.ravel(), (adv + value).ravel()
        logp_old = policy(theta, board)[0][np.arange(len(board)), action]
        samples = board, action, (adv - adv.mean()) / adv.std(), returns, logp_old
        lr = config.lr * (1 - steps / config.total_timesteps)  # falls to 0
        for _ in range(config.epochs):  # K passes in minibatches, ⌈N / size⌉ parts of a random order  [PPO-9]
            for part in np.array_split(update_rng.permutation(len(board)), -(-len(board) // config.minibatch_size)):
                g = gradient(theta, phi, [column[part] for column in samples], config)
                adam_step(params, g * min(1, config.max_grad_norm / np.linalg.norm(g)), adam, lr)
        if update % config.pool_every == 0:
            pool.append(theta.copy())  # frozen  [EXT-3]
        print(f"{steps + len(board):7} steps   result {reward[over].mean():5.2f} against {len(pool):2} past selves")
        yield theta, phi


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="self-play on tic-tac-toe")
    parser.add_argument("--seed", type=int, default=0)
    config = Config(seed=parser.parse_args().seed)
    *_, (theta, _) = train(config)
    theta[-65 * 9 :] *= 1000  # W3 and b3: all probability goes to the likeliest move
    rng, B = np.random.default_rng(0), config.num_envs
    games = np.zeros((B, 18)), np.zeros(B, int), [0 * theta], rng  # against the first opponent
    begin(games[0], np.ones(B, bool), *games[1:])
    board, _, reward, _, over = collect(theta, *games, [rng] * B, config)
    first = board.sum(axis=2) % 2 == 0  # where it is to move, there are as many stones of either
    for side, mine in ("first", over & first), ("second", over & ~first):
        print(f"moving {side} against a random player: {(reward[mine] >= 0).mean():.1%} of {mine.sum()} games not lost")

"""MAPPO on one page: PPO for a team (Yu et al., 2022, arXiv:2103.01955), NumPy alone.

    agent j acts by π_θ(a_j|o_j), on what it sees; the critic V_φ(s), in training only, sees s = (o_1, …, o_N)  [EXT-2]

To train three agents to share out three marks, in less than a minute:  python docs/onepage/mappo.py --seed 0
New against ppo.py: the environment, and in train the central critic. The library, minirl/multiagent/mappo.py, is the
same made fast, general and safe: a test finds the same parameters in both. A tag, [PPO-1], names an equation in
docs/equations.md. theta is θ of the policy that all agents share, phi is φ of the critic, both flat vectors (n,).
N agents, D numbers in an observation, K actions, T steps of B environments. Here an agent sees everything, from its own
cell, and s is that from all of their cells; the same lines serve where agents see less than the critic.
"""

import argparse
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Config:
    seed: int = 0
    total_timesteps: int = 200_000  # steps of all environments together
    num_envs: int = 32  # B
    num_steps: int = 32  # T, of each environment before an update
    gamma: float = 0.95  # γ, discount of rewards
    lam: float = 0.9  # λ of GAE
    clip: float = 0.2  # ε
    ent_coef: float = 0.01  # c_H
    vf_coef: float = 0.5  # c_V
    lr: float = 1e-3  # α, step size of Adam, which falls to 0
    epochs: int = 10  # passes over a rollout
    minibatch_size: int = 512
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


# ---- The environment: N agents walk in a corridor until there is one on each of N marks; all get the same reward.
N, SIZE, LIMIT = 3, 8, 20  # agents, cells, steps of a game
D, K, ACTIONS = 2 * N, 3, np.array([0, 1, -1])  # stay, right, left


def scatter(games, rng):
    """New games (games, 2N): the cells of the agents, then those of the marks, no two the same."""
    return rng.permuted(np.tile(np.arange(SIZE), (games, 1)), axis=1)[:, : 2 * N]


def observe(cells):
    """What each agent sees (N, B, D) in games (B, 2N): how far everything is from its own cell."""
    return (cells - cells.T[:N, :, None]) / SIZE


def move(cells, action):
    """The agents' actions (N, B), in place; the reward of all of them (B,), and which games are won (B,)."""
    cells[:, :N] = np.clip(cells[:, :N] + ACTIONS[action.T], 0, SIZE - 1)
    far = np.abs(cells[:, :N, None] - cells[:, None, N:]).min(axis=1)  # from each mark to the nearest agent (B, N)
    return -far.mean(axis=1), ~far.any(axis=1)


def straight(cells):
    """Actions (N, B) of a team that sees everything: the leftmost agent to the leftmost mark, and so on."""
    rank = cells[:, :N].argsort(axis=1).argsort(axis=1)
    way = np.take_along_axis(np.sort(cells[:, N:], axis=1), rank, axis=1) - cells[:, :N]
    return np.sign(way).T % 3  # in ACTIONS


def mean_return(act):
    """Mean of 1000 games, act: cells (B, 2N) -> actions (N, B)."""
    cells, total, playing = scatter(1000, np.random.default_rng(0)), 0, 1
    for _ in range(LIMIT):
        reward, won = move(cells, act(cells))
        total, playing = total + playing * reward, playing * ~won
    return total.mean()


# ---- The data: a rollout of π_θ(k|o) = exp(y_k) / Σ_j exp(y_j), and how good its actions were.
def log_softmax(y):
    """log π(k|s) (N, K) from y (N, K); without the largest y, which cancels, exp cannot overflow."""
    z = y - y.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def collect(theta, cells, length, rng, rngs, config):
    """T steps of π_θ in games (B, 2N), `length` (B,) steps old, which go on in place: arrays (T, ...) as in `rows`."""
    rows = []
    for _ in range(config.num_steps):
        obs = observe(cells)
        p = np.exp(log_softmax(forward(theta, obs.reshape(len(rngs), -1))[0]))  # (N·B, K), lengths that fill [0, 1)
        u = np.array([[each.random()] for each in rngs])  # (N·B, 1), uniform there: what it meets is the action
        action = (p.cumsum(axis=1) <= u * p.sum(axis=1, keepdims=True)).sum(axis=1).reshape(N, -1)
        reward, won = move(cells, action)
        over = won | (length == LIMIT - 1)
        rows.append((obs, action, reward, observe(cells), won, over))
        cells[over], length[:] = scatter(over.sum(), rng), np.where(over, 0, length + 1)  # [PPO-11]
    return [np.array(column) for column in zip(*rows, strict=True)]


def gae(reward, value, next_value, terminated, over, config):
    """Advantages (T, B), the last step first. V_φ stands for what a truncation, or the end of the rollout, cuts off."""
    td = reward + config.gamma * next_value * ~terminated - value  # δ_t = r_t + γ V(s_{t+1}) − V(s_t)  [GAE-1]
    adv, running = np.zeros_like(td), 0.0
    for t in reversed(range(len(td))):
        adv[t] = running = td[t] + config.gamma * config.lam * ~over[t] * running  # = Σ_l (γλ)^l δ_{t+l}  [GAE-2]
    return adv


def gradient(theta, phi, samples, config):
    """∇ of −(L^CLIP + c_H H − c_V L_V) in [theta, phi], on some of the samples: as in ppo.py, but V is of s."""
    obs, state, action, adv, returns, logp_old = samples
    n, (y, cache) = np.arange(len(obs)), forward(theta, obs)
    logp, p = log_softmax(y), np.exp(log_softmax(y))  # (samples, K)
    ratio = np.exp(logp[n, action] - logp_old)  # r = π_θ(a|s) / π_old(a|s)  [IS-2]
    clipped = np.minimum(np.maximum(ratio, 1 - config.clip), 1 + config.clip) * adv  # clip(r, 1−ε, 1+ε) A  [PPO-2]
    dratio = np.where(clipped < ratio * adv, 0, adv)  # of min(r A, clip(r) A)  [PPO-1, PPO-3]
    dy = (dratio * ratio)[:, None] * (np.eye(K)[action] - p)  # ∇r = r ∇log π  [IS-5]
    dy -= config.ent_coef * p * (logp - (p * logp).sum(axis=1, keepdims=True))  # ∇H  [PPO-7]
    value, cache_v = forward(phi, state)
    dvalue = 2 * (value - returns[:, None])  # of (V − V̂)²  [PPO-8]
    return np.concatenate([-backward(cache, dy / len(n)), config.vf_coef * backward(cache_v, dvalue / len(n))])


def train(config):
    """The algorithm. Yields theta and phi after each update."""
    init_seed, env_seed, action_seed, update_seed = np.random.SeedSequence(config.seed).spawn(4)
    init_rng, rng, update_rng = map(np.random.default_rng, (init_seed, env_seed, update_seed))
    rngs = [np.random.default_rng(child) for child in action_seed.spawn(N * config.num_envs)]
    cells, length = scatter(config.num_envs, rng), np.zeros(config.num_envs, int)
    theta, phi = init(D, K, 0.01, init_rng), init(N * D, 1, 1.0, init_rng)  # 0.01: all actions about as likely
    params = np.concatenate([theta, phi])
    theta, phi = np.split(params, [len(theta)])  # stretches of params: what changes it changes them
    adam = {"t": 0, "m": np.zeros_like(params), "v": np.zeros_like(params)}
    for steps in range(0, config.total_timesteps, config.num_steps * config.num_envs):
        obs, action, reward, next_obs, won, over = collect(theta, cells, length, rng, rngs, config)
        state, next_state = (np.concatenate(list(o.swapaxes(0, 1)), axis=2) for o in (obs, next_obs))  # (T, B, N·D)
        value, next_value = forward(phi, state)[0][..., 0], forward(phi, next_state)[0][..., 0]  # V(s)  [EXT-2]
        adv = gae(reward, value, next_value, won, over, config)  # (T, B), the team's
        state, adv, returns = (np.repeat(x[:, None], N, axis=1) for x in (state, adv, adv + value))  # (T, N, B, ...)
        obs, action, adv, returns = obs.reshape(-1, D), action.ravel(), adv.ravel(), returns.ravel()
        logp_old = log_softmax(forward(theta, obs)[0])[np.arange(len(obs)), action]
        samples = obs, state.reshape(-1, N * D), action, (adv - adv.mean()) / adv.std(), returns, logp_old
        lr = config.lr * (1 - steps / config.total_timesteps)  # falls to 0
        for _ in range(config.epochs):  # K passes in minibatches, ⌈N / size⌉ parts of a random order  [PPO-9]
            for part in np.array_split(update_rng.permutation(len(obs)), -(-len(obs) // config.minibatch_size)):
                g = gradient(theta, phi, [column[part] for column in samples], config)
                adam_step(params, g * min(1, config.max_grad_norm / np.linalg.norm(g)), adam, lr)
        print(f"{steps + reward.size:7} steps   reward {reward.mean():6.3f}   games won {won.sum()} of {over.sum()}")
        yield theta, phi


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="MAPPO in a corridor")
    parser.add_argument("--seed", type=int, default=0)
    *_, (theta, _) = train(Config(seed=parser.parse_args().seed))
    rng = np.random.default_rng(0)
    print(f"mean return, random: {mean_return(lambda cells: rng.integers(K, size=(N, len(cells)))):.2f}")
    print(f"mean return, greedy: {mean_return(lambda cells: forward(theta, observe(cells))[0].argmax(2)):.2f}")
    print(f"mean return, straight to the marks: {mean_return(straight):.2f}")

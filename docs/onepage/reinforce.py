"""REINFORCE on one page (Williams, 1992), NumPy and gymnasium alone. The first page; then npg.py, trpo.py and ppo.py.

    ∇J(θ) ≈ (1/|S|) Σ_i Σ_t ∇log π_θ(a_it|s_it) A_it             an action that paid becomes likelier  [PG-11, PG-13]
    A_it = G_it − V_φ(s_it),   G_it = Σ_{t'≥t} γ^{t'−t} r_it'    it paid more than was expected there  [PG-6, PG-8]

To train CartPole-v1, in less than a minute:  python docs/onepage/reinforce.py --seed 0
The library, minirl/algorithms/reinforce.py, is the same made fast, general and safe: a test finds the same parameters
in both. A tag such as [PG-6] names an equation in docs/equations.md and stands at the line that computes it. theta is θ
of the policy π_θ, phi is φ of the value function V_φ, both flat vectors (n,). N samples, D numbers in an observation,
K actions, T steps of B environments in a rollout, which holds |S| trajectories i or parts of one.
"""

import argparse
from dataclasses import dataclass

import gymnasium as gym
import numpy as np


@dataclass(frozen=True)
class Config:
    env: str = "CartPole-v1"
    seed: int = 0
    total_timesteps: int = 60_000  # steps of all environments together
    num_envs: int = 4  # B
    num_steps: int = 256  # T, of each environment before an update
    gamma: float = 0.99  # γ, discount of rewards
    optimizer: str = "adam"  # how theta follows the gradient; "ascent" is θ + α ∇J and nothing else, and hard to tune
    lr: float = 1e-2  # α, step size of the policy
    critic_lr: float = 1e-3  # step size of the critic
    critic_epochs: int = 10  # passes over a rollout
    minibatch_size: int = 64


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


# ---- The data: a rollout of the policy π_θ(k|s) = exp(y_k) / Σ_j exp(y_j), and how good its actions were.
def log_softmax(y):
    """log π(k|s) (N, K) from y (N, K); without the largest y, which cancels, exp cannot overflow."""
    z = y - y.max(axis=1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))


def collect(theta, envs, obs, rngs, config):
    """T steps of π_θ from obs (B, D) on: six arrays (T, B, ...), in the order of `rows`, and the next obs (B, D)."""
    rows = []
    for _ in range(config.num_steps):
        p = np.exp(log_softmax(forward(theta, obs)[0]))  # (B, K), K lengths that fill [0, 1)
        u = np.array([[rng.random()] for rng in rngs])  # (B, 1), uniform there: the length that it meets is the action
        action = (p.cumsum(axis=1) <= u * p.sum(axis=1, keepdims=True)).sum(axis=1)
        next_obs, reward, terminated, truncated, _ = envs.step(action)
        over = terminated | truncated
        rows.append((obs, action, reward, next_obs, terminated, over))
        obs = envs.reset(options={"reset_mask": over})[0] if over.any() else next_obs  # [PPO-11]
    return [np.array(column) for column in zip(*rows, strict=True)], obs


def rewards_to_go(reward, next_value, terminated, over, config):
    """G_t (T, B), the last step first. V_φ stands for what a truncation, or the end of the rollout, cuts off."""
    G, after = np.zeros_like(next_value), next_value[-1]
    for t in reversed(range(len(G))):
        after = np.where(over[t], next_value[t], after)
        G[t] = after = reward[t] + config.gamma * after * ~terminated[t]  # G_t = Σ_{t'≥t} γ^{t'−t} r_{t'}  [PG-6]
    return G


def policy_step(theta_old, adam, obs, action, adv, config):
    """One step from theta_old (n,) along Σ_n ∇log π(a_n|s_n) A_n -> theta, and its mean KL. adam changes in place."""
    theta = theta_old.copy()
    y, cache = forward(theta, obs)
    logp_old, p = log_softmax(y), np.exp(log_softmax(y))  # (N, K)
    score = np.eye(p.shape[1])[action] - p  # ∂ log π(a|s) / ∂y_k = 1[k = a] − p_k
    g = backward(cache, score * adv[:, None])  # [PG-11, PG-13]
    if config.optimizer == "adam":
        adam_step(theta, -g, adam, config.lr)
    else:
        theta += config.lr * g  # θ ← θ + α ∇J  [PG-12]
    # How far did the policy move? lr limits the step in θ, whatever that does to π_θ: see npg.py.  [KL-14, PG-14]
    logp = log_softmax(forward(theta, obs)[0])
    kl = np.mean((p * (logp_old - logp)).sum(axis=1))  # mean KL(π_old ‖ π_θ), old first  [KL-1, KL-11]
    return theta, kl


def fit_critic(phi, adam, obs, returns, rng, config):
    """Fits V_φ to the returns, in minibatches: ⌈N / size⌉ parts of a random order. phi and adam change in place."""
    for _ in range(config.critic_epochs):
        for part in np.array_split(rng.permutation(len(obs)), -(-len(obs) // config.minibatch_size)):
            value, cache = forward(phi, obs[part])
            dvalue = 2 * (value - returns[part, None]) / len(part)  # of the mean of (V − V̂)²  [PPO-8]
            adam_step(phi, backward(cache, dvalue), adam, config.critic_lr)


def train(config):
    """The algorithm. Yields theta and phi after each update."""
    init_seed, env_seed, action_seed, update_seed = np.random.SeedSequence(config.seed).spawn(4)
    init_rng, update_rng = np.random.default_rng(init_seed), np.random.default_rng(update_seed)
    rngs = [np.random.default_rng(child) for child in action_seed.spawn(config.num_envs)]
    makers = [lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(config.env), buffer_length=5)] * config.num_envs
    envs = gym.vector.SyncVectorEnv(makers, autoreset_mode=gym.vector.AutoresetMode.DISABLED)  # collect resets
    seeds = [int(child.generate_state(1)[0]) >> 1 for child in env_seed.spawn(config.num_envs)]  # 31 bits
    start, _ = envs.reset(seed=seeds)  # (B, D), where the next rollout starts
    D, K = start.shape[1], envs.single_action_space.n
    theta, phi = init(D, K, 0.01, init_rng), init(D, 1, 1.0, init_rng)  # 0.01: all actions about as likely
    adam_pi, adam_v = ({"t": 0, "m": np.zeros_like(x), "v": np.zeros_like(x)} for x in (theta, phi))
    for steps in range(0, config.total_timesteps, config.num_steps * config.num_envs):
        (obs, action, reward, next_obs, terminated, over), start = collect(theta, envs, start, rngs, config)
        value, next_value = forward(phi, obs)[0][..., 0], forward(phi, next_obs)[0][..., 0]
        returns = rewards_to_go(reward, next_value, terminated, over, config)
        adv = returns - value  # G_t − V(s_t): a baseline moves no expectation, but takes variance away  [PG-7, PG-8]
        trajectories = over.sum() + (~over[-1]).sum()  # |S|: those that ended, and those that go on in the next rollout
        obs, action, adv, returns = obs.reshape(-1, D), action.ravel(), adv.ravel(), returns.ravel()
        theta, kl = policy_step(theta, adam_pi, obs, action, adv / trajectories, config)  # 1/|S| of [PG-13]
        fit_critic(phi, adam_v, obs, returns, update_rng, config)
        recent = np.mean([r for env in envs.envs for r in env.return_queue])  # returns of the last episodes
        print(f"{steps + len(obs):7} steps   return {recent:6.1f}   KL {kl:.4f}")
        yield theta, phi


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="REINFORCE on CartPole-v1")
    parser.add_argument("--seed", type=int, default=0)
    config = Config(seed=parser.parse_args().seed)
    *_, (theta, _) = train(config)
    envs = gym.vector.SyncVectorEnv([lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(config.env), 20)])
    obs, _ = envs.reset(seed=0)
    while envs.envs[0].episode_count < 20:
        obs, *_ = envs.step(forward(theta, obs)[0].argmax(axis=1))  # the likeliest action
    print(f"mean of 20 greedy episodes: {np.mean(envs.envs[0].return_queue):.1f}")

"""NPG on one page: the natural policy gradient (Kakade, 2001), NumPy and gymnasium alone.

    maximise  gᵀΔθ   so that   ½ ΔθᵀFΔθ ≤ δ        ⟹        Δθ = √(2δ / gᵀF⁻¹g) F⁻¹g  [TR-5, TR-7]

g is the policy gradient, and by the Fisher matrix F the mean KL(π_old ‖ π_θ) of a small step is ½ ΔθᵀFΔθ: every step
changes the policy, not its parameters, by the same amount. Nothing here checks what it really did: trpo.py does.

To train CartPole-v1, in less than a minute:  python docs/onepage/npg.py --seed 0
New against reinforce.py: tangent, gae, conjugate_gradient, policy_step. The library, minirl/algorithms/npg.py, is the
same made fast, general and safe: a test finds the same parameters in both. A tag such as [TR-9] names an equation in
docs/equations.md and stands at the line that computes it. theta is θ of π_θ, phi is φ of the value function V_φ, both
flat vectors (n,). N samples, D numbers in an observation, K actions, T steps of B environments.
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
    lam: float = 0.95  # λ of GAE
    delta: float = 0.01  # δ, radius of the trust region
    damping: float = 0.1  # β of F + βI
    cg_iters: int = 10  # steps of conjugate gradient
    critic_lr: float = 1e-3  # step size of Adam
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


def tangent(cache, v):
    """J v (N, out): how fast y changes while θ moves with velocity v (n,); the chain rule from x to y."""
    x, h1, h2, W2, W3 = cache
    V1, c1, V2, c2, V3, c3 = split(v, x.shape[1])
    h1_dot = (x @ V1 + c1) * (1 - h1**2)
    h2_dot = (h1 @ V2 + c2 + h1_dot @ W2) * (1 - h2**2)
    return h2 @ V3 + c3 + h2_dot @ W3


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


def gae(reward, value, next_value, terminated, over, config):
    """Advantages (T, B), the last step first. V_φ stands for what a truncation, or the end of the rollout, cuts off."""
    td = reward + config.gamma * next_value * ~terminated - value  # δ_t = r_t + γ V(s_{t+1}) − V(s_t)  [GAE-1]
    adv, running = np.zeros_like(td), 0.0
    for t in reversed(range(len(td))):
        adv[t] = running = td[t] + config.gamma * config.lam * ~over[t] * running  # = Σ_l (γλ)^l δ_{t+l}  [GAE-2]
    return adv


def conjugate_gradient(F, g, iters):
    """x with F x ≈ g from products F(p) alone: each step is the best along its p, and no later p undoes it."""
    x, r, p = np.zeros_like(g), g, g  # r = g − F x
    for _ in range(iters):
        Fp, rr = F(p), r @ r
        alpha = rr / (p @ Fp)
        x, r = x + alpha * p, r - alpha * Fp  # [TR-8]
        p = r + (r @ r) / rr * p
    return x


def policy_step(theta_old, obs, action, adv, config):
    """One natural step from theta_old (n,) -> theta (n,), and its mean KL."""
    N = len(obs)
    y, cache = forward(theta_old, obs)
    logp_old, p = log_softmax(y), np.exp(log_softmax(y))  # (N, K)
    score = np.eye(p.shape[1])[action] - p  # ∂ log π(a|s) / ∂y_k = 1[k = a] − p_k
    g = backward(cache, score * adv[:, None] / N)  # (1/N) Σ ∇log π(a_n|s_n) A_n  [PG-11, SUR-2]

    # GUIDE gets F v by differentiating the KL twice. By hand: θ moves with velocity v, so the logits move with J v, and
    # F_dist says how much that changes the K probabilities; backward brings it back to θ.
    def F(v):  # (F + βI) v. F = (1/N) Σ J_nᵀ F_dist J_n is the Fisher matrix of π_θ, F_dist that of its K probabilities
        y_dot = tangent(cache, v)  # J v
        dy = p * (y_dot - (p * y_dot).sum(axis=1, keepdims=True))  # F_dist J v, F_dist = diag(p) − p pᵀ  [TR-4]
        return backward(cache, dy / N) + config.damping * v  # [TR-9, TR-10]

    x = conjugate_gradient(F, g, config.cg_iters)  # F⁻¹g, the natural gradient  [TR-6]
    step = np.sqrt(2 * config.delta / (x @ F(x))) * x  # as long as ½ ΔθᵀFΔθ ≤ δ lets it be  [TR-3, TR-5, TR-7]
    theta = theta_old + step
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
    adam = {"t": 0, "m": np.zeros_like(phi), "v": np.zeros_like(phi)}
    for steps in range(0, config.total_timesteps, config.num_steps * config.num_envs):
        (obs, action, reward, next_obs, terminated, over), start = collect(theta, envs, start, rngs, config)
        value, next_value = forward(phi, obs)[0][..., 0], forward(phi, next_obs)[0][..., 0]
        adv = gae(reward, value, next_value, terminated, over, config)
        obs, action, adv, returns = obs.reshape(-1, D), action.ravel(), adv.ravel(), (adv + value).ravel()
        theta, kl = policy_step(theta, obs, action, adv, config)
        fit_critic(phi, adam, obs, returns, update_rng, config)  # V̂ = A + V, the returns
        recent = np.mean([r for env in envs.envs for r in env.return_queue])  # returns of the last episodes
        print(f"{steps + len(obs):7} steps   return {recent:6.1f}   KL {kl:.4f}")
        yield theta, phi


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Natural policy gradient on CartPole-v1")
    parser.add_argument("--seed", type=int, default=0)
    config = Config(seed=parser.parse_args().seed)
    *_, (theta, _) = train(config)
    envs = gym.vector.SyncVectorEnv([lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(config.env), 20)])
    obs, _ = envs.reset(seed=0)
    while envs.envs[0].episode_count < 20:
        obs, *_ = envs.step(forward(theta, obs)[0].argmax(axis=1))  # the likeliest action
    print(f"mean of 20 greedy episodes: {np.mean(envs.envs[0].return_queue):.1f}")

"""The readable twin of every compiled kernel: same name, arguments and result, in NumPy.

T steps, B environments, N samples, D observation, K actions, d action dimensions, P distribution parameters, n network parameters.
Arrays that carry samples are float32 or float64 and results keep that type; sums over time are float64. Nothing here knows of RL libraries,
environments or networks: a test calls each function with made-up arrays, and `MINIRL_REFERENCE=1` runs the whole library on this file.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

LOG_STD_LIMIT = 20.0  # log σ saturates at ±20 inside densities: σ² and 1/σ² stay finite in float32, the gradient beyond is 0
LOG_2PI = float(np.log(2 * np.pi))


# ---------------------------------------------------------------------------------------------------------------- returns


def same_shape(*arrays):
    """ValueError unless all shapes are equal: (T, B) against (T, 1) would broadcast to a wrong result without a word."""
    if len({a.shape for a in arrays}) > 1:
        raise ValueError(f"shapes {', '.join(str(a.shape) for a in arrays)}: have to be equal")


def gae(reward, value, next_value, terminated, cut, gamma, lam):
    """Generalised advantage estimation (Schulman et al., 2016): arrays (T, B) -> advantages (T, B), float64.

    δ_t = r_t + γ (1 − terminated_t) V(s'_t) − V(s_t)                                                          [GAE-1]
    A_t = δ_t + γ λ (1 − cut_t) A_{t+1}            cut = terminated or truncated                               [GAE-2]
    """
    same_shape(reward, value, next_value, terminated, cut)
    reward, value, next_value = (x.astype(np.float64, copy=False) for x in (reward, value, next_value))
    td = reward + gamma * np.where(terminated, 0.0, next_value) - value  # [GAE-1]
    adv = np.empty_like(td)
    running = np.zeros(td.shape[1])
    for t in range(len(td) - 1, -1, -1):
        running = td[t] + gamma * lam * np.where(cut[t], 0.0, running)  # [GAE-2]; λ = 0: [GAE-3], λ = 1: [GAE-4]
        adv[t] = running
    return adv


def discounted_returns(reward, next_value, terminated, cut, gamma):
    """Reward-to-go (T, B) -> (T, B), float64; an episode that is not finished is continued by its value.

    G_t = r_t + γ (1 − terminated_t) (V(s'_t) if cut_t or t = T−1 else G_{t+1})                                 [PG-6]
    """
    same_shape(reward, next_value, terminated, cut)
    returns = np.empty(reward.shape)
    running = next_value[-1] if len(reward) else None
    for t in range(len(reward) - 1, -1, -1):
        tail = np.where(cut[t], next_value[t], running)
        running = reward[t] + gamma * np.where(terminated[t], 0.0, tail)  # [PG-6]
        returns[t] = running
    return returns


def running_return(reward, cut, carry, gamma):
    """Discounted sum of the rewards so far, (T, B) -> (T, B), carry (B,): R_t = r_t + γ R_{t−1}; R starts again after a cut.

    Returns the sums and the carry that the next call takes.
    """
    same_shape(reward, cut)
    if carry.shape != reward.shape[1:]:
        raise ValueError(f"carry of shape {carry.shape} for {reward.shape[1]} environments")
    sums = np.empty(reward.shape)
    running = np.array(carry, dtype=np.float64)
    for t in range(len(reward)):
        running = reward[t] + gamma * running
        sums[t] = running
        running = np.where(cut[t], 0.0, running)
    return sums, running


# ------------------------------------------------------------------------------------------- categorical, φ = logits (N, K)


def categorical_log_softmax(phi):
    """log p (N, K) = φ − log Σ exp φ, with the largest logit taken out first so that nothing overflows."""
    top = phi.max(axis=1, keepdims=True)
    shifted = phi - top
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def categorical_log_prob(phi, action):
    """log π(a|s) for logits (N, K) and actions (N,) in 0..K−1 -> (N,)."""
    return categorical_log_softmax(phi)[np.arange(len(phi)), action]


def categorical_dlog_prob(phi, action):
    """∂ log π(a|s) / ∂φ_k = 1[k = a] − p_k -> (N, K)."""
    dphi = -np.exp(categorical_log_softmax(phi))
    dphi[np.arange(len(phi)), action] += 1
    return dphi


def categorical_entropy(phi):
    """H = −Σ p log p -> (N,); a logit of −∞ contributes 0."""
    logp = categorical_log_softmax(phi)
    p = np.exp(logp)
    return -(p * np.where(p > 0, logp, 0)).sum(axis=1)


def categorical_dentropy(phi):
    """∂H/∂φ_k = −p_k (log p_k + H) -> (N, K)."""
    logp = categorical_log_softmax(phi)
    p = np.exp(logp)
    logp = np.where(p > 0, logp, 0)
    return -p * (logp - (p * logp).sum(axis=1, keepdims=True))


def categorical_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ p (log p − log q) -> (N,), old first; 0 where p = 0, +∞ where q = 0 < p; rounding below 0 is cut off.    [KL-1]"""
    logp, logq = categorical_log_softmax(phi_old), categorical_log_softmax(phi_new)
    p = np.exp(logp)
    gap = np.subtract(logp, logq, out=np.zeros_like(logp), where=p > 0)
    return np.maximum((p * gap).sum(axis=1), 0)  # [KL-1, KL-5]


def categorical_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new = q − p -> (N, K)."""
    return np.exp(categorical_log_softmax(phi_new)) - np.exp(categorical_log_softmax(phi_old))


def categorical_fisher_vec(phi, phi_dot):
    """F(φ) φ̇ = p ⊙ (φ̇ − p·φ̇) -> (N, K), F = diag(p) − p pᵀ the covariance of the score.                       [TR-4]"""
    p = np.exp(categorical_log_softmax(phi))
    return p * (phi_dot - (p * phi_dot).sum(axis=1, keepdims=True))  # [TR-4]


def categorical_sample(phi, u):
    """Inverse-CDF sample: logits (N, K), uniform u (N,) in [0, 1) -> (N,) int64, never an action of probability 0."""
    p = np.exp(phi.astype(np.float64) - phi.max(axis=1, keepdims=True))
    cdf = p.cumsum(axis=1)
    above = cdf > (u * cdf[:, -1])[:, None]
    if above[:, -1].all():
        return above.argmax(axis=1)
    last = p.shape[1] - 1 - np.argmax(p[:, ::-1] > 0, axis=1)  # u was rounded up to 1, or p is NaN
    return np.where(above[:, -1], above.argmax(axis=1), last)


# ---------------------------------------------------------------- diagonal Gaussian, φ = [μ (d), log σ (d)], (N, 2d), float


def gaussian_split(phi):
    """φ -> μ, log σ saturated at ±LOG_STD_LIMIT, and the mask where log σ still moves the density; each (N, d)."""
    d = phi.shape[1] // 2
    log_std = phi[:, d:]
    free = np.abs(log_std) <= LOG_STD_LIMIT
    return phi[:, :d], np.clip(log_std, -LOG_STD_LIMIT, LOG_STD_LIMIT), free


def gaussian_log_prob(phi, action):
    """log N(a; μ, σ²) = Σ_i −½ z_i² − log σ_i − ½ log 2π with z = (a − μ)/σ; action (N, d) -> (N,)."""
    mean, log_std, _ = gaussian_split(phi)
    z = (action - mean) * np.exp(-log_std)
    half = phi.dtype.type(0.5 * LOG_2PI)
    return (-0.5 * z * z - log_std - half).sum(axis=1)


def gaussian_dlog_prob(phi, action):
    """∂/∂μ = z/σ, ∂/∂ log σ = z² − 1 -> (N, 2d)."""
    mean, log_std, free = gaussian_split(phi)
    inv_std = np.exp(-log_std)
    z = (action - mean) * inv_std
    return np.concatenate([z * inv_std, (z * z - 1) * free], axis=1)


def gaussian_entropy(phi):
    """H = Σ_i log σ_i + ½ log 2πe -> (N,)."""
    _, log_std, _ = gaussian_split(phi)
    return (log_std + phi.dtype.type(0.5 * LOG_2PI + 0.5)).sum(axis=1)


def gaussian_dentropy(phi):
    """∂H/∂μ = 0, ∂H/∂ log σ = 1 -> (N, 2d)."""
    mean, _, free = gaussian_split(phi)
    return np.concatenate([np.zeros_like(mean), free.astype(phi.dtype)], axis=1)


def gaussian_kl(phi_old, phi_new):
    """D(old ‖ new) = Σ_i log σ₂/σ₁ + (σ₁² + (μ₁ − μ₂)²) / 2σ₂² − ½ -> (N,), old (1) first.                      [KL-7, KL-4]

    With ℓ = log σ₂ − log σ₁ the spread's part is ℓ + ½(e^{−2ℓ} − 1), computed by expm1: no difference of large numbers near ℓ = 0.
    """
    mean1, log_std1, _ = gaussian_split(phi_old)
    mean2, log_std2, _ = gaussian_split(phi_new)
    widen = log_std2 - log_std1
    z = (mean1 - mean2) * np.exp(-log_std2)
    kl = (widen + 0.5 * np.expm1(-2 * widen) + 0.5 * z * z).sum(axis=1)  # [KL-2, KL-7], summed over dimensions [KL-4]
    return np.maximum(kl, 0)


def gaussian_dkl(phi_old, phi_new):
    """∂ D(old ‖ new) / ∂φ_new: ∂μ₂ = (μ₂ − μ₁)/σ₂², ∂ log σ₂ = 1 − (σ₁² + (μ₁ − μ₂)²)/σ₂² -> (N, 2d)."""
    mean1, log_std1, _ = gaussian_split(phi_old)
    mean2, log_std2, free = gaussian_split(phi_new)
    inv_std = np.exp(-log_std2)
    z = (mean2 - mean1) * inv_std
    dlog_std = -np.expm1(2 * (log_std1 - log_std2)) - z * z
    return np.concatenate([z * inv_std, dlog_std * free], axis=1)


def gaussian_fisher_vec(phi, phi_dot):
    """F(φ) φ̇ = [μ̇/σ², 2 (log σ)˙] -> (N, 2d): the covariance of the score.                                       [TR-4]"""
    d = phi.shape[1] // 2
    _, log_std, free = gaussian_split(phi)
    return np.concatenate([phi_dot[:, :d] * np.exp(-2 * log_std), 2 * phi_dot[:, d:] * free], axis=1)  # [TR-4]


def gaussian_sample(phi, z):
    """a = μ + σ z, z (N, d) standard normal -> (N, d); σ is not saturated here: an overflow shows as inf and is refused by the caller."""
    d = phi.shape[1] // 2
    with np.errstate(over="ignore", invalid="ignore"):
        return phi[:, :d] + np.exp(phi[:, d:]) * z.astype(phi.dtype)


# --------------------------------------------------- multi-layer perceptron, θ = [W₁ (in,out) row by row, b₁, W₂, b₂, …]

ACTIVATIONS: dict[str, Callable] = {"tanh": np.tanh, "relu": lambda x: np.maximum(x, 0)}
SLOPES = {"tanh": lambda y: 1 - y * y, "relu": lambda y: (y > 0).astype(y.dtype)}  # the derivative, from the activation's output


def mlp_layers(theta, sizes):
    """Named views into the flat θ (n,): [(W (in, out), b (out,)), …], first layer first; writing to a view writes to θ."""
    layers, at = [], 0
    for n_in, n_out in pairwise(sizes):
        weight = theta[at : at + n_in * n_out].reshape(n_in, n_out)
        at += n_in * n_out
        layers.append((weight, theta[at : at + n_out]))
        at += n_out
    return layers


def mlp_forward(theta, x, sizes, activation, free=0):
    """h₀ = x, h_l = σ(h_{l−1} W_l + b_l), y = [h_{L−1} W_L + b_L, free] -> (h₀, …, h_{L−1}, y): all that the two products below need.

    `free` parameters of no layer may stand at the end of θ; they are handed on behind each row of y, as a log σ is.
    """
    acts = [x]
    *hidden, (weight, bias) = mlp_layers(theta, sizes)
    for w, b in hidden:
        acts.append(ACTIVATIONS[activation](acts[-1] @ w + b))
    acts.append(append_free(acts[-1] @ weight + bias, theta, free))
    return tuple(acts)


def append_free(y, theta, free):
    """[y, the last `free` numbers of θ] in each row (N, out + free)."""
    return np.hstack([y, np.broadcast_to(theta[len(theta) - free :], (len(y), free))]) if free else y


def mlp_infer(theta, x, sizes, activation, free=0):
    """y (N, out + free) alone, nothing kept: acting."""
    return mlp_forward(theta, x, sizes, activation, free)[-1]


def mlp_vjp(theta, acts, dy, sizes, activation, free=0):
    """dyᵀ ∂y/∂θ -> (n,): dW_l = h_{l−1}ᵀ dz_l, db_l = Σ_n dz_l, dh_{l−1} = dz_l W_lᵀ, dz_l = dh_l ⊙ σ'(z_l); dfree = Σ_n of its columns."""
    dtheta = np.empty_like(theta)
    dz = dy[:, : sizes[-1]]
    dtheta[len(theta) - free :] = dy[:, sizes[-1] :].sum(axis=0, dtype=np.float64)
    layers, grads = mlp_layers(theta, sizes), mlp_layers(dtheta, sizes)
    for i in range(len(layers) - 1, -1, -1):
        dw, db = grads[i]
        dw[...] = acts[i].T @ dz
        db[...] = dz.sum(axis=0)
        if i > 0:
            dz = (dz @ layers[i][0].T) * SLOPES[activation](acts[i])
    return dtheta


def mlp_jvp(theta, acts, theta_dot, sizes, activation, free=0):
    """∂y/∂θ θ̇ -> (N, out + free): ż_l = h_{l−1} Ẇ_l + ḃ_l + ḣ_{l−1} W_l, ḣ_l = ż_l ⊙ σ'(z_l), ḣ₀ = 0."""
    h_dot = None
    z_dot = None
    layers, tangents = mlp_layers(theta, sizes), mlp_layers(theta_dot, sizes)
    for i, ((w, _), (w_dot, b_dot)) in enumerate(zip(layers, tangents, strict=True)):
        z_dot = acts[i] @ w_dot + b_dot
        if h_dot is not None:
            z_dot += h_dot @ w
        if i + 1 < len(layers):
            h_dot = z_dot * SLOPES[activation](acts[i + 1])
    return append_free(z_dot, theta_dot, free)


# ------------------------------------------------------------------------------------------------- optimisation and solving


def adam(theta, grad, m, v, t, lr, beta1, beta2, eps, scale):
    """One Adam step down the gradient (Kingma & Ba, 2015), in place on θ, m, v (n,); t = 1 for the first step.

    g = scale · grad;  m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;  θ ← θ − lr · m̂ / (√v̂ + ε),  m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
    """
    g = grad * theta.dtype.type(scale)
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    theta -= (lr / (1 - beta1**t)) * m / (np.sqrt(v * (1 / (1 - beta2**t))) + eps)


def global_norm(grad):
    """‖g‖₂ of a flat vector, summed in float64 -> float."""
    wide = grad.astype(np.float64)
    return float(np.sqrt(wide @ wide))


def cg_step(x, residual, direction, image, rr, curvature):
    """The vector algebra of one conjugate-gradient iteration, in place on float64 vectors (n,); returns the new rᵀr.   [TR-8]

    α = rᵀr / pᵀAp;  x ← x + α p;  r ← r − α Ap;  p ← r + (r'ᵀr' / rᵀr) p        with image = Ap, curvature = pᵀAp
    """
    alpha = rr / curvature
    x += alpha * direction  # [TR-8]
    residual -= alpha * image
    rr_new = float(residual @ residual)
    direction *= rr_new / rr
    direction += residual
    return rr_new


# ------------------------------------------------------------------------------------------------------------------- acting


def standardize(x, mean, inv_std, limit, narrow=False):
    """(x − mean) · inv_std in float64, cut at ±limit: x (N, D), mean and inv_std (D,) -> (N, D) in x's type, or float32 if `narrow`."""
    return np.minimum(np.maximum((x - mean) * inv_std, -limit), limit).astype(np.float32 if narrow else x.dtype)


def narrow(x):
    """x (N, D) float64 as float32; a number too large for it becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float64).astype(np.float32, "C")


def all_finite(x):
    """True when no entry of a float array is NaN or infinite."""
    return bool(np.isfinite(x).all())

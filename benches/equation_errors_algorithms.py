"""Errors of the algorithms: the natural step and its line search, PPO's losses, advantages, the worked numbers."""

import numpy as np
from equation_register import DIFFERENCES, FAMILIES, ROUNDING, loss_of, mean_score, measures, over_families
from oracles import PLAIN, dense_fisher, gradient, plain_gain, plain_kl, relative_error

from minirl import _core
from minirl._core.reference.losses import clipped_surrogate
from minirl.algorithms import losses
from minirl.algorithms.npg import NPGConfig, fisher_vector_product, natural_step, policy_gradient
from minirl.algorithms.ppo import PPOConfig
from minirl.algorithms.trpo import TRPOConfig, trpo_step
from minirl.numerics.conjugate_gradient import conjugate_gradient
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.theory import demo

# ------------------------------------------------------------------------------------------------------------------- TR


def exact_step(policy, theta, batch, **changes):
    cfg = NPGConfig(**({"env": "CartPole-v1", "damping": 1e-3, "cg_iters": 400} | changes))
    return (
        natural_step(policy, theta, batch, cfg)[0],
        dense_fisher(policy, theta, batch.obs) + cfg.damping * np.eye(len(theta)),
        cfg,
    )


@measures("TR-1", "largest mean KL of 60 accepted steps beyond δ, as a share of δ", 1e-9)
@over_families
def _(policy, theta, batch, _w, _moved, rng):
    worst = 0.0
    for delta in 10.0 ** rng.uniform(-4, -1, 30):
        after, info = trpo_step(policy, theta, batch, TRPOConfig(env="CartPole-v1", delta=delta))
        kl = plain_kl(policy, theta, after, batch.obs).mean() if info["accepted"] else 0.0
        worst = max(worst, kl / delta - 1)
    return worst


def order_of(error_at):
    """The power of h at which an error falls, from h to h/2."""
    return float(np.log2(error_at(1.0) / error_at(0.5)))


@measures("TR-2", "order at which L's linear model goes wrong, short of 2", 0.1)
@over_families
def _(policy, theta, batch, w, _moved, rng):
    v = 1e-3 * rng.standard_normal(len(theta))
    phi, cache = policy.forward(theta, batch.obs)
    g = policy_gradient(policy, theta, cache, phi, batch)
    return max(0.0, 2 - order_of(lambda h: abs(plain_gain(policy, theta, theta + h * v, batch) - h * g @ v)))


@measures("TR-3", "order at which KL's quadratic model goes wrong, short of 3", 0.1)
@over_families
def _(policy, theta, batch, _w, _moved, rng):
    v, fisher = 3e-3 * rng.standard_normal(len(theta)), dense_fisher(policy, theta, batch.obs)
    return max(
        0.0,
        3
        - order_of(
            lambda h: abs(plain_kl(policy, theta, theta + h * v, batch.obs).mean() - 0.5 * h * h * v @ fisher @ v)
        ),
    )


def products(policy, theta, batch, w, damping):
    phi, cache = policy.forward(theta, batch.obs)
    product = fisher_vector_product(policy, theta, cache, phi, w, damping)
    return np.array([product(v) for v in np.eye(len(theta))])


@measures("TR-4", "F_dist of a family against its enumerated scores", ROUNDING)
def _(rng):
    worst = 0.0
    for dist in FAMILIES:
        phi = rng.normal(size=(1, dist.num_params))
        actions, p = PLAIN[dist.name].outcomes(phi[0])
        scores = dist.dlog_prob(np.repeat(phi, len(p), axis=0), actions)
        fisher = np.array([dist.fisher_vec(phi, v[None])[0] for v in np.eye(dist.num_params)])
        worst = max(worst, relative_error(fisher, np.einsum("a,ai,aj->ij", p, scores, scores)))
    return worst


@measures("TR-9", "all columns of F from products against F from enumerated scores", ROUNDING)
@over_families
def _(policy, theta, batch, w, _moved, _rng):
    return relative_error(products(policy, theta, batch, w, 0.0), dense_fisher(policy, theta, batch.obs))


@measures("TR-10", "all columns of F + βI, β = 0.1", ROUNDING)
@over_families
def _(policy, theta, batch, w, _moved, _rng):
    return relative_error(
        products(policy, theta, batch, w, 0.1), dense_fisher(policy, theta, batch.obs) + 0.1 * np.eye(len(theta))
    )


@measures("TR-5", "first-order condition g = λ F Δθ of the step, F dense", 1e-6)
@over_families
def _(policy, theta, batch, _w, _moved, _rng):
    step, fisher, cfg = exact_step(policy, theta, batch)
    g = mean_score(policy, theta, batch)
    return relative_error((g @ step) / (2 * cfg.delta) * fisher @ step, g)


@measures("TR-6", "direction of the step against a dense solve", 1e-6)
@over_families
def _(policy, theta, batch, _w, _moved, _rng):
    step, fisher, _ = exact_step(policy, theta, batch)
    x = np.linalg.solve(fisher, mean_score(policy, theta, batch))
    return relative_error(step / np.linalg.norm(step), x / np.linalg.norm(x))


@measures("TR-7", "½ ΔθᵀFΔθ against δ, F dense, CG cut at 10 products", 1e-6)
@over_families
def _(policy, theta, batch, _w, _moved, _rng):
    step, fisher, cfg = exact_step(policy, theta, batch, cg_iters=10)
    return relative_error(np.array(0.5 * step @ fisher @ step), np.array(cfg.delta))


@measures("TR-8", "conjugate gradient against a dense solve, condition 10³, n = 40", 1e-8)
def _(rng):
    q, _ = np.linalg.qr(rng.normal(size=(40, 40)))
    matrix, b = q * np.geomspace(1, 1e3, 40) @ q.T, rng.normal(size=40)
    return relative_error(conjugate_gradient(lambda v: matrix @ v, b, 400).x, np.linalg.solve(matrix, b))


@measures("TR-13", "largest KL of a state after 60 accepted steps beyond δ, as a share of δ", 1e-9)
@over_families
def _(policy, theta, batch, _w, _moved, rng):
    worst = 0.0
    for delta in 10.0 ** rng.uniform(-4, -1, 30):
        after, _ = trpo_step(policy, theta, batch, TRPOConfig(env="CartPole-v1", delta=delta, kl="max"))
        worst = max(worst, plain_kl(policy, theta, after, batch.obs).max() / delta - 1)
    return worst


# ---------------------------------------------------------------------------------------------------------- PPO and GAE


def gradient_of_loss(**fields):
    @over_families
    def measure(policy, theta, batch, w, moved, _rng):
        loss = loss_of(policy, batch, w, theta, PPOConfig(env="CartPole-v1", **fields), kl_coef=0.7)
        return relative_error(loss(moved)[1], gradient(lambda th: loss(th)[0], moved, h=1e-4))

    return measure


measures("PPO-1", "gradient of the clipped loss against its differences", DIFFERENCES)(gradient_of_loss())
measures("PPO-4", "gradient of the penalised loss against its differences", DIFFERENCES)(
    gradient_of_loss(objective="kl")
)
measures("PPO-7", "gradient with an entropy bonus of 0.3 against its differences", DIFFERENCES)(
    gradient_of_loss(ent_coef=0.3)
)


@measures("PPO-3", "largest ℓ − r Â of 10⁵ random samples, above 0", 1e-15)
def _(rng):
    ratio, adv = np.exp(rng.normal(size=100_000)), rng.normal(size=100_000)
    return max(0.0, float((clipped_surrogate(ratio, adv, 0.2)[0] - ratio * adv).max()))


@measures("PPO-8", "gradient of the value loss against its differences", DIFFERENCES)
def _(rng):
    value, target = rng.normal(size=(2, 20))
    w = SampleWeights(rng.random(20))
    return relative_error(
        losses.value_loss(w, value, target)[1], gradient(lambda v: losses.value_loss(w, v, target)[0], value)
    )


def random_rollout(rng, T=60, B=3):
    reward, value, following = rng.normal(size=(3, T, B))
    terminated = rng.random((T, B)) < 0.08
    return reward, value, following, terminated, terminated | (rng.random((T, B)) < 0.08)


def gae_error(gamma, lam):
    def measure(rng):
        reward, value, following, terminated, cut = random_rollout(rng)
        td = reward + gamma * (1 - terminated) * following - value
        expected = np.zeros_like(td)
        for t, b in np.ndindex(td.shape):
            ends = np.flatnonzero(cut[t:, b])
            stop = t + ends[0] + 1 if len(ends) else len(td)
            expected[t, b] = ((gamma * lam) ** np.arange(stop - t)) @ td[t:stop, b]
        return relative_error(_core.gae(reward, value, following, terminated, cut, gamma, lam), expected)

    return measure


measures("GAE-1", "one rollout against r + γV' − V, λ = 0, 60 × 3 steps", ROUNDING)(gae_error(0.97, 0.0))
measures("GAE-2", "one rollout against the sum of (γλ)^l δ, 60 × 3 steps with ends", ROUNDING)(gae_error(0.97, 0.9))
measures("GAE-3", "λ = 0 against δ", ROUNDING)(gae_error(0.9, 0.0))


@measures("GAE-4", "λ = 1 against G − V", ROUNDING)
def _(rng):
    reward, value, following, terminated, cut = random_rollout(rng)
    following[:-1] = np.where(cut[:-1], following[:-1], value[1:])
    returns = _core.discounted_returns(reward, following, terminated, cut, 0.97)
    return relative_error(_core.gae(reward, value, following, terminated, cut, 0.97, 1.0), returns - value)


# ------------------------------------------------------------------------------------------------------- worked numbers

for tag, printed, digits, compute in (
    ("EX-1", 0.3348, 5e-5, lambda: demo.bernoulli_kl(0.2, 0.6)),
    ("EX-2", 0.0070, 5e-5, lambda: demo.bernoulli_kl(0.2, 0.25)),
    ("EX-3", 0.51, 5e-3, lambda: demo.bernoulli_kl(0.5, 0.9)),
    ("EX-4", 2.4, 1e-12, lambda: demo.credited(1.3, 2.0)),
    ("EX-5", -1.6, 1e-12, lambda: demo.credited(0.6, -2.0)),
):
    measures(tag, f"against the printed {printed}", digits)(
        lambda _rng, printed=printed, compute=compute: abs(compute() - printed)
    )

"""Trust-region steps with exact expectations:
the very code that trains on samples, against closed forms of a softmax table.

For a table of logits the Fisher matrix is Σ_s ρ(s) (diag π_s − π_s π_sᵀ) block by block, and the natural gradient is
the advantage itself.
"""

import dataclasses

import numpy as np
import pytest
from oracles import gradient, hessian, score
from oracles.tabular import (
    off_by,
    one_of,
    plain_kl,
    problem,
    problems,
    series_j,
    series_visits,
    softmax,
    value_iteration,
)
from scipy.optimize import minimize
from scipy.special import log_softmax

from minirl.algorithms import npg
from minirl.algorithms.npg import NPGConfig, fisher_vector_product, natural_step, npg_step
from minirl.algorithms.reinforce import ReinforceConfig, reinforce_step
from minirl.algorithms.trpo import TRPOConfig, trpo_step
from minirl.numerics.optimizers import adam_init
from minirl.numerics.sums_over_samples import SampleWeights
from minirl.theory.bounds import surrogate
from minirl.theory.exact_batch import exact_batch, improve, linear_policy, pack, probabilities, tabular_policy
from minirl.theory.mdp import solve
from minirl.theory.regions import constrained, penalised

S, K = 4, 3
EXACT = {"damping": 0.0, "cg_iters": 60, "dtype": "float64"}


def setting(gamma=0.9, seed=0):
    """A problem, its logits, the exact batch and the normalised visits."""
    mdp, theta = problem(gamma, seed=seed, states=S, actions=K)
    policy = tabular_policy(mdp)
    visits = series_visits(mdp, softmax(theta)) * (1 - gamma)
    return mdp, theta, policy, exact_batch(mdp, policy, pack(theta)), visits


def logits_of(theta):
    """The logits (S, K) of θ = [W, b]."""
    return theta[: S * K].reshape(S, K) + theta[S * K :]


def dense_fisher(mdp, policy, theta, batch):
    """The library's F, column by column."""
    phi, cache = policy.forward(theta, batch.obs)
    product = fisher_vector_product(policy, theta, cache, phi, batch.weights, 0.0)
    return np.array([product(e) for e in np.eye(len(theta))]).T


def closed_fisher(pi, visits):
    """Σ_s visits(s) Bᵀ (diag π_s − π_s π_sᵀ) B with B = ∂logits(s)/∂[W, b] (n, n)."""
    fisher = np.zeros(((S + 1) * K,) * 2)
    for s in range(S):
        jac = np.zeros((K, (S + 1) * K))
        jac[:, s * K : (s + 1) * K] = jac[:, S * K :] = np.eye(K)
        fisher += visits[s] * jac.T @ (np.diag(pi[s]) - np.outer(pi[s], pi[s])) @ jac
    return fisher


def mean_kl(mdp, theta, visits):
    old = softmax(theta)
    return lambda th: visits @ plain_kl(old, softmax(logits_of(th)))


# ------------------------------------------------------------------------------------------------------- the two models


def test_tr_2_the_gain_is_linear_to_second_order():
    """L(θ_old + tΔ) − L(θ_old) − t gᵀΔ falls with t²; gᵀΔ is the library's, L the theory's."""
    mdp, theta, policy, batch, _ = setting()
    step, _, info = natural_step(policy, pack(theta), batch, NPGConfig(delta=0.5, **EXACT))
    t = 0.5 ** np.arange(2, 10)
    gain = np.array(
        [
            surrogate(mdp, softmax(theta), softmax(logits_of(pack(theta) + x * step))) - series_j(mdp, softmax(theta))
            for x in t
        ]
    )
    error = np.abs(gain * 0.1 - t * info["predicted_gain"])  # (1−γ): the batch's mean is over normalised visits
    assert np.polyfit(np.log(t), np.log(error), 1)[0] == pytest.approx(2, abs=0.1)
    assert error[0] > 1e-4


def test_tr_3_mean_kl_is_quadratic_to_third_order():
    mdp, theta, policy, batch, visits = setting()
    step, _, _ = natural_step(policy, pack(theta), batch, NPGConfig(delta=0.5, **EXACT))
    kl, t = mean_kl(mdp, theta, visits), 0.5 ** np.arange(1, 9)
    half = 0.5 * step @ dense_fisher(mdp, policy, pack(theta), batch) @ step
    error = np.abs(np.array([kl(pack(theta) + x * step) for x in t]) - t**2 * half)
    assert np.polyfit(np.log(t), np.log(error), 1)[0] >= 2.9
    assert error[0] > 1e-3


def test_tr_4_tr_9_three_fisher_matrices_are_one():
    """Products of the library, the closed form, the enumerated score products,
    the Hessian of mean KL by differences.
    """
    mdp, theta, policy, batch, visits = setting()
    th = pack(theta)
    fisher = dense_fisher(mdp, policy, th, batch)
    pi = softmax(theta)
    assert off_by(fisher, closed_fisher(pi, visits)) <= 1e-13
    outer = np.zeros_like(fisher)
    for s in range(S):
        for a in range(K):
            g = score(policy, th, np.eye(S)[s], a)
            outer += visits[s] * pi[s, a] * np.outer(g, g)
    assert off_by(fisher, outer) <= 1e-13
    assert off_by(fisher, hessian(mean_kl(mdp, theta, visits), th)) <= 1e-6


# ------------------------------------------------------------------------------------------------------------- the step


@pytest.mark.parametrize("delta", [1e-4, 0.01, 0.3])
def test_tr_5_tr_7_the_step_meets_the_kkt_conditions(delta, rng):
    """g = λ F Δ with λ > 0 and ½ ΔᵀFΔ = δ, F in closed form and g by differences of L;
    no other step in the region gains more.
    """
    mdp, theta, policy, batch, visits = setting()
    step, _, info = natural_step(policy, pack(theta), batch, NPGConfig(delta=delta, **EXACT))
    fisher = closed_fisher(softmax(theta), visits)
    g = 0.1 * gradient(lambda th: surrogate(mdp, softmax(theta), softmax(logits_of(th))), pack(theta))
    cost = 0.5 * step @ fisher @ step
    assert cost == pytest.approx(delta, rel=1e-9)  # the constraint is met with equality
    multiplier = g @ step / (2 * delta)
    assert multiplier > 0
    assert np.abs(g - multiplier * fisher @ step).max() <= 1e-9 * np.abs(g).max()  # stationary
    others = step + np.linalg.norm(step) * rng.standard_normal((2000, len(step))) * 10.0 ** rng.uniform(
        -3, 0, (2000, 1)
    )
    others *= np.sqrt(2 * delta / np.einsum("ni,ij,nj->n", others, fisher, others))[:, None]  # on the boundary
    assert (others @ g).max() <= g @ step * (1 + 1e-12)
    assert info["predicted_gain"] == pytest.approx(g @ step, rel=1e-8)
    # [TR-7]: √(2δ gᵀF⁻¹g)
    assert g @ step == pytest.approx(np.sqrt(2 * delta * g @ np.linalg.pinv(fisher) @ g), rel=1e-8)


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_tr_6_the_natural_gradient_of_a_table_is_the_advantage(gamma):
    """Δlogits(s, a) ∝ A(s, a) up to a constant per state:
    in every state alike, however rarely it is visited (Kakade, 2001).
    """
    mdp, theta, policy, batch, _ = setting(gamma)
    step, _, _ = natural_step(policy, pack(theta), batch, NPGConfig(**EXACT))
    pi, adv = softmax(theta), solve(mdp, softmax(theta)).adv
    moved = logits_of(step) - (pi * logits_of(step)).sum(axis=1, keepdims=True)
    scale = (moved * adv).sum() / (adv * adv).sum()
    assert scale > 0 and off_by(moved / scale, adv) <= 1e-8
    plain = gradient(lambda th: series_j(mdp, softmax(th)), theta)  # the plain gradient is another direction
    cosine = (plain * adv).sum() / np.linalg.norm(plain) / np.linalg.norm(adv)
    assert cosine < 0.95


def test_tr_6_pg_14_rescaled_features_turn_the_plain_gradient_alone():
    """The same policies with state 0 seen ten times as large:
    the natural step changes the probabilities as before, the plain one not.
    """
    mdp, theta, _, _, _ = setting()
    policy, moved, ascended = linear_policy(S, K), [], []
    for scale in (np.ones(S), np.array([10.0, 1, 1, 1])):
        features, th = np.diag(scale), pack(theta / scale[:, None])
        batch = exact_batch(mdp, policy, th, features)
        assert off_by(probabilities(policy, th, features), softmax(theta)) <= 1e-14
        step, _, _ = natural_step(policy, th, batch, NPGConfig(**EXACT))
        moved.append(probabilities(policy, th + step, features))
        cfg = ReinforceConfig(optimizer="ascent", lr=0.1, dtype="float64")
        ascended.append(
            probabilities(policy, reinforce_step(policy, th, adam_init(len(th), np.float64), batch, cfg)[0], features)
        )
    assert off_by(*moved) <= 1e-7
    assert np.abs(ascended[0] - ascended[1]).max() > 0.05


def test_tr_1_tr_13_accepted_steps_obey_in_exact_expectation():
    """Forty exact TRPO steps under the mean and under the largest KL,
    measured with the textbook's KL and visits summed over time.
    """
    for kind, delta in (("mean", 0.05), ("max", 0.05)):
        mdp, theta, policy, _, _ = setting(seed=3)
        th, cfg = pack(theta), TRPOConfig(delta=delta, kl=kind, **EXACT)
        tight = 0.0
        for _ in range(40):
            new, info = trpo_step(policy, th, exact_batch(mdp, policy, th), cfg)
            old, moved = (log_softmax(logits_of(x), axis=1) for x in (th, new))  # where F is singular a step may be any
            kl = (np.exp(old) * (old - moved)).sum(axis=1)
            measured = kl.max() if kind == "max" else 0.1 * series_visits(mdp, np.exp(old)) @ kl
            assert measured <= delta * (1 + 1e-12)
            assert info["kl_max" if kind == "max" else "kl"] == pytest.approx(measured, rel=1e-6, abs=1e-12)
            th, tight = new, max(tight, measured / delta)
        assert tight > 0.5


# --------------------------------------------------------------------------------------- constraint and penalty, solved


def test_tr_12_the_penalised_maximiser_is_that_of_a_general_solver():
    mdp, theta, _, _, visits = setting()
    pi, adv = softmax(theta), solve(mdp, softmax(theta)).adv
    for beta in (0.05, 1.0, 20.0):

        def loss(th, beta=beta):
            new = softmax(th.reshape(S, K))
            return -visits @ ((new * adv).sum(axis=1) - beta * plain_kl(pi, new))

        found = minimize(loss, theta.ravel(), method="BFGS", options={"gtol": 1e-10})
        best = penalised(pi, adv, beta)
        assert off_by(best, softmax(found.x.reshape(S, K))) <= 1e-5
        assert loss(np.log(best).ravel()) <= found.fun + 1e-13


@pytest.mark.parametrize("delta", [1e-3, 0.05, 0.5])
def test_tr_15_tr_1_one_beta_gives_the_constrained_maximiser(delta):
    """Against SLSQP on the constrained problem; β is the price of δ, dL*/dδ, by differences.

    The two values differ by βδ.
    """
    mdp, theta, _, _, visits = setting()
    pi, adv = softmax(theta), solve(mdp, softmax(theta)).adv
    best = constrained(mdp, pi, delta)
    assert best.kl == pytest.approx(delta, rel=1e-9)
    assert visits @ plain_kl(pi, best.pi) == pytest.approx(delta, rel=1e-9)
    limit = {"type": "ineq", "fun": lambda th: 10 * (delta - visits @ plain_kl(pi, softmax(th.reshape(S, K))))}
    found = minimize(
        lambda th: -(visits @ (softmax(th.reshape(S, K)) * adv).sum(axis=1)),
        theta.ravel() + 0.01 * adv.ravel(),
        method="SLSQP",
        constraints=[limit],
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert off_by(best.pi, softmax(found.x.reshape(S, K))) <= 1e-4
    value = [float(visits @ (constrained(mdp, pi, delta * x).pi * adv).sum(axis=1)) for x in (0.999, 1.0, 1.001)]
    assert value[1] == pytest.approx(-found.fun, rel=1e-6)
    assert (value[2] - value[0]) / (0.002 * delta) == pytest.approx(best.beta, rel=1e-4)  # the price of the constraint
    form_2 = value[1] - best.beta * (visits @ plain_kl(pi, best.pi))
    assert off_by(value[1] - form_2, best.beta * delta) <= 1e-12 and best.beta * delta > 1e-3  # NOTES: L₁ = L₂


def test_tr_15_where_theta_is_not_convex_there_may_be_no_such_beta():
    """One θ for two states: the first pays early and soon no more, the second late. Between, no β makes Form 2 stop.

    The point at KL = δ lies below a chord of the curve (KL, L): a mixture of two other points has its KL and more L,
    so that one of the two beats it in L − β KL, whatever β is.
    """
    theta = np.linspace(0, 12, 24001)
    logit = np.stack([4 * theta, theta - 6])  # of action 0 in both states
    log_p, log_q = -np.logaddexp(0, -logit), -np.logaddexp(0, logit)
    p, q = np.exp(log_p[:, :1]), np.exp(log_q[:, :1])  # the old policy
    kl = 0.5 * (p * (log_p[:, :1] - log_p) + q * (log_q[:, :1] - log_q)).sum(axis=0)
    gain = 0.5 * (np.array([[0.1], [4.0]]) * (np.exp(log_p) - p)).sum(axis=0)
    assert (np.diff(kl) > 0).all() and (np.diff(gain) > 0).all()  # so the constrained maximiser is where KL = δ
    delta = 3.0
    left, at, right = np.searchsorted(kl, (0.0165, delta, 8.05))
    share = (kl[right] - kl[at]) / (kl[right] - kl[left])
    assert share * gain[left] + (1 - share) * gain[right] > gain[at] + 0.4  # 0.63 on the chord, 0.15 on the curve
    stops = np.array([kl[(gain - beta * kl).argmax()] for beta in np.geomspace(1e-3, 1e3, 2000)])
    assert not ((stops > 0.02) & (stops < 8)).any()  # as β falls the maximiser jumps over δ
    assert (stops < 0.02).any() and (stops > 8).any()


# -------------------------------------------------------------------------------------- the algorithms, without samples


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_pg_12_pg_13_reinforce_with_exact_expectations_climbs(gamma):
    """Plain ascent, small step: J rises at every update, towards the optimum. [PG-12]"""
    mdp, theta, _, _, _ = setting(gamma)
    cfg = ReinforceConfig(optimizer="ascent", lr=0.2 * (1 - gamma), dtype="float64")
    adam = adam_init(len(pack(theta)), np.float64)
    _, returns = improve(
        mdp, lambda policy, th, batch, cfg: reinforce_step(policy, th, adam, batch, cfg)[::2], cfg, pack(theta), 200
    )
    best = mdp.start @ value_iteration(mdp)
    assert np.diff(returns).min() > 0
    assert best - returns[-1] < 0.6 * (best - returns[0])


@pytest.mark.parametrize("gamma", [0.5, 0.9])
@pytest.mark.parametrize(("delta", "updates"), [(0.1, 7), (0.01, 17), (0.001, 47)])
def test_tr_6_tr_7_npg_reaches_the_optimum(delta, updates, gamma):
    """J rises at every exact update until the gap to value iteration is 1e-4 of what it was;
    REINFORCE is far from that by then.
    """
    mdp, theta, _, _, _ = setting(gamma)
    best = mdp.start @ value_iteration(mdp)
    _, returns = improve(mdp, npg_step, NPGConfig(delta=delta, **EXACT), pack(theta), updates)
    gap = best - np.array(returns)
    there = (gap <= 1e-4 * gap[0]).argmax()
    assert there > 0 and np.diff(returns[: there + 1]).min() > 0 and gap.min() >= -1e-12
    cfg, adam = (
        ReinforceConfig(optimizer="ascent", lr=0.2 * (1 - gamma), dtype="float64"),
        adam_init(len(pack(theta)), np.float64),
    )
    _, plain = improve(
        mdp, lambda policy, th, batch, cfg: reinforce_step(policy, th, adam, batch, cfg)[::2], cfg, pack(theta), updates
    )
    assert best - plain[-1] > 100 * gap.min()


@pytest.mark.parametrize("gamma", [0.5, 0.9])
@pytest.mark.parametrize("solver", ["cg", "dense"])
def test_p_01_tr_7_tr_11_at_the_optimum_no_step_is_lost(solver, gamma):
    """gᵀF⁻¹g goes to 0 there and the length √(2δ/gᵀF⁻¹g) without limit. A solver, which does not see the states that
    hardly count, loses the direction in them, and NPG refuses its step: sixty updates more, and all stays as it was.
    """
    mdp, theta, _, _, _ = setting(gamma)
    best = mdp.start @ value_iteration(mdp)

    def told(policy, th, batch, cfg):
        new, info = npg_step(policy, th, batch, cfg)
        assert info["accepted"] or (new is th and info["kl"] == info["gain"] == 0)
        assert info["kl"] <= 1.0 and not (info["accepted"] and info["status"] == "singular")
        return new, info

    for step, cfg in ((told, NPGConfig), (trpo_step, TRPOConfig)):
        _, returns = improve(mdp, step, cfg(delta=0.01, solver=solver, **EXACT), pack(theta), 80)
        gap = (best - np.array(returns)) / (best - returns[0])
        assert -1e-12 <= gap.min() < 1e-3 and gap[-1] < 0.5
        assert step is told or np.diff(gap).max() <= 1e-12


@pytest.mark.parametrize("gamma", [0.5, 0.9])
def test_p_01_tr_7_the_exact_direction_loses_nothing_at_any_length(gamma):
    """θ + √(2δ/gᵀF⁻¹g) A with gᵀF⁻¹g = Σ ρπA² in closed form: J rises to the optimum and stays. [TR-6]"""
    mdp, theta, _, _, _ = setting(gamma)
    best, returns, lengths = mdp.start @ value_iteration(mdp), [], []
    for _ in range(80):
        pi = softmax(theta)
        exact = solve(mdp, pi)
        returns.append(float(exact.j))
        square = (1 - gamma) * (series_visits(mdp, pi)[:, None] * pi * exact.adv**2).sum()
        lengths.append(np.sqrt(0.02 / square) if square > 0 else 0.0)
        theta = theta + lengths[-1] * exact.adv
    gap = (best - np.array(returns)) / (best - returns[0])
    assert np.diff(gap).max() <= 1e-12 and gap[-60:].max() < 1e-4 and gap[-1] < 1e-12
    assert max(lengths) > 1e3 * lengths[0]


def test_p_01_a_step_from_a_singular_solve_is_refused(monkeypatch):
    """F flat along the way: what conjugate gradient had found before it met that is no natural step."""
    _, theta, policy, batch, _ = setting()
    flat = np.ones(len(pack(theta)))
    flat[::2] = 0.0
    monkeypatch.setattr(npg, "fisher_vector_product", lambda *_: lambda v: flat * v)
    new, info = npg_step(policy, pack(theta), batch, NPGConfig(**EXACT))
    assert (info["status"], info["refused"], info["accepted"]) == ("singular", "singular", 0)
    np.testing.assert_array_equal(new, pack(theta))


def test_tr_6_sur_8_an_exact_natural_step_of_any_length_improves(rng):
    """θ + ηA: more weight for more advantage in each state, so Σ_a π̃ A ≥ 0 everywhere and J cannot fall,
    whatever η is.
    """
    mdps, theta = problems(rng, 2000, 0.9, S, K), rng.standard_normal((2000, S, K))
    exact = solve(mdps, softmax(theta))
    for eta in (1e-3, 1.0, 30.0):
        new = softmax(theta + eta * exact.adv)
        assert (new * exact.adv).sum(axis=-1).min() >= -1e-13
        assert (solve(mdps, new).j - exact.j).min() >= -1e-12


def test_tr_14_sur_8_trpo_on_the_bound_never_loses(rng):
    """form = "bound": every accepted step has L − C max KL > 0, so J rises each time;
    twenty problems, exact expectations.
    """
    mdps = problems(rng, 20, 0.5, S, K)
    cfg = TRPOConfig(form="bound", gamma=0.5, normalize_adv=False, backtracks=15, **EXACT)
    for i in range(20):
        _, returns = improve(one_of(mdps, i), trpo_step, cfg, pack(rng.standard_normal((S, K))), 25)
        assert np.diff(returns).min() >= 0 and returns[-1] > returns[0]


@pytest.mark.parametrize("kl", ["mean", "max"])
def test_tr_14_trpo_with_exact_expectations_climbs_to_the_optimum(kl, rng):
    """δ = 0.02: monotone on ten problems (no theorem says so), and near the optimum;
    ten times the δ gets there sooner.
    """
    mdps = problems(rng, 10, 0.9, S, K)
    for i in range(10):
        mdp, start = one_of(mdps, i), pack(rng.standard_normal((S, K)))
        best = mdp.start @ value_iteration(mdp)
        slow, fast = (improve(mdp, trpo_step, TRPOConfig(delta=d, kl=kl, **EXACT), start, 25)[1] for d in (0.02, 0.2))
        assert min(np.diff(slow).min(), np.diff(fast).min()) >= -1e-12
        assert best - slow[-1] < 0.5 * (best - slow[0])
        assert best - fast[-1] <= best - slow[-1] + 1e-6


def test_sur_7_tr_11_a_blind_natural_step_can_lose_what_the_line_search_keeps():
    """A large δ on a steep problem: NPG's J falls at some update; TRPO, same δ, never."""
    losses = {"npg": 0, "trpo": 0}
    mdps = problems(np.random.default_rng(4), 30, 0.9, S, 2)
    features = np.random.default_rng(5).standard_normal((S, 2))
    for i in range(30):
        mdp, policy = one_of(mdps, i), linear_policy(2, 2)
        for name, step, cfg in (("npg", npg_step, NPGConfig), ("trpo", trpo_step, TRPOConfig)):
            th, cfg = pack(np.zeros((2, 2))), cfg(delta=0.5, **EXACT)
            j = solve(mdp, probabilities(policy, th, features)).j
            for _ in range(5):
                th, _ = step(policy, th, exact_batch(mdp, policy, th, features), cfg)
                before, j = j, solve(mdp, probabilities(policy, th, features)).j
                losses[name] += bool(j < before - 1e-6)
    assert losses["npg"] > 2 * losses["trpo"], losses


def test_exact_batches_are_the_documents_expectations():
    """Σ weight f = Σ_s ρ Σ_a π f, and a batch without its weights is not."""
    _, theta, _, batch, visits = setting()
    f = np.arange(S * K, dtype=float) ** 2
    by_hand = sum(10 * visits[s] * softmax(theta)[s, a] * f[s * K + a] for s in range(S) for a in range(K))
    assert off_by(batch.weights.weight @ f, by_hand) <= 1e-12
    plain = dataclasses.replace(batch, weights=SampleWeights(np.full(len(f), 10 / len(f))))
    assert abs(plain.weights.weight @ f - by_hand) > 0.1 * by_hand

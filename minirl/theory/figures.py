"""The documents' three figures and the tightness of the bound, from the library's computations (matplotlib).

A small problem solved exactly replaces the sketches: the curves are J, its tangent and the surrogate along the
direction of TRPO's step, and the step is the one that `trpo_step` accepts.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minirl._core.reference.losses import clipped_surrogate
from minirl.algorithms.npg import natural_step
from minirl.algorithms.trpo import TRPOConfig, trpo_step
from minirl.files.atomic import write_atomically
from minirl.theory.bounds import surrogate, tightness
from minirl.theory.divergences import tabular_kl
from minirl.theory.exact_batch import exact_batch, linear_policy, pack, probabilities
from minirl.theory.mdp import MDP, random_mdp, softmax_policy, solve

BLUE, ORANGE, GREEN, GREY = "#2563a8", "#d9730d", "#2e8b57", "#8a8f98"
# The problem (its seed) is chosen because the surrogate goes astray on it early; nothing is fitted or drawn by hand.
CONFIG = TRPOConfig(delta=0.05, damping=0.0, cg_iters=50, dtype="float64")


class Slice(NamedTuple):
    """What FIG-1 and FIG-2 show along θ_old + t Δθ, t = 1 being the full natural step."""

    t: np.ndarray
    j: np.ndarray  # true return
    tangent: np.ndarray  # J(θ_old) + t ∇JᵀΔθ
    surrogate: np.ndarray  # L_{θ_old}(θ) + J(θ_old)
    kl: np.ndarray  # mean over the old policy's states, old first
    accepted: float  # the t that the line search stops at


def along_the_step(seed: int = 228, reach: float = 10.0) -> Slice:
    """J, its tangent, the surrogate and the mean KL in the direction of TRPO's step; the states share parameters."""
    rng = np.random.default_rng(seed)
    mdp = random_mdp(rng, 6, 3, 0.95, concentration=0.15)
    features = rng.normal(size=(6, 2))
    policy, theta = linear_policy(2, 3), pack(0.5 * rng.normal(size=(2, 3)))
    batch = exact_batch(mdp, policy, theta, features)
    step, _, info = natural_step(policy, theta, batch, CONFIG)
    accepted, _ = trpo_step(policy, theta, batch, CONFIG)

    pi = probabilities(policy, theta, features)
    exact = solve(mdp, pi)
    t = np.arange(-60, 201) * (reach / 200)  # holds 0 itself: θ_old
    moved = [probabilities(policy, theta + s * step, features) for s in t]
    return Slice(
        t=t,
        j=np.array([solve(mdp, new).j for new in moved]),
        # gᵀΔθ under normalised visits, times Σρ = 1/(1−γ)
        tangent=exact.j + t * info["predicted_gain"] * exact.rho.sum(),
        surrogate=np.array([surrogate(mdp, pi, new) for new in moved]),
        kl=np.array([exact.rho @ tabular_kl(pi, new) / exact.rho.sum() for new in moved]),
        accepted=float(np.linalg.norm(accepted - theta) / np.linalg.norm(step)),
    )


def draw_tangent(ax, s: Slice) -> None:
    """J(θ) and its first-order approximation at θ_old: the same value and slope there, and nowhere else.  [FIG-1]"""
    ax.plot(s.t, s.j, color=BLUE, lw=2.2, label=r"$J(\theta)$, exact")
    ax.plot(s.t, s.tangent, color=ORANGE, lw=1.6, ls="--", label=r"$J(\theta_{old}) + g^T\Delta\theta$")
    ax.plot(0, s.j[s.t == 0], "o", color="black", ms=6, label=r"$\theta_{old}$")
    ax.set_ylim(s.j.min() - 0.3 * np.ptp(s.j), s.j.max() + 0.5 * np.ptp(s.j))
    ax.set_title("The gradient is true locally [FIG-1]")


def draw_trust_region(ax, s: Slice) -> None:
    """J(θ), the surrogate, the trust region mean KL ≤ δ, and the step that TRPO accepts.  [FIG-2]"""
    inside = s.kl <= CONFIG.delta
    ax.axvspan(
        s.t[inside].min(),
        s.t[inside].max(),
        color=GREEN,
        alpha=0.15,
        label=rf"mean KL $\leq \delta$ = {CONFIG.delta:g}",
    )
    ax.plot(s.t, s.j, color=BLUE, lw=2.2, label=r"$J(\theta)$, exact")
    ax.plot(s.t, s.surrogate, color=ORANGE, lw=1.6, ls="--", label=r"surrogate $L(\theta)$")
    ax.plot(0, s.j[s.t == 0], "o", color="black", ms=6, label=r"$\theta_{old}$")
    ax.plot(s.accepted, np.interp(s.accepted, s.t, s.j), "*", color=GREEN, ms=15, label=r"accepted, $\theta^*_{TRPO}$")
    ax.set_title("A step that stays where the surrogate holds [FIG-2]")


def draw_clip(ax, adv: float, clip: float = 0.2) -> None:
    """The clipped objective against the ratio r for one sign of Â.  [FIG-3]"""
    ratio = np.linspace(0, 2, 401)
    objective, _ = clipped_surrogate(ratio, np.full_like(ratio, adv), clip)
    ax.plot(ratio, ratio * adv, color=GREY, lw=1.4, ls="--", label=r"$r\,\hat{A}$")
    ax.plot(ratio, objective, color=BLUE, lw=2.2, label=r"$\min(r\hat{A},\ \mathrm{clip}(r)\,\hat{A})$")
    edge = 1 + clip if adv > 0 else 1 - clip
    ax.axvline(edge, color=ORANGE, lw=1, ls=":")
    ax.annotate(rf"{edge:g}", (edge, 0.02), xycoords=("data", "axes fraction"), ha="left", color=ORANGE)
    ax.plot(1, adv, "o", color="black", ms=5)
    ax.set_xlabel("probability ratio r")
    ax.set_title(rf"$\hat{{A}} {'>' if adv > 0 else '<'} 0$: nothing gained beyond {edge:g} [FIG-3]")


def draw_bound(ax, pairs: int = 3000, seed: int = 0) -> None:
    """The share of its penalty C max KL, C = 4 γ max|A|/(1−γ)², that a pair of policies uses: at most 1.  [SUR-7]

    On a logarithmic axis, for it is orders of magnitude smaller. Pairs with η above L use none of it and have no dot.
    """
    rng = np.random.default_rng(seed)
    for gamma, color in ((0.1, BLUE), (0.5, ORANGE), (0.9, GREEN)):
        p = rng.dirichlet(np.full(4, 0.2), size=(pairs, 4, 2))
        mdp = MDP(p, rng.uniform(-1, 1, (pairs, 4, 2)), rng.dirichlet(np.ones(4), pairs), gamma)
        theta, step = rng.standard_normal((2, pairs, 4, 2))
        pi, new = softmax_policy(theta), softmax_policy(theta + step * 10 ** rng.uniform(-1, 1, (pairs, 1, 1)))
        used = tightness(mdp, pi, new) / 4  # [SUR-7]
        some = used > 0
        label = rf"$\gamma$ = {gamma:g}: the {some.mean():.0%} of {pairs} pairs that use any"
        kl = tabular_kl(pi, new).max(axis=-1)
        ax.scatter(kl[some], used[some], s=6, color=color, alpha=0.45, linewidth=0, label=label)
    ax.axhline(1, color="black", lw=1.2, label="the theorem: no pair is above")
    ax.axhline(0.5, color="black", lw=1.2, ls="--", label="half of $C$, by Pinsker's inequality")
    ax.set(xscale="log", yscale="log", ylim=(1e-6, 2), xlabel=r"$\max_s$ KL (nats)")
    ax.set_ylabel(r"share of the penalty used, $(L - \eta)\,/\,(C\,\max_s$ KL$)$")
    ax.set_title("Room between the bound and the truth [SUR-7]")


def draw_all(out: Path) -> list[Path]:
    """Write fig-1.png, fig-2.png, fig-3.png and bound.png into `out`; matplotlib's global state stays as it is."""
    from matplotlib.figure import Figure

    def new(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
        fig = Figure(figsize=(width, height), layout="constrained")
        return fig, fig.subplots(1, columns, squeeze=False)[0]

    out.mkdir(parents=True, exist_ok=True)
    s = along_the_step()
    paths: list[Path] = []
    for number, draw in ((1, draw_tangent), (2, draw_trust_region)):
        fig, (ax,) = new(7, 4.2)
        draw(ax, s)
        ax.set_xlabel(r"step along the natural gradient ($1$ = the full step of length $\sqrt{2\delta/g^TF^{-1}g}$)")
        ax.set_ylabel("expected return")
        _finish(fig, [ax], out / f"fig-{number}.png", paths)
    fig, axes = new(9, 3.8, 2)
    for ax, adv in zip(axes, (1.0, -1.0), strict=True):
        draw_clip(ax, adv)
    axes[0].set_ylabel("objective of one sample")
    _finish(fig, axes, out / "fig-3.png", paths)
    fig, (ax,) = new(7, 5)
    draw_bound(ax)
    below = {"loc": "upper left", "bbox_to_anchor": (-0.08, -0.15), "ncols": 2, "markerscale": 2.5}
    _finish(fig, [ax], out / "bound.png", paths, **below)
    return paths


def _finish(fig, axes, path: Path, paths: list[Path], **legend: Any) -> None:
    for ax in axes:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
        ax.legend(frameon=False, fontsize=9, **legend)
    picture = io.BytesIO()
    fig.savefig(picture, format="png", dpi=150)
    write_atomically(path, picture.getvalue())
    paths.append(path)

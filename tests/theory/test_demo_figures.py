"""The worked numbers of the documents, computed by hand here, and what the figures draw."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from oracles import gradient
from oracles.tabular import off_by, series_j, series_visits, softmax

from minirl._core.reference.losses import clipped_surrogate
from minirl.theory import figures
from minirl.theory.demo import CLIP, DELTA, bernoulli_kl, credited, lines, shrunk
from minirl.theory.divergences import step_kl
from minirl.theory.exact_batch import pack
from minirl.theory.figures import (
    CONFIG,
    along_the_step,
    draw_all,
    draw_bound,
    draw_clip,
    draw_tangent,
    draw_trust_region,
)
from minirl.theory.mdp import random_mdp

pytest.importorskip("matplotlib").use("Agg")
plt = pytest.importorskip("matplotlib.pyplot")
ROOT = Path(__file__).parents[2]


def coin(p, q):
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))


@pytest.fixture(scope="module")
def text():
    return "\n".join(lines())


def said(text, tag):
    """The part of the demonstration under a tag, up to the next."""
    return re.search(rf"\[{tag}\](.*?)(?=\n\n|\n\[|$)", text, re.DOTALL)[1]


# ---------------------------------------------------------------------------------------------------------- the numbers


def test_ex_1_a_large_step(text):
    """p .2 → .6: r = 3, credited 1.2; .2 ln(1/3) + .8 ln 2 = .3348 > δ; the logit is halved until KL ≤ .01."""
    kl = 0.2 * math.log(1 / 3) + 0.8 * math.log(2)
    assert kl == pytest.approx(0.3348, abs=5e-5) and bernoulli_kl(0.2, 0.6) == pytest.approx(kl, rel=1e-12)
    assert credited(3.0, 1.0) == pytest.approx(1.2, rel=1e-15) and kl > DELTA and CLIP == 0.2
    halvings, p, accepted = shrunk(0.2, 0.6)
    logit, step = math.log(0.25), math.log(6)  # .6/.4 over .2/.8 is 6
    tried = [1 / (1 + math.exp(-logit - step / 2**i)) for i in range(halvings + 1)]
    assert [coin(0.2, x) > 0.01 for x in tried] == [True] * halvings + [False]
    assert (
        halvings == 3
        and p == pytest.approx(tried[-1], rel=1e-12)
        and accepted == pytest.approx(coin(0.2, tried[-1]), rel=1e-9)
    )
    part = said(text, "EX-1")
    assert all(
        x in part for x in ("r = 3 ", "0.3348", "= 1.2 of", "clipped", f"halves the step 3 times: p = {tried[-1]:.4f}")
    )


def test_ex_2_a_small_step(text):
    """p .2 → .25: r = 1.25, just clipped; .2 ln .8 + .8 ln(.8/.75) = .0070 ≤ δ: accepted at once."""
    kl = 0.2 * math.log(0.8) + 0.8 * math.log(0.8 / 0.75)
    assert kl == pytest.approx(0.0070, abs=5e-5) and bernoulli_kl(0.2, 0.25) == pytest.approx(kl, rel=1e-11)
    assert credited(1.25, 1.0) == pytest.approx(1.2) and shrunk(0.2, 0.25) == (
        0,
        pytest.approx(0.25),
        pytest.approx(kl),
    )
    part = said(text, "EX-2")
    assert all(x in part for x in ("r = 1.25", "0.0070", "= 1.2 of", "clipped", "accepts it"))


def test_ex_3_a_fair_coin_and_a_loaded_one(text):
    there, back = 0.5 * math.log(5 / 9) + 0.5 * math.log(5), 0.9 * math.log(1.8) + 0.1 * math.log(0.2)
    assert (there, back) == (pytest.approx(0.51, abs=0.005), pytest.approx(0.37, abs=0.005))
    assert (bernoulli_kl(0.5, 0.9), bernoulli_kl(0.9, 0.5)) == (
        pytest.approx(there, rel=1e-12),
        pytest.approx(back, rel=1e-12),
    )
    assert "0.5108" in said(text, "EX-3") and "0.3681" in said(text, "EX-3")


def test_ex_4_ex_5_the_clipped_credit(text):
    """Â = 2, r = 1.3: 2.6 → 2.4. Â = −2, r = .6: −1.2 and −1.6 → −1.6."""
    assert credited(1.3, 2.0) == pytest.approx(2.4) and credited(0.6, -2.0) == pytest.approx(-1.6)
    assert "2.60" in said(text, "EX-4") and "credited 2.40" in said(text, "EX-4")
    assert "-1.20, clipped -1.60, credited -1.60" in said(text, "EX-5")


def test_ex_5_notes_remark_is_true_at_another_ratio(text):
    """NOTES: "without the min the clipped term would look better".

    At r = .6 it is the worse one; at r = 1.5 it would.
    """
    clipped = {r: min(max(r, 0.8), 1.2) * -2.0 for r in (0.6, 1.5)}
    assert clipped[0.6] < 0.6 * -2 and clipped[1.5] > 1.5 * -2
    assert credited(1.5, -2.0) == pytest.approx(-3.0)
    assert "-2.40 against the credited -3.00" in said(text, "EX-5")


def test_ex_6_near_and_far(text):
    near, far = coin(0.8, 0.79), coin(0.8, 0.2)
    assert near == pytest.approx(0.000304, abs=1e-6) and far == pytest.approx(0.6 * math.log(4), rel=1e-12)
    assert far > 2500 * near
    assert (bernoulli_kl(0.8, 0.79), bernoulli_kl(0.8, 0.2)) == (
        pytest.approx(near, rel=1e-9),
        pytest.approx(far, rel=1e-12),
    )
    assert f"{near:.6f}" in said(text, "EX-6") and f"{far:.4f}" in said(text, "EX-6")


def test_ex_7_how_a_ratio_reads(text):
    for ratio in (1.2, 0.8):
        old = np.log([[0.25, 0.75]])
        new = np.log([[0.25 * ratio, 1 - 0.25 * ratio]])
        assert math.exp(new[0, 0] - old[0, 0]) == pytest.approx(ratio, rel=1e-14)
        assert off_by(step_kl(old[None], (new - old)[None])[0, 0], coin(0.25, 0.25 * ratio)) <= 1e-14
        assert credited(ratio, 1.0) == pytest.approx(ratio)  # just at the edges: nothing is clipped
    assert "20 % likelier" in said(text, "EX-7") and "20 % less likely" in said(text, "EX-7")


# ---------------------------------------------------------------------------------------------------------- the figures


@pytest.fixture(scope="module")
def curve():
    return along_the_step()


@pytest.fixture
def ax():
    figure, axes = plt.subplots()
    yield axes
    plt.close(figure)


def drawn(ax, text):
    """Data of the line whose label contains the text."""
    (line,) = [line for line in ax.get_lines() if text in str(line.get_label())]
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def test_fig_1_fig_2_the_curves_are_those_of_the_problem(curve):
    """J, surrogate and mean KL along the direction, made again from the seed by sums over time."""
    rng = np.random.default_rng(228)
    mdp = random_mdp(rng, 6, 3, 0.95, concentration=0.15)
    features, weights = rng.normal(size=(6, 2)), 0.5 * rng.normal(size=(2, 3))
    policy = figures.linear_policy(2, 3)
    batch = figures.exact_batch(mdp, policy, pack(weights), features)
    step = figures.natural_step(policy, pack(weights), batch, CONFIG)[0]

    def pi(t):
        th = pack(weights) + t * step
        return softmax(features @ th[:6].reshape(2, 3) + th[6:])

    for i in (0, 60, 80, 150, 260):
        assert off_by(curve.j[i], series_j(mdp, pi(curve.t[i]))) <= 1e-10
        visits = series_visits(mdp, pi(0)) * 0.05
        assert off_by(curve.kl[i], visits @ (pi(0) * np.log(pi(0) / pi(curve.t[i]))).sum(axis=1)) <= 1e-11
    slope = float(gradient(lambda t: series_j(mdp, pi(t[0])), np.zeros(1))[0])
    assert off_by((curve.tangent[-1] - curve.tangent[0]) / np.ptp(curve.t), slope) <= 1e-8


def test_fig_1_the_tangent_has_the_value_and_the_slope_of_j(curve, ax):
    draw_tangent(ax, curve)
    t, j = drawn(ax, "exact")
    x, tangent = drawn(ax, r"g^T")
    at = int(np.flatnonzero(t == 0)[0])
    assert (x == t).all() and tangent[at] == j[at]
    h = t[1] - t[0]
    slope = (8 * (j[at + 1] - j[at - 1]) - (j[at + 2] - j[at - 2])) / (12 * h)
    assert slope == pytest.approx((tangent[-1] - tangent[0]) / (t[-1] - t[0]), rel=1e-3)
    assert off_by(np.diff(tangent, 2), np.zeros(len(t) - 2)) <= 1e-12  # a line
    assert np.abs(tangent - j).max() > 0.5 * np.ptp(j)  # which is false far away
    assert drawn(ax, "old}$") == (pytest.approx(0), pytest.approx(j[at]))
    assert "FIG-1" in ax.get_title()


def test_fig_2_the_accepted_step_is_inside_the_region_and_gains(curve, ax):
    draw_trust_region(ax, curve)
    t, j = drawn(ax, "exact")
    _, surrogate = drawn(ax, "surrogate")
    at = int(np.flatnonzero(t == 0)[0])
    assert surrogate[at] == pytest.approx(j[at], abs=1e-12)
    assert np.gradient(surrogate, t)[at] == pytest.approx(np.gradient(j, t)[at], rel=0.02)
    (x,), (y,) = drawn(ax, "accepted")
    # halvings
    assert 0 < x <= 1 and x == curve.accepted and np.log2(1 / x) == pytest.approx(round(np.log2(1 / x)), abs=1e-6)
    assert np.interp(x, t, curve.kl) <= CONFIG.delta and y == pytest.approx(np.interp(x, t, j)) and y > j[at]
    (region,) = ax.patches
    low, high = region.get_x(), region.get_x() + region.get_width()
    inside = (t >= low) & (t <= high)
    assert low < 0 < x <= high and (curve.kl[inside] <= CONFIG.delta).all() and (curve.kl[~inside] > CONFIG.delta).all()
    best = surrogate.argmax()
    assert j[best] < j.max() - 0.1 * np.ptp(j)  # what the surrogate likes best, far outside, is not good
    assert "FIG-2" in ax.get_title()


@pytest.mark.parametrize(("adv", "edge", "flat"), [(1.0, 1.2, 1), (-1.0, 0.8, -1)])
def test_fig_3_the_clipped_objective_has_one_kink(adv, edge, flat, ax):
    """Slope Â on one side of the edge, 0 beyond; touching r Â up to it and below it after."""
    draw_clip(ax, adv)
    ratio, objective = drawn(ax, "min")
    _, line = drawn(ax, r"$r\,")
    beyond = (ratio - edge) * flat > 1e-9
    slopes = np.diff(objective) / np.diff(ratio)
    both = beyond[1:] & beyond[:-1]
    assert np.abs(slopes[both]).max() <= 1e-12 and np.abs(slopes[~(beyond[1:] | beyond[:-1])] - adv).max() <= 1e-12
    assert objective[beyond] == pytest.approx(np.full(beyond.sum(), edge * adv))
    assert (
        off_by(line, ratio * adv) <= 1e-15
        and (objective <= line + 1e-15).all()
        and (objective[beyond] < line[beyond]).all()
    )
    assert off_by(objective, clipped_surrogate(ratio, np.full_like(ratio, adv), 0.2)[0]) == 0
    # the edge is marked
    assert any(np.allclose(x.get_xdata(), edge) for x in ax.get_lines() if len(x.get_xdata()) == 2)
    assert "FIG-3" in ax.get_title()


def test_sur_7_the_tightness_figure_stays_below_the_bound(ax):
    """Each dot is a pair of policies: what it loses against its surrogate, over C · max KL.

    None reaches the line of the theorem.
    """
    draw_bound(ax)
    clouds = [np.asarray(c.get_offsets()) for c in ax.collections]
    assert len(clouds) == 3 and all(len(c) > 1000 for c in clouds)
    assert max(c[:, 1].max() for c in clouds) <= 1  # (L − η) / (C max KL) with C = 4 γ max|A| / (1−γ)²
    assert max(c[:, 1].max() for c in clouds) > 0.1


def test_use_16_the_tightness_figure_is_filled_by_what_it_shows(ax):
    """The dots take up most of the height, and the theorem that they are held against stands above them."""
    draw_bound(ax)
    dots = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
    heights = ax.transAxes.inverted().transform(ax.transData.transform(dots))[:, 1]
    low, high = np.percentile(heights, [2, 98])
    assert high - low > 0.4 and low > 0 and high < 1
    assert ax.transAxes.inverted().transform(ax.transData.transform((1, drawn(ax, "theorem")[1][0])))[1] > 0.85


@pytest.mark.skipif(not (ROOT / "benches").is_dir(), reason="the benches belong to a clone")
def test_use_16_the_ticks_of_the_scaling_picture_can_be_read(monkeypatch):
    """From the committed measurements: plain numbers, three at least on each axis, and none over its neighbour."""
    monkeypatch.syspath_prepend(str(ROOT / "benches"))
    import scaling

    points = json.loads((ROOT / "benches" / "results" / "peers.json").read_text())["scaling"]["points"]
    figure = scaling.picture(points)
    figure.savefig(io.BytesIO())  # lays it out
    panels = [panel for panel in figure.axes if panel.get_visible()]
    assert len(panels) == 5
    for panel in panels:
        for axis in (panel.xaxis, panel.yaxis):
            low, high = sorted(axis.get_view_interval())
            ticks = [tick for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
            labels = [tick.label1 for tick in [*ticks, *axis.get_minor_ticks()] if tick.label1.get_text()]
            texts = [label.get_text() for label in labels]
            assert len(texts) >= 3 and all(re.fullmatch(r"[\d. ]+k?", text) for text in texts)
            boxes = [label.get_window_extent() for label in labels]
            assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i]), texts


def test_fig_1_fig_2_fig_3_files_are_pictures(tmp_path):
    paths = draw_all(tmp_path / "new" / "figures")
    assert [p.name for p in paths][:3] == ["fig-1.png", "fig-2.png", "fig-3.png"]
    for path in paths:
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and path.stat().st_size > 10_000
        pixels = plt.imread(path)
        assert min(pixels.shape[:2]) > 400 and pixels[..., :3].std() > 0.05

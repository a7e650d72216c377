"""One proposed step, seen by TRPO and by PPO: the comparison's worked example, computed by the library's functions."""

from collections.abc import Iterator

import numpy as np

from minirl._core.reference.losses import clipped_surrogate
from minirl.models.distributions import Categorical

CLIP, DELTA = 0.2, 0.01


def bernoulli_kl(p: float, q: float) -> float:
    """D(p ‖ q) = p ln p/q + (1−p) ln (1−p)/(1−q), as a two-way Categorical.  [KL-9]"""
    logits = np.log([[p, 1 - p], [q, 1 - q]])
    return float(Categorical(2).kl(logits[:1], logits[1:])[0])  # [KL-9]


def credited(ratio: float, adv: float, clip: float = CLIP) -> float:
    """What PPO credits one sample: min(r Â, clip(r) Â).  [PPO-1]"""
    return float(clipped_surrogate(np.array([ratio]), np.array([adv]), clip)[0][0])


def shrunk(p_old: float, p_new: float, delta: float = DELTA) -> tuple[int, float, float]:
    """TRPO's line search on the logit of a Bernoulli policy: halvings until KL ≤ δ, the accepted p, its KL.  [TR-11]"""
    logit = np.log(p_old / (1 - p_old))
    step = np.log(p_new / (1 - p_new)) - logit
    halvings = 0
    while bernoulli_kl(p_old, p := 1 / (1 + np.exp(-logit - step * 0.5**halvings))) > delta:
        halvings += 1
    return halvings, float(p), bernoulli_kl(p_old, p)


def lines() -> Iterator[str]:
    """The demonstration, line by line; the tags are those of `minirl equations`."""
    setting = f"PPO clips at ε = {CLIP}, TRPO trusts mean KL ≤ δ = {DELTA}."
    yield f"One state, two actions; the old policy goes left with p = 0.2. {setting}"
    for tag, p in (("EX-1", 0.6), ("EX-2", 0.25)):  # [EX-1, EX-2]
        ratio, kl = p / 0.2, bernoulli_kl(0.2, p)
        halvings, accepted, accepted_kl = shrunk(0.2, p)
        verdict = (
            "accepts it"
            if kl <= DELTA
            else f"halves the step {halvings} times: p = {accepted:.4f}, KL = {accepted_kl:.4f}"
        )
        yield f"\n[{tag}] a step to p = {p}:   r = {ratio:.4g}   KL(old‖new) = {kl:.4f}"
        yield f"   PPO  credits min(r, clip(r)) = {credited(ratio, 1.0):.4g} of Â = 1" + (
            ": clipped" if ratio > 1 + CLIP else ""
        )
        yield f"   TRPO {verdict}"
    fair, biased = bernoulli_kl(0.5, 0.9), bernoulli_kl(0.9, 0.5)
    both = f"{fair:.4f} nats, the other way round {biased:.4f}"
    yield f"\n[EX-3] a fair coin against one of 0.9: {both}: KL is not symmetric"
    yield f"[EX-4] Â = 2, r = 1.3: r Â = {1.3 * 2:.2f}, credited {credited(1.3, 2.0):.2f}"
    yield f"[EX-5] Â = −2, r = 0.6: r Â = {0.6 * -2:.2f}, clipped {0.8 * -2:.2f}, credited {credited(0.6, -2.0):.2f}"
    yield (
        f"       here the min is the clipped term; without the min the clipped term would look better at r = 1.5: "
        f"{1.2 * -2:.2f} against the credited {credited(1.5, -2.0):.2f}"
    )
    yield f"[EX-6] 80/20 → 79/21: KL = {bernoulli_kl(0.8, 0.79):.6f};  80/20 → 20/80: KL = {bernoulli_kl(0.8, 0.2):.4f}"
    yield "[EX-7] r = 1.2: the action is 20 % likelier than before; r = 0.8: 20 % less likely"

"""Action distributions: stateless families over their parameters φ (N, P), one file each.

A family is the same few functions for each: `sample`, `mode`, `log_prob`, `entropy`, `kl`, their derivatives in φ, and the
Fisher metric in φ. Old distribution first in every KL. Where a family has kernels, its formulas stand in `_core/reference.py`.
"""

from minirl.distributions.bernoulli import Bernoulli
from minirl.distributions.beta import Beta
from minirl.distributions.categorical import Categorical, MultiCategorical
from minirl.distributions.family import Family
from minirl.distributions.full_gaussian import FullGaussian
from minirl.distributions.gaussian import DiagGaussian, StateGaussian
from minirl.distributions.squashed_gaussian import SquashedGaussian

__all__ = [
    "FAMILIES",
    "Bernoulli",
    "Beta",
    "Categorical",
    "DiagGaussian",
    "Family",
    "FullGaussian",
    "MultiCategorical",
    "SquashedGaussian",
    "StateGaussian",
]

FAMILIES = {
    family.name: family
    for family in (Categorical, MultiCategorical, Bernoulli, DiagGaussian, StateGaussian, FullGaussian, SquashedGaussian, Beta)
}

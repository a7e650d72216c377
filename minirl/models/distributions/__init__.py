"""Action distributions: stateless families over their parameters φ (N, P), one file each.

Every family has the same functions: `sample`, `mode`, `log_prob`, `entropy`, `kl`, their derivatives in φ, and the
Fisher metric in φ. Old distribution first in every KL. The formulas of families with kernels are in `_core/reference/`.
"""

from typing import Any

from minirl.models.distributions.bernoulli import Bernoulli
from minirl.models.distributions.beta import Beta
from minirl.models.distributions.categorical import Categorical, MultiCategorical
from minirl.models.distributions.family import BoundedFamily, Family, MaskableFamily
from minirl.models.distributions.full_gaussian import FullGaussian
from minirl.models.distributions.gaussian import DiagGaussian, StateGaussian
from minirl.models.distributions.squashed_gaussian import SquashedGaussian

__all__ = [
    "FAMILIES",
    "NAMES",
    "SPACES",
    "Bernoulli",
    "Beta",
    "BoundedFamily",
    "Categorical",
    "DiagGaussian",
    "Family",
    "FullGaussian",
    "MaskableFamily",
    "MultiCategorical",
    "SquashedGaussian",
    "StateGaussian",
]

# By the kind of action space; the first of each is the one that `auto` means. Adding one: a file and its place here.
SPACES: dict[str, tuple[Any, ...]] = {
    "discrete": (Categorical,),
    "multi_discrete": (MultiCategorical,),
    "multi_binary": (Bernoulli,),
    "box": (DiagGaussian, StateGaussian, FullGaussian, SquashedGaussian, Beta),
}
NAMES = {kind: tuple(family.name for family in families) for kind, families in SPACES.items()}
FAMILIES: dict[str, Any] = {family.name: family for families in SPACES.values() for family in families}

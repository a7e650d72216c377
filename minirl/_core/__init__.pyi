"""The kernels as a type checker sees them."""

from collections.abc import Callable
from typing import Any

from minirl._core.compiled.acting import *
from minirl._core.compiled.adam import *
from minirl._core.compiled.categorical import *
from minirl._core.compiled.cg_step import *
from minirl._core.compiled.classic_control import *
from minirl._core.compiled.gaussian import *
from minirl._core.compiled.losses import *
from minirl._core.compiled.mlp import *
from minirl._core.compiled.returns import *
from minirl._core.compiled.rollout import *
from minirl._core.compiled.simple_spread import *
from minirl._core.compiled.vectors import *
from minirl._core.reference.mlp import mlp_layers as mlp_layers

COMPILED: bool
REFERENCE: bool
SUBJECTS: tuple[str, ...]
KERNELS: list[str]
TWINS: dict[str, Callable[..., Any]]

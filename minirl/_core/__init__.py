"""Floor 0, the hot kernels: arrays in, arrays out.

Nothing here knows an object of reinforcement learning, or imports more than NumPy.

`reference/` is to be read: the NumPy twin of every kernel. `compiled/` has the same names in Cython, `c/` the loops
that need more control than Cython gives. `arguments.py` names what is handed over in one piece.
A kernel is the compiled one where it is built, else its twin: `COMPILED` says which. MINIRL_REFERENCE=1 takes twins.
"""

import os
from importlib import import_module

SUBJECTS = (
    "returns",
    "categorical",
    "gaussian",
    "mlp",
    "losses",
    "adam",
    "cg_step",
    "vectors",
    "acting",
    "classic_control",
    "rollout",
    "simple_spread",
)
REFERENCE = os.environ.get("MINIRL_REFERENCE", "") not in ("", "0")


def _built() -> bool:
    """True when the extension modules are there. Only their absence gives False: a broken one raises."""
    try:
        import minirl._core.compiled.returns  # noqa: F401
    except ModuleNotFoundError as missing:
        if missing.name != "minirl._core.compiled.returns":
            raise
        return False
    return True


COMPILED = not REFERENCE and _built()
TWINS = {}  # the readable function of each kernel, by name

for subject in SUBJECTS:
    twins = import_module(f"minirl._core.reference.{subject}")
    side = import_module(f"minirl._core.compiled.{subject}") if COMPILED else twins
    for name in twins.__all__:
        TWINS[name] = getattr(twins, name)
        globals()[name] = getattr(side, name)

KERNELS = list(TWINS)
mlp_layers = import_module("minirl._core.reference.mlp").mlp_layers  # a view of θ, which needs no kernel

"""Floor 0, the hot kernels: the compiled one where it is built, else its readable NumPy twin from `reference*.py`.

`COMPILED` says which. `MINIRL_REFERENCE=1` in the environment runs everything on the twins. Adding a kernel: the twin first, then the
`.pyx` function of the same name, arguments and result, a line here, a parity test and a bench row that shows the gain.
"""

import os

from minirl._core import reference, reference_acting, reference_envs, reference_losses, reference_rollout

REFERENCE = os.environ.get("MINIRL_REFERENCE", "") not in ("", "0")


def _compiled() -> bool:
    """True when the extension modules are built. Only their absence is forgiven: one that is there and broken raises."""
    if REFERENCE:
        return False
    try:
        import minirl._core.returns  # noqa: F401
    except ModuleNotFoundError as missing:
        if missing.name != "minirl._core.returns":
            raise
        return False
    return True


COMPILED = _compiled()

if COMPILED:
    from minirl._core.acting import policy_act, policy_actor
    from minirl._core.categorical import (
        categorical_dentropy,
        categorical_dkl,
        categorical_dlog_prob,
        categorical_entropy,
        categorical_fisher_vec,
        categorical_kl,
        categorical_log_prob,
        categorical_sample,
    )
    from minirl._core.envs import env_reset, env_step
    from minirl._core.gaussian import (
        gaussian_dentropy,
        gaussian_dkl,
        gaussian_dlog_prob,
        gaussian_entropy,
        gaussian_fisher_vec,
        gaussian_kl,
        gaussian_log_prob,
        gaussian_sample,
    )
    from minirl._core.losses import policy_surrogate, squared_loss, surrogate_loss
    from minirl._core.mlp import mlp_forward, mlp_infer, mlp_jvp, mlp_vjp
    from minirl._core.optim import adam, all_finite, cg_step, global_norm, narrow, standardize
    from minirl._core.returns import discounted_returns, gae, running_return
    from minirl._core.rollout import env_rollout
else:
    from minirl._core.reference import (  # type: ignore[assignment]
        adam,
        all_finite,
        categorical_dentropy,
        categorical_dkl,
        categorical_dlog_prob,
        categorical_entropy,
        categorical_fisher_vec,
        categorical_kl,
        categorical_log_prob,
        categorical_sample,
        cg_step,
        discounted_returns,
        gae,
        gaussian_dentropy,
        gaussian_dkl,
        gaussian_dlog_prob,
        gaussian_entropy,
        gaussian_fisher_vec,
        gaussian_kl,
        gaussian_log_prob,
        gaussian_sample,
        global_norm,
        mlp_forward,
        mlp_infer,
        mlp_jvp,
        mlp_vjp,
        narrow,
        running_return,
        standardize,
    )
    from minirl._core.reference_acting import policy_act, policy_actor  # type: ignore[assignment]
    from minirl._core.reference_envs import env_reset, env_step  # type: ignore[assignment]
    from minirl._core.reference_losses import policy_surrogate, squared_loss, surrogate_loss  # type: ignore[assignment]
    from minirl._core.reference_rollout import env_rollout  # type: ignore[assignment]

mlp_layers = reference.mlp_layers

__all__ = [
    "COMPILED",
    "REFERENCE",
    "adam",
    "all_finite",
    "categorical_dentropy",
    "categorical_dkl",
    "categorical_dlog_prob",
    "categorical_entropy",
    "categorical_fisher_vec",
    "categorical_kl",
    "categorical_log_prob",
    "categorical_sample",
    "cg_step",
    "discounted_returns",
    "env_reset",
    "env_rollout",
    "env_step",
    "gae",
    "gaussian_dentropy",
    "gaussian_dkl",
    "gaussian_dlog_prob",
    "gaussian_entropy",
    "gaussian_fisher_vec",
    "gaussian_kl",
    "gaussian_log_prob",
    "gaussian_sample",
    "global_norm",
    "mlp_forward",
    "mlp_infer",
    "mlp_jvp",
    "mlp_layers",
    "mlp_vjp",
    "narrow",
    "policy_act",
    "policy_actor",
    "policy_surrogate",
    "running_return",
    "squared_loss",
    "standardize",
    "surrogate_loss",
]

KERNELS = [name for name in __all__ if name not in ("COMPILED", "REFERENCE", "mlp_layers")]  # compiled, each with its twin
TWINS = {
    name: vars(module)[name]
    for module in (reference, reference_acting, reference_envs, reference_losses, reference_rollout)
    for name in KERNELS
    if name in vars(module)
}

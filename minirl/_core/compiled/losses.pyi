from numpy import ndarray

def surrogate_loss(
    logp: ndarray, logp_old: ndarray, adv: ndarray, w: ndarray, clip: float, dual: float | None = None
) -> tuple[float, ndarray, ndarray]: ...
def squared_loss(w: ndarray, value: ndarray, target: ndarray) -> tuple[float, ndarray]: ...
def policy_surrogate(
    phi: ndarray,
    action: ndarray,
    logp_old: ndarray,
    adv: ndarray,
    w: ndarray,
    clip: float,
    dual: float | None,
    ent_coef: float,
    family: str,
) -> tuple[float, ndarray, ndarray]: ...

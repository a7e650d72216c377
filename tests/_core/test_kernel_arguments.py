"""What the kernels' wrappers refuse, what they copy into shape, and what they never do:
crash, or answer from memory that is not theirs.
"""

import numpy as np
import pytest

from minirl import _core

pytestmark = pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")

NET = (3, 5, 2)
THETA = np.zeros(3 * 5 + 5 + 5 * 2 + 2)
X, DY = np.zeros((4, 3)), np.zeros((4, 2))
ACTS = (X, np.zeros((4, 5)), DY)
PHI, ACTION, U = np.zeros((4, 6)), np.zeros(4, np.int64), np.zeros(4)
PLAY = np.zeros((4 + 1) * 2), None, None, 10.0, (4, 2), "tanh", 0, "categorical"
STEPS = tuple(
    np.zeros((0, 1, *s), t) for s, t in (((4,), "f8"), ((), "i8"), ((), "f8"), ((4,), "f8"), ((), "?"), ((), "?"))
)
CARTPOLE = "cartpole", [np.random.PCG64(0)], np.zeros(4), np.ones(4), 9
# no steps
ROLLOUT = (
    CARTPOLE,
    np.zeros((1, 4)),
    np.zeros(1, np.int64),
    np.zeros((1, 4), np.float32),
    PLAY,
    np.zeros((0, 1)),
    None,
    STEPS,
)
GOOD = {  # name: arguments, how many of them are arrays
    "gae": ((PHI, PHI, PHI, PHI > 0, PHI > 0, 0.9, 0.9), 5),
    "discounted_returns": ((PHI, PHI, PHI > 0, PHI > 0, 0.9), 4),
    "running_return": ((PHI, PHI > 0, np.zeros(6), 0.9), 3),
    "categorical_log_prob": ((PHI, ACTION), 2),
    "categorical_dlog_prob": ((PHI, ACTION), 2),
    "categorical_entropy": ((PHI,), 1),
    "categorical_dentropy": ((PHI,), 1),
    "categorical_kl": ((PHI, PHI), 2),
    "categorical_dkl": ((PHI, PHI), 2),
    "categorical_fisher_vec": ((PHI, PHI), 2),
    "categorical_sample": ((PHI, U), 2),
    "gaussian_log_prob": ((PHI, X), 2),
    "gaussian_dlog_prob": ((PHI, X), 2),
    "gaussian_entropy": ((PHI,), 1),
    "gaussian_dentropy": ((PHI,), 1),
    "gaussian_kl": ((PHI, PHI), 2),
    "gaussian_dkl": ((PHI, PHI), 2),
    "gaussian_fisher_vec": ((PHI, PHI), 2),
    "gaussian_sample": ((PHI, X), 2),
    "mlp_forward": ((THETA, X, NET, "tanh"), 2),
    "mlp_infer": ((THETA, X, NET, "tanh"), 2),
    "mlp_vjp": ((THETA, ACTS, DY, NET, "tanh"), 3),
    "mlp_jvp": ((THETA, ACTS, THETA, NET, "tanh"), 3),
    "adam": ((U, U, U, U, 1, 1e-3, 0.9, 0.999, 1e-8, 1.0), 4),
    "global_norm": ((U,), 1),
    "cg_step": ((U, U, U, U, 1.0, 1.0), 4),
    "standardize": ((X, np.zeros(3), np.ones(3), 10.0), 3),
    "all_finite": ((X,), 1),
    "narrow": ((X,), 1),
    "policy_act": ((THETA, X, np.zeros((4, 1)), np.zeros(3), np.ones(3), 10.0, NET, "tanh", 0, "gaussian"), 5),
    "policy_actor": ((THETA, np.zeros(3), np.ones(3), 10.0, NET, "tanh", 0, "gaussian"), 3),
    "env_rollout": (ROLLOUT, 0),  # its arguments are checked together: test_native.py
    "surrogate_loss": ((U, U, U, U, 0.2, None), 4),
    "squared_loss": ((U, U, U), 3),
    "policy_surrogate": ((PHI, ACTION, U, U, U, 0.2, None, 0.01, "categorical"), 5),
}
BATCH = (np.zeros((4, 4)), ACTION, ACTION, U > 0, 500, np.zeros((4, 4), np.float32), U, U > 0, U > 0)
GOOD |= {
    "env_step": (("cartpole", *BATCH), 10),
    "env_reset": (
        ("cartpole", [np.random.PCG64(0)] * 4, U < 1, np.zeros(4), np.ones(4), BATCH[0], ACTION, BATCH[5]),
        8,
    ),
}
SPREAD = np.zeros((4, 18)), ACTION, np.zeros((3, 4, 18), np.float32)  # state, steps, obs
GOOD |= {
    "spread_step": ((*SPREAD[:2], np.zeros((3, 4), np.int64), 25, 0.5, SPREAD[2], np.zeros((4, 3)), U > 0), 8),
    "spread_reset": (([np.random.PCG64(0)] * 4, U < 1, *SPREAD), 5),
}
IN_PLACE = ("adam", "cg_step", "env_step", "env_reset", "env_rollout", "spread_step", "spread_reset")
MISALIGNED = np.zeros(8 * 24 + 1, np.uint8)[1:]


def spoil(array):
    """Arrays that are wrong in one way each: to be refused, or to give the right answer."""
    yield "None", None
    yield "list", array.tolist()
    yield "object", array.astype(object)
    yield "complex", array.astype(complex)
    yield "text", array.astype(str)
    yield "date", array.astype("M8[s]") if array.dtype.kind != "b" else array.astype("m8[s]")
    yield "masked", np.ma.masked_array(array, mask=True)
    yield "subclass", array.view(np.recarray)
    yield "longer", np.concatenate([array, array[:1]])
    yield "shorter", array[:-1]
    yield "no dimension", array[(0,) * array.ndim].reshape(())
    yield "one dimension more", array[None]
    yield "half", array.astype(np.float16)


def test_every_kernel_is_in_the_list_of_good_calls():
    assert set(GOOD) == set(_core.KERNELS)


ANY_LENGTH = {
    ("mlp_forward", 1),
    ("mlp_infer", 1),
    ("standardize", 0),
    ("gaussian_entropy", 0),
    ("gaussian_dentropy", 0),
}
ANY_LENGTH |= {
    ("categorical_entropy", 0),
    ("categorical_dentropy", 0),
    ("global_norm", 0),
    ("all_finite", 0),
    ("narrow", 0),
}
WIDENED = {
    ("categorical_sample", 1),
    ("gaussian_sample", 1),
    ("standardize", 1),
    ("standardize", 2),
    ("gae", 0),
    ("gae", 1),
    ("gae", 2),
}
WIDENED |= {("policy_act", 2), ("policy_act", 3), ("policy_act", 4), ("policy_actor", 1), ("policy_actor", 2)}
WIDENED |= {("narrow", 0)} | {("policy_surrogate", i) for i in (1, 3, 4)}
WIDENED |= {("surrogate_loss", 2), ("surrogate_loss", 3), ("squared_loss", 0), ("squared_loss", 2)}
WIDENED |= {("discounted_returns", 0), ("discounted_returns", 1), ("running_return", 0), ("running_return", 2)}


@pytest.mark.parametrize("name", list(GOOD))
def test_wrong_arrays_are_refused(name):
    args, arrays = GOOD[name]
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    for i in range(arrays):
        for what, wrong in spoil(args[i]) if isinstance(args[i], np.ndarray) else []:
            accepted = (what in ("longer", "shorter") and (name, i) in ANY_LENGTH) or (
                what == "half" and (name, i) in WIDENED
            )
            # no noise, no moments
            accepted |= (name, i) in {("policy_act", 2), ("policy_act", 3), ("policy_actor", 1)} and what == "None"
            if accepted or (name == "all_finite" and "dimension" in what):
                continue
            with pytest.raises((TypeError, ValueError)):
                getattr(_core, name)(*args[:i], wrong, *args[i + 1 :])


@pytest.mark.parametrize("name", [name for name in GOOD if name not in IN_PLACE])
def test_inputs_may_be_read_only(name):
    args = [a.copy() if isinstance(a, np.ndarray) else a for a in GOOD[name][0]]
    for a in args:
        if isinstance(a, np.ndarray):
            a.flags.writeable = False
    getattr(_core, name)(*args)


@pytest.mark.parametrize("name", ["adam", "cg_step"])
def test_kernels_that_work_in_place_refuse_overlap_and_read_only(name):
    args, arrays = GOOD[name]
    with pytest.raises(ValueError, match="overlap"):
        getattr(_core, name)(*args)
    memory = np.zeros(20)
    for i in range(1, arrays):
        fresh = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        fresh[0], fresh[i] = memory[:4], memory[3:7]
        with pytest.raises(ValueError, match="overlap"):
            getattr(_core, name)(*fresh)
    for i in range(arrays):
        fresh = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
        fresh[i].flags.writeable = False
        if (name, i) in (("adam", 1), ("cg_step", 3)):
            getattr(_core, name)(*fresh)
            continue
        with pytest.raises(ValueError, match="read-only"):
            getattr(_core, name)(*fresh)
        with pytest.raises(ValueError, match="contiguous"):
            getattr(_core, name)(*fresh[:i], memory[:8:2], *fresh[i + 1 :])


def test_misaligned_and_byte_swapped_arrays_are_copied_or_refused():
    crooked = MISALIGNED[: 4 * 6 * 8].view(np.float64).reshape(4, 6)
    assert not crooked.flags.aligned
    crooked[...] = np.arange(24).reshape(4, 6)
    np.testing.assert_array_equal(_core.categorical_entropy(crooked), _core.categorical_entropy(crooked.copy()))
    rest = (PHI, PHI, PHI > 0, PHI > 0, 0.9, 0.9)
    np.testing.assert_array_equal(_core.gae(crooked.astype(">f8"), *rest), _core.gae(crooked.copy(), *rest))
    with pytest.raises(TypeError, match="phi must hold float32 or float64"):
        _core.categorical_entropy(crooked.astype(">f8"))
    with pytest.raises(ValueError, match="theta must be C-contiguous and aligned"):
        _core.mlp_infer(MISALIGNED[: 8 * 12].view(np.float64), np.zeros((1, 11)), (11, 1), "tanh")


def test_one_call_has_one_element_type():
    narrow = PHI.astype(np.float32)
    for call in (
        lambda: _core.categorical_kl(PHI, narrow),
        lambda: _core.gaussian_log_prob(narrow, X),
        lambda: _core.mlp_forward(THETA, X.astype(np.float32), NET, "tanh"),
        lambda: _core.mlp_vjp(THETA, ACTS, DY.astype(np.float32), NET, "tanh"),
        lambda: _core.adam(
            np.zeros(4), np.zeros(4, np.float32), np.zeros(4), np.zeros(4), 1, 1e-3, 0.9, 0.999, 1e-8, 1.0
        ),
        lambda: _core.cg_step(*np.zeros((4, 3), np.float32), 1.0, 1.0),
    ):
        with pytest.raises(TypeError, match="must hold float"):
            call()


@pytest.mark.parametrize(
    "sizes", [(), (3,), (3, 0, 2), (3, -5, 2), (3, 5, 3), (2**40, 2**40, 2), (2**62, 4), (1,) * 40]
)
def test_mlp_refuses_sizes_that_are_not_thetas(sizes):
    with pytest.raises(ValueError, match="sizes"):
        _core.mlp_infer(THETA, X, sizes, "tanh")


def test_mlp_refuses_unknown_activations_and_foreign_activation_lists():
    with pytest.raises(ValueError, match="activation"):
        _core.mlp_infer(THETA, X, NET, "gelu")
    for acts in (ACTS[:2], (X, DY, DY), (X, np.zeros((3, 5)), DY), (X, np.zeros((4, 10))[:, ::2], DY), (X, None, DY)):
        with pytest.raises((ValueError, TypeError), match="acts"):
            _core.mlp_vjp(THETA, acts, DY, NET, "tanh")


def test_optimisers_refuse_a_step_that_divides_by_zero():
    with pytest.raises(ValueError, match="t must count from 1"):
        _core.adam(*np.zeros((4, 3)), 0, 1e-3, 0.9, 0.999, 1e-8, 1.0)
    with pytest.raises(ZeroDivisionError):
        _core.cg_step(*np.zeros((4, 3)), 0.0, 1.0)


@pytest.mark.parametrize("bad", [-1, 4, 2**62, -(2**63)])
def test_categorical_refuses_actions_out_of_range(bad):
    action = np.array([0, bad, 1])
    for function in (_core.categorical_log_prob, _core.categorical_dlog_prob):
        with pytest.raises(ValueError, match=r"action must be in 0\.\.3"):
            function(np.zeros((3, 4)), action)

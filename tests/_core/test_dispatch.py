"""The kernels are their twins whatever loops NumPy and OpenBLAS choose: the parity tests, with fewer to choose from."""

import importlib
import os
import platform
from pathlib import Path

import numpy as np
import pytest
from processes import python

from minirl import _core

pytestmark = pytest.mark.skipif(not _core.COMPILED, reason="the compiled core is not built, or MINIRL_REFERENCE is set")
DISABLED = "NPY_DISABLE_CPU_FEATURES"
HERE = Path(__file__).parents[1]


def found():
    """NumPy's names for the instructions that it found here and can be told to leave alone, the narrowest first."""
    core = "numpy._core" if np.__version__ >= "2" else "numpy.core"
    umath = importlib.import_module(f"{core}._multiarray_umath")
    return [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]


def wide(names):
    """Those of 512 bits, which round pow, exp and log differently from the C library."""
    return [name for name in names if "512" in name or name == "X86_V4"]


@pytest.mark.parametrize("without", [wide, list], ids=["not 512 bits", "the least"])
def test_bug_30_kernels_equal_their_twins_whatever_numpy_dispatches_to(without, tmp_path):
    """`test_a_step_is_its_twins` failed for Pendulum where NumPy's loop for arrays squares unlike the C library."""
    names = without(found())
    if not names:
        pytest.skip("NumPy has no other loops to take here")
    code = f"""
import sys
sys.path[:0] = [{str(HERE)!r}, {str(HERE / "_core")!r}]
import pytest
import test_dispatch
assert not set({names!r}) & set(test_dispatch.found())
files = [{str(HERE / "envs" / "test_native.py")!r}, {str(HERE / "_core" / "test_kernels.py")!r}]
sys.exit(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-k", "twin and not remainder and not anywhere", *files]))
"""
    variables = {DISABLED: " ".join([os.environ.get(DISABLED, ""), *names])}
    if without is list and platform.machine() in ("x86_64", "AMD64"):
        variables["OPENBLAS_CORETYPE"] = "Prescott"
    done = python("-c", code, cwd=tmp_path, **variables)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout[-3000:] + done.stderr[-1000:]

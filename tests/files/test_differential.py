"""minirl's reader beside the safetensors library: it reads our files, and whatever we accept it accepts, equal in bits.

The same for longer: benches/fuzz_files.py --minutes N.
"""

import random

import numpy as np
import pytest

pytest.importorskip("safetensors")  # of the tests alone
import safetensors.numpy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of
from mutated import MUTATIONS, Everything, check, example, mutated, without_checksum

from minirl.errors import FileError
from minirl.files import safetensors as ours

QUIET = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
DTYPES = st.sampled_from(list(ours.DTYPES.values()))
ARRAYS = DTYPES.flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, min_side=0, max_side=4))
)
NAMES = st.text("abcXYZ019_.", min_size=1, max_size=8)
TEXTS = st.text(max_size=10).filter(str.isprintable)


@QUIET
@given(st.dictionaries(NAMES, ARRAYS, max_size=5), st.dictionaries(TEXTS, TEXTS, max_size=3))
def test_the_library_reads_our_files(tmp_path_factory, arrays, metadata):
    path = tmp_path_factory.getbasetemp() / "ours"
    metadata.pop("sha256", None)
    ours.write(path, arrays, metadata, any_value=Everything())
    theirs = safetensors.numpy.load_file(path)
    assert theirs.keys() == arrays.keys() and check(path.read_bytes(), path)
    for name, x in arrays.items():
        y = theirs[name]
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes())


@QUIET
@given(st.dictionaries(NAMES, ARRAYS, max_size=5))
def test_we_read_the_librarys_files(tmp_path_factory, arrays):
    path = tmp_path_factory.getbasetemp() / "theirs"
    safetensors.numpy.save_file(arrays, path)
    back, metadata = ours.read(path, any_value=Everything())
    assert metadata == {} and back.keys() == arrays.keys()
    for name, x in arrays.items():
        assert (x.dtype, x.shape, x.tobytes()) == (back[name].dtype, back[name].shape, back[name].tobytes())


@settings(QUIET, max_examples=1500)
@given(st.integers(0, 2**63))
def test_whatever_is_accepted_the_library_accepts_with_equal_arrays(tmp_path_factory, seed):
    """Bits flipped, headers cut, spliced and rebuilt; nine of ten without the checksum, which would tell at once."""
    check(mutated(seed), tmp_path_factory.getbasetemp() / "mutated")


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_the_mutations_make_files_of_both_kinds(mutation, tmp_path):
    """Else the test above would say nothing."""
    rng = random.Random(0)
    accepted = [check(mutation(without_checksum(example(rng)), rng), tmp_path / "a") for _ in range(300)]
    assert 10 < sum(accepted) < 290


@pytest.mark.parametrize("bit", range(64))
def test_m29_a_bit_of_the_headers_length(bit, tmp_path):
    data = bytearray(ours.encode({"x": np.ones(3)}, {}))
    data[bit // 8] ^= 1 << bit % 8
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(FileError):
        ours.read(tmp_path / "a")

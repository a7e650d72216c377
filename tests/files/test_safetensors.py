"""The tensor file: what is written is read back, files of other writers are read,
and anything hostile is one FileError.
"""

import json
import os
import time
import tracemalloc

import numpy as np
import pytest

from minirl.errors import FileError
from minirl.files import safetensors

EVERYTHING = {
    "theta": np.linspace(-1, 1, 7, dtype=np.float32),
    "layer.0": np.arange(6.0).reshape(2, 3),
    "count": np.array(12.5),
    "index": np.array([[-1, 2**62]], dtype=np.int64),
    "pixels": np.array([0, 255, 7], dtype=np.uint8),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([[True, False], [False, True]]),
    "small": np.array([-128, 127], np.int8),
    "half": np.array([1.5, -65504.0, 6e-8], np.float16),
    **{f"range.{t}": np.array([np.iinfo(t).min, np.iinfo(t).max, 1], t) for t in ("i2", "u2", "i4", "u4", "i8", "u8")},
}


def raw(header, data=b""):
    """A file put together by hand: header as object or bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(2,), offsets=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_what_is_written_is_read_back_bit_for_bit(tmp_path):
    safetensors.write(tmp_path / "a", EVERYTHING, {"made": "by hand"})
    back, metadata = safetensors.read(tmp_path / "a")
    assert back.keys() == EVERYTHING.keys() and metadata["made"] == "by hand"
    for name, x in EVERYTHING.items():
        assert back[name].dtype == x.dtype and back[name].shape == x.shape and back[name].tobytes() == x.tobytes()
        assert back[name].flags.aligned and back[name].flags.writeable
    assert os.listdir(tmp_path) == ["a"]  # no temporary file stays


def test_layout_is_aligned_sorted_and_the_same_each_time(tmp_path):
    data = safetensors.encode(EVERYTHING, {})
    assert data == safetensors.encode(dict(reversed(EVERYTHING.items())), {})
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    assert length % 8 == 0 and list(header) == sorted(header)
    for name, item in header.items():
        if name != "__metadata__":
            assert item["data_offsets"][0] % EVERYTHING[name].itemsize == 0


def test_views_and_foreign_byte_order_are_written_as_their_values(tmp_path):
    x = np.arange(12.0).reshape(3, 4).T[::2]
    safetensors.write(tmp_path / "a", {"x": x, "y": x.astype(">f8")}, {})
    back, _ = safetensors.read(tmp_path / "a")
    assert np.array_equal(back["x"], x) and np.array_equal(back["y"], x)


def test_a_file_put_together_by_hand_is_read(tmp_path):
    numbers = np.array([1.5, -2.0], "<f4").tobytes() + np.array([7], "<i8").tobytes()
    header = {"__metadata__": {"format": "pt"}, "b": entry("I64", (1, 1), (8, 16)), "a": entry()}
    (tmp_path / "a").write_bytes(raw(header, numbers))
    back, metadata = safetensors.read(tmp_path / "a")
    assert back["a"].tolist() == [1.5, -2.0] and back["b"].tolist() == [[7]] and metadata == {"format": "pt"}
    (tmp_path / "b").write_bytes(raw({}))
    assert safetensors.read(tmp_path / "b") == ({}, {})


def test_m26_nan_and_infinity_are_refused_unless_allowed_by_name(tmp_path):
    x = np.array([1.0, np.inf])
    with pytest.raises(FileError, match="x holds NaN or infinity"):
        safetensors.write(tmp_path / "a", {"x": x}, {})
    safetensors.write(tmp_path / "a", {"x": x}, {}, any_value=("x",))
    with pytest.raises(FileError, match="x holds NaN or infinity"):
        safetensors.read(tmp_path / "a")
    assert safetensors.read(tmp_path / "a", any_value=("x",))[0]["x"].tolist() == [1.0, np.inf]


EIGHT = b"\0" * 8
HOSTILE = {
    "M01 pickle": b"\x80\x04\x95\x0c\0\0\0\0\0\0\0\x8c\x08builtins\x94.",
    "M05 header of 2^40 bytes": (1 << 40).to_bytes(8, "little") + b"{}",
    "M06 header longer than the file": (3).to_bytes(8, "little") + b"{}",
    "header of more than 1 MiB": raw(b"{}" + b" " * (1 << 20)),
    "M07 shape 2^40": raw({"x": entry("F32", (1 << 40,), (0, 8))}, EIGHT),
    "M07 shape and offsets 2^40": raw({"x": entry("F32", (1 << 40,), (0, 1 << 42))}, EIGHT),
    "M08 shape overflows": raw({"x": entry("F32", (2, 1 << 63), (0, 8))}, EIGHT),
    "M09 shape wraps to 0": raw({"x": entry("F32", (1 << 32, 1 << 32), (0, 0))}),
    "shape 0 beside 2^62": raw({"x": entry("F64", (0, 1 << 62), (0, 0))}),
    "M10 negative dimension": raw({"x": entry("F32", (-2, -1), (0, 8))}, EIGHT),
    "M11 bool as dimension": raw(b'{"x":{"dtype":"F32","shape":[true,2],"data_offsets":[0,8]}}', EIGHT),
    "M11 float as dimension": raw({"x": entry("F32", (2.0,), (0, 8))}, EIGHT),
    "M11 string as dimension": raw({"x": entry("F32", ("2",), (0, 8))}, EIGHT),
    "M12 type V0": raw({"x": entry("V0", (10**12,), (0, 0))}),
    "type that is a list": raw(b'{"x":{"dtype":["F32"],"shape":[2],"data_offsets":[0,8]}}', EIGHT),
    "M13 65 dimensions": raw({"x": entry("F32", (1,) * 65, (0, 4))}, b"\0" * 4),
    "M14 overlap": raw({"x": entry(), "y": entry(offsets=(4, 12))}, b"\0" * 12),
    "M15 hole": raw({"x": entry(), "y": entry(offsets=(12, 20))}, b"\0" * 20),
    "M15 hole at the start": raw({"x": entry(offsets=(4, 12))}, b"\0" * 12),
    "M16 trailing bytes": raw({"x": entry()}, EIGHT + b"PK"),
    "data cut short": raw({"x": entry()}, EIGHT[:-1]),
    "offsets swapped": raw({"x": entry(offsets=(8, 0))}, EIGHT),
    "three offsets": raw({"x": entry(offsets=(0, 8, 8))}, EIGHT),
    "M17 name twice": raw(b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"x":{}}', EIGHT),
    "M17 key twice": raw(b'{"x":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}}', EIGHT),
    "M18 many names for the same bytes": raw({f"x{i}": entry() for i in range(1000)}, EIGHT),
    "M18 too many tensors": raw({f"x{i}": entry("U8", (0,), (0, 0)) for i in range(10_001)}),
    "M22 deep JSON": raw(b"[" * 100_000),
    "M22 closed deep JSON": raw(b'{"x":' * 100 + b"1" + b"}" * 100),
    "M23 number of 5000 digits": raw(b'{"x":' + b"1" * 5000 + b"}"),
    "M24 NaN": raw(b'{"x":NaN}'),
    "M24 infinity": raw(b'{"x":-Infinity}'),
    "M24 1e999": raw(b'{"x":1e999}'),
    "M25 lone surrogate": raw(b'{"__metadata__":{"a":"\\ud800"}}'),
    "M25 invalid UTF-8": raw(b'{"__metadata__":{"a":"\xff"}}'),
    "M25 byte order mark": raw(b"\xef\xbb\xbf{}"),
    "M25 UTF-16": raw('{"a":1}'.encode("utf-16")),
    "control characters": raw(b'{"__metadata__":{"a":"\\u001b[2J"}}'),
    "metadata of numbers": raw({"__metadata__": {"a": 1}}),
    "metadata of lists": raw({"__metadata__": []}),
    "header is a list": raw([]),
    "entry is a list": raw({"x": []}, EIGHT),
    "entry with more": raw({"x": entry() | {"code": "print()"}}, EIGHT),
    "entry with less": raw({"x": {"dtype": "F32"}}, EIGHT),
    "empty name": raw({"": entry()}, EIGHT),
    "name with a path": raw({"../x": entry()}, EIGHT),
    "name of 129": raw({"x" * 129: entry()}, EIGHT),
    "name with a newline": raw({"x\n": entry()}, EIGHT),
    "space before the header": raw(b" {}"),
    "line before the header": raw(b"\n{}"),
    "minus nothing": raw(b'{"x":{"dtype":"F32","shape":[2],"data_offsets":[-0,8]}}', EIGHT),
    "minus nothing as dimension": raw(b'{"x":{"dtype":"F32","shape":[-0],"data_offsets":[0,0]}}'),
    "BOOL of 2": raw({"x": entry("BOOL", (8,))}, EIGHT[1:] + b"\2"),
    "BOOL of 255": raw({"x": entry("BOOL", (8,))}, b"\xff" + EIGHT[1:]),
    "BF16": raw({"x": entry("BF16", (4,))}, EIGHT),
    "F8_E5M2": raw({"x": entry("F8_E5M2", (8,))}, EIGHT),
    "type in small letters": raw({"x": entry("f32")}, EIGHT),
    "M26 NaN in half precision": raw({"x": entry("F16", (4,))}, b"\0\x7e" * 4),
    "M26 NaN weights": raw({"x": entry()}, np.array([1, np.nan], "<f4").tobytes()),
    "M30 wrong sha256": raw({"__metadata__": {"sha256": "0" * 64}, "x": entry()}, EIGHT),
    "M37 empty file": b"",
    "text": b"theta = [1, 2, 3]\n",
}


MANY = 1 << 20
SLOW = {
    "brackets": raw(b"[" * MANY),
    "closed brackets": raw(b'{"x":' + b"[" * (MANY // 2 - 6) + b"]" * (MANY // 2 - 6) + b"}"),
    "empty lists": raw(b'{"x":[' + b"[]," * (MANY // 3 - 4) + b"[]]}"),
    "empty objects": raw(b'{"x":[' + b"{}," * (MANY // 3 - 4) + b"{}]}"),
    "zeros": raw(b'{"x":{"dtype":"U8","data_offsets":[0,0],"shape":[' + b"0," * (MANY // 2 - 40) + b"0]}}"),
    "a product of large numbers": raw(
        b'{"x":{"dtype":"U8","data_offsets":[0,0],"shape":[' + b"9" * 4000 + (b"," + b"9" * 4000) * 31 + b"]}}"
    ),
    "names": raw(b"{" + b",".join(b'"%d":0' % i for i in range(MANY // 10)) + b"}"),
    "one name": raw(b"{" + b",".join([b'"":0'] * (MANY // 5)) + b"}"),
    "tensors without bytes": raw({f"{i}": entry("U8", (0,), (0, 0)) for i in range(MANY // 70)}),
    "tensors that overlap": raw({f"{i}": entry("U8", (1,), (0, 1)) for i in range(9_999)}, b"\0"),
    "minus nothings": raw(b'{"x":[' + b"1," * (MANY // 2 - 8) + b"-0]}"),
    "strings that do not end": raw(b'{"' + b'\\"' * (MANY // 2 - 2)),
    "escapes outside of strings": raw(b"{" + b'\\"' * (MANY // 2 - 2)),
    "strings": raw(b'{"x":[' + b'"a",' * (MANY // 4 - 4) + b"0]}"),
    "numbers": raw(b'{"x":[' + b"12345," * (MANY // 6 - 4) + b"0]}"),
    "fractions": raw(b'{"x":[' + b"1.5," * (MANY // 4 - 4) + b"0]}"),
    "escapes": raw(b'{"' + b"\\ud800" * (MANY // 6 - 8) + b'":0}'),
    "metadata": raw({"__metadata__": {f"k{i}": "" for i in range(MANY // 14)} | {"sha256": "0"}}),
    "digits": raw(b'{"x":' + b"1" * (MANY - 6) + b"}"),
    "exponents": raw(b'{"x":[' + b"1e308," * (MANY // 6 - 4) + b"1e309]}"),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_files_are_one_error_that_names_the_file(data, tmp_path):
    (tmp_path / "hostile").write_bytes(data)
    with pytest.raises(FileError, match="hostile cannot be read: "):
        safetensors.read(tmp_path / "hostile")


def test_m28_a_file_cut_at_any_byte_is_refused(tmp_path):
    data = safetensors.encode({"theta": np.ones(3, np.float32)}, {"a": "b"})
    for end in range(len(data)):
        (tmp_path / "cut").write_bytes(data[:end])
        with pytest.raises(FileError):
            safetensors.read(tmp_path / "cut")


def test_m29_every_flipped_bit_is_found(tmp_path):
    """Also one in the word sha256 itself: the checksum is then missing, which `policyfile` refuses."""
    data = safetensors.encode({"theta": np.ones(3, np.float32)}, {"a": "b"})
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "flipped").write_bytes(flipped)
        try:
            _, metadata = safetensors.read(tmp_path / "flipped")
        except FileError:
            continue
        assert "sha256" not in metadata


def test_m37_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "missing", tmp_path, tmp_path / "pipe", "/dev/zero", "nul\0"):
        with pytest.raises(FileError):
            safetensors.read(path)


def sparse(path, size, tensors=1):
    """A file whose header is right for `size` bytes of data, none of which were ever written."""
    each = size // tensors
    header = {f"x{i}": entry("U8", (each,), (i * each, (i + 1) * each)) for i in range(tensors)}
    path.write_bytes(raw(header))
    os.truncate(path, path.stat().st_size + size)


def test_nothing_is_written_that_would_be_too_long_to_be_read(tmp_path, monkeypatch):
    safetensors.write(tmp_path / "a", {"x": np.ones(100)}, {})
    size = (tmp_path / "a").stat().st_size
    monkeypatch.setattr(safetensors, "MAX_FILE", size)
    safetensors.write(tmp_path / "b", *safetensors.read(tmp_path / "a"))
    monkeypatch.setattr(safetensors, "MAX_FILE", size - 1)
    with pytest.raises(FileError, match=f"c cannot be written: it would have {size} bytes, at most {size - 1} are"):
        safetensors.write(tmp_path / "c", {"x": np.ones(100)}, {})
    with pytest.raises(FileError, match=f"a cannot be read: it has {size} bytes, at most {size - 1} are read"):
        safetensors.read(tmp_path / "a")


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs a file system that leaves holes")
@pytest.mark.parametrize("size", [1 << 25, 1 << 30, 1 << 40])
def test_m07_a_sparse_file_is_refused_at_once(size, tmp_path):
    """32 MB, 1 GB and 1 TB that take 4 kB on the disk: none of it is read."""
    sparse(tmp_path / "sparse", size, tensors=2)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(FileError, match=r"at most \d+ are read" if size > 1 << 31 else r"of which \d+ are stored"):
        safetensors.read(tmp_path / "sparse")
    assert time.perf_counter() - began < 1 and tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_what_no_memory_is_left_for_is_the_same_error(tmp_path, monkeypatch):
    safetensors.write(tmp_path / "a", {"x": np.ones(2)}, {})

    def full(*_):
        raise MemoryError

    monkeypatch.setattr(safetensors, "_tensor", full)
    with pytest.raises(FileError, match=r"a cannot be read: there is no memory for its \d+ bytes"):
        safetensors.read(tmp_path / "a")


@pytest.mark.parametrize("count", [1, 10_000])
def test_reading_takes_twice_the_file_and_16_mib(count, tmp_path):
    """[S2] One large tensor, and as many small ones as there may be."""
    safetensors.write(tmp_path / "a", {f"x{i}": np.ones((32 << 20) // count // 4, "f4") for i in range(count)}, {})
    size = (tmp_path / "a").stat().st_size
    safetensors.read(tmp_path / "a")
    tracemalloc.start()
    back, _ = safetensors.read(tmp_path / "a")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * size + (16 << 20) and len(back) == count


@pytest.mark.parametrize("data", SLOW.values(), ids=SLOW.keys())
def test_hostile_files_of_1_mib_are_refused_within_a_second(data, tmp_path):
    """[S2] Headers as long as they may be, in which everything is to be looked at."""
    assert len(data) <= 9 + (1 << 20)
    (tmp_path / "hostile").write_bytes(data)
    began = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(FileError):
        safetensors.read(tmp_path / "hostile")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.perf_counter() - began < 5 and peak < 2 * len(data) + (16 << 20)  # ≤ 1 s where it is not traced


@pytest.mark.parametrize(
    ("name", "x", "metadata"),
    [
        ("x/y", np.ones(1), {}),
        ("x", np.ones(1, np.complex128), {}),
        ("x", np.array([object()]), {}),
        ("x", np.ones(1), {"a": 1}),
        *([("x", np.ones((1,) * 33), {})] if np.__version__ >= "2" else []),  # NumPy 1 stops at 32 dimensions itself
        ("x", np.ones(1), {"a": "b" * (1 << 20)}),
        ("x", np.ones(1), {f"{i}": "" for i in range(50_000)}),
    ],
)
def test_nothing_is_written_that_could_not_be_read(name, x, metadata, tmp_path):
    with pytest.raises(FileError, match="a cannot be written"):
        safetensors.write(tmp_path / "a", {name: x}, metadata)
    assert not list(tmp_path.iterdir())


def test_f_03_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    safetensors.write(tmp_path / "a", {"x": np.ones(2)}, {})

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="a cannot be written: No space left"):
        safetensors.write(tmp_path / "a", {"x": np.zeros(2)}, {})
    assert safetensors.read(tmp_path / "a")[0]["x"].tolist() == [1, 1] and os.listdir(tmp_path) == ["a"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="names of open files are read from Linux's /proc")
def test_f_02_the_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    order = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(
        os,
        "fsync",
        lambda fd: (order.append("directory" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"), fsync(fd)),
    )
    monkeypatch.setattr(os, "replace", lambda a, b: (order.append("rename"), replace(a, b)))
    safetensors.write(tmp_path / "a", {}, {})
    assert order == ["file", "rename", "directory"]

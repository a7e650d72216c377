"""Arrays in a file: the safetensors layout with NumPy alone, and a checksum.

    u64 length of the header, little-endian | header, JSON, padded with spaces to 8 bytes | data, without holes
    header: {"__metadata__": {"key": "text", ...},
             "name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...}

A file is trusted only after all of it has been checked; nothing is allocated whose size is not in the file.
Files of other writers are read too; the checksum (`sha256` in the metadata) is compared where there is one.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from minirl.errors import FileError, reason
from minirl.files.atomic import open_regular, write_atomically
from minirl.files.strict_json import parse_json

DTYPES: dict[str, np.dtype[Any]] = {  # what the layout has and NumPy too
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "F16": np.dtype("<f2"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I8": np.dtype("i1"),
    "U8": np.dtype("u1"),
    "BOOL": np.dtype("?"),  # a byte each, 0 or 1
}
MAX_FILE = 1 << 31  # bytes
SPARSE = 1 << 24  # bytes: of a longer file at least a 64th has to be stored, or its header promises what is not there
MAX_HEADER = 1 << 20
MAX_TENSORS = 10_000
MAX_DIMS = 32
TEXT_IN_JSON = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # one that does not end goes to the end of the file
NAME = re.compile(r"[A-Za-z0-9_.]{1,128}")


def write(
    path: Path | str,
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    any_value: Container[str] = (),
    sync: bool = True,
) -> None:
    """Write arrays and a map of strings, atomically; FileError for what `read` would refuse."""
    try:
        data = encode(tensors, metadata, any_value)
    except ValueError as why:
        raise FileError(f"{path} cannot be written: {why}") from why
    write_atomically(Path(path), data, sync)


def read(path: Path | str, any_value: Container[str] = ()) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata; only tensors named in `any_value` may hold NaN and infinity. FileError for a bad file."""
    path = Path(path)
    try:
        with open_regular(path) as file:
            size = _size(file)
            header, metadata, at = _read_header(file, size)
            data = file.read(size - at)
        if len(data) != size - at:
            raise ValueError("it was cut short while it was read")
        _verify(header, metadata, data)
        tensors = {name: _tensor(name, entry, data) for name, entry in header.items()}
        _check_finite(tensors, any_value)
    except (OSError, ValueError) as why:
        raise FileError(f"{path} cannot be read: {reason(why)}") from why
    except MemoryError as why:
        raise FileError(f"{path} cannot be read: there is no memory for its {size} bytes") from why
    return tensors, metadata


def _size(file: BinaryIO) -> int:
    """Bytes of the file; ValueError where they are too many, or hardly any of them were ever written."""
    about = os.fstat(file.fileno())
    if about.st_size > MAX_FILE:
        raise ValueError(f"it has {about.st_size} bytes, at most {MAX_FILE} are read")
    if os.name == "posix" and about.st_size > SPARSE and 0 < about.st_blocks * 512 < about.st_size // 64:
        raise ValueError(f"it has {about.st_size} bytes, of which {about.st_blocks * 512} are stored")
    return about.st_size


def encode(tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], any_value: Container[str] = ()) -> bytes:
    """The file as bytes. The widest items come first, then names in order, so that each array is aligned."""
    _check_finite(tensors, any_value)
    header: dict[str, Any] = {}
    chunks, at = [], 0
    for name in sorted(tensors, key=lambda name: (-tensors[name].itemsize, name)):
        x = tensors[name]
        code = next((c for c, dtype in DTYPES.items() if dtype == x.dtype.newbyteorder("<")), None)
        if code is None:
            raise ValueError(f"tensor {name} has type {x.dtype}, the file takes {', '.join(DTYPES)}")
        header[name] = {"dtype": code, "shape": list(x.shape), "data_offsets": [at, at + x.nbytes]}
        chunks.append(x.astype(DTYPES[code]).tobytes())
        at += x.nbytes
    data = b"".join(chunks)
    full = header | {"__metadata__": dict(metadata) | {"sha256": _digest(header, metadata, data)}}
    _check_header(full, at)
    text = _canonical(full)
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise ValueError(f"its header has {len(text)} bytes, at most {MAX_HEADER} are allowed")
    _check_count(text)
    if len(text) + at > MAX_FILE - 8:
        raise ValueError(f"it would have {8 + len(text) + at} bytes, at most {MAX_FILE} are read")
    return len(text).to_bytes(8, "little") + text + data


def _read_header(file: BinaryIO, size: int) -> tuple[dict[str, Any], dict[str, str], int]:
    """Entries by name, metadata, and where the data begin; checks everything that can be checked without the data."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(MAX_HEADER, size - 8):
        raise ValueError(
            f"its header would have {length} bytes, the file has {size} in all and a header at most {MAX_HEADER}"
        )
    text = file.read(length)
    if not text.startswith(b"{"):
        raise ValueError("its header does not begin with {")
    _check_count(text)
    header = parse_json(text.decode("utf-8"), _integer)
    _check_header(header, size - 8 - length)
    metadata = header.pop("__metadata__", {})
    return header, metadata, 8 + length


def _check_count(text: bytes) -> None:
    """Refuse, before it is parsed, a header with more objects, lists or keys than the tensors allowed can take."""
    quotes = text.count(b'"') - text.count(b'\\"')
    outside = TEXT_IN_JSON.sub(b"", text) if quotes <= 11 * MAX_TENSORS else b":" * quotes
    for mark, most in ((b"{", MAX_TENSORS + 2), (b"[", 2 * MAX_TENSORS), (b":", 5 * MAX_TENSORS)):
        if outside.count(mark) > most:
            raise ValueError(f"its header holds more than {MAX_TENSORS} tensors take, which are allowed")


def _integer(text: str) -> int:
    if text == "-0":
        raise ValueError("its JSON holds the integer -0")
    return int(text)


def _check_header(header: Any, data_size: int) -> None:
    """Names, types, shapes and metadata; the tensors fill the data from end to end, each byte once."""
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(
        isinstance(v, str) and (k + v).isprintable() for k, v in metadata.items()
    ):
        raise ValueError("its __metadata__ has to map names to printable text")
    entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
    if len(entries) > MAX_TENSORS:
        raise ValueError(f"it has {len(entries)} tensors, at most {MAX_TENSORS} are allowed")
    spans = sorted(_check_entry(name, entry) for name, entry in entries.items())
    end = 0
    for low, high in spans:
        if low != end:
            raise ValueError(f"its tensors overlap or leave a hole at byte {min(low, end)} of the data")
        end = high
    if end != data_size:
        raise ValueError(f"its tensors take {end} bytes, the file has {data_size} bytes of data")


def _check_entry(name: str, entry: Any) -> tuple[int, int]:
    """The bytes (from, to) of one tensor."""
    if not NAME.fullmatch(name):
        raise ValueError(f"tensor name {name[:40]!r}: takes letters, digits, '_' and '.', 1 to 128 of them")
    if (
        not isinstance(entry, dict)
        or set(entry) != {"dtype", "shape", "data_offsets"}
        or not isinstance(entry["dtype"], str)
    ):
        raise ValueError(f"tensor {name} needs dtype, shape and data_offsets, and nothing else")
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"tensor {name} has type {entry['dtype'][:20]!r}: takes {', '.join(DTYPES)}")
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or not _naturals(offsets) or len(shape) > MAX_DIMS or len(offsets) != 2:
        raise ValueError(f"tensor {name}: shape and data_offsets take integers from 0 to 2^63 − 1")
    itemsize = DTYPES[entry["dtype"]].itemsize
    if math.prod(max(d, 1) for d in shape) * itemsize >= 1 << 63:  # also with a dimension of 0: NumPy refuses it
        raise ValueError(f"tensor {name} has a shape too large")
    if math.prod(shape) * itemsize != offsets[1] - offsets[0]:
        raise ValueError(f"tensor {name}: its shape and type do not take the bytes that its data_offsets name")
    return offsets[0], offsets[1]


def _naturals(value: Any) -> bool:
    """A list of integers; True is none here."""
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 63 for v in value)


def _tensor(name: str, entry: Mapping[str, Any], data: bytes) -> np.ndarray:
    dtype, (low, high) = DTYPES[entry["dtype"]], entry["data_offsets"]
    if dtype.kind == "b" and (np.frombuffer(data, np.uint8, high - low, low) > 1).any():
        raise ValueError(f"tensor {name} holds bytes that are neither false nor true")
    flat = np.frombuffer(data, dtype, count=(high - low) // dtype.itemsize, offset=low)
    return flat.astype(dtype.newbyteorder("="), copy=True).reshape(entry["shape"])


def _check_finite(tensors: Mapping[str, np.ndarray], any_value: Container[str]) -> None:
    for name, x in tensors.items():
        if name not in any_value and x.dtype.kind == "f" and not np.isfinite(x).all():
            raise ValueError(f"tensor {name} holds NaN or infinity")


def _canonical(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode()


def _digest(header: Mapping[str, Any], metadata: Mapping[str, str], data: bytes) -> str:
    """SHA-256 over the header without the checksum itself, in its canonical form, and the data."""
    rest = {key: value for key, value in metadata.items() if key != "sha256"}
    digest = hashlib.sha256(_canonical(dict(header) | {"__metadata__": rest}))
    digest.update(data)
    return digest.hexdigest()


def _verify(header: Mapping[str, Any], metadata: Mapping[str, str], data: bytes) -> None:
    if "sha256" in metadata and metadata["sha256"] != _digest(header, metadata, data):
        raise ValueError("its checksum does not match: the file was damaged or changed")

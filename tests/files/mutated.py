"""Safetensors files, what chance makes of them, and what the safetensors library says; for benches/fuzz_files.py too.

The one law: whatever minirl accepts, the library accepts too, with equal arrays.
"""

import json
import random
import re
from pathlib import Path

import numpy as np
import safetensors.numpy

from minirl.errors import FileError
from minirl.files import safetensors as ours

WORDS = ["x", "y", "a.0", "__metadata__", "dtype", "shape", "data_offsets", "", "F32", "BF16", "minirl", "\x00", "../x"]
NUMBERS = [-1, 0, 1, 2, 3, 4, 8, 16, 255, 1 << 31, 1 << 32, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64]
OTHERS = [None, True, False, [], {}, 0.0, 1.5, 1e300, -0.0, "1", *WORDS, *NUMBERS]
RAW = [
    b" ",
    b"\n",
    b"\t",
    b",",
    b'"',
    b"{",
    b"}",
    b"[",
    b"]",
    b"-0",
    b"0",
    b"00",
    b"1e1",
    b"NaN",
    b"\\u0000",
    b"\xff",
    b"\0",
]


def parts(data: bytes) -> tuple[bytes, bytes]:
    """Header and data of a file, as far as it has them."""
    length = int.from_bytes(data[:8], "little")
    return data[8 : 8 + length], data[8 + length :]


def joined(header: bytes, data: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def without_checksum(data: bytes) -> bytes:
    """The same file where nothing but the layout itself tells that it was changed."""
    header, rest = parts(data)
    tree = json.loads(header)
    tree.get("__metadata__", {}).pop("sha256", None)
    return joined(json.dumps(tree, separators=(",", ":")).encode(), rest)


def flipped(data: bytes, rng: random.Random) -> bytes:
    """One to three bits the other way round."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        bit = rng.randrange(8 * len(changed))
        changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def spliced(data: bytes, rng: random.Random) -> bytes:
    """A few bytes of the header put in, taken away or put twice, its length kept right."""
    header, rest = parts(data)
    for _ in range(rng.randint(1, 3)):
        i, j = sorted(rng.randrange(len(header) + 1) for _ in range(2))
        piece = rng.choice([*RAW, header[i:j], b""])
        header = header[:i] + piece + header[i + rng.choice([0, 0, 1, j - i]) :]
    return joined(header, rest)


def rebuilt(data: bytes, rng: random.Random) -> bytes:
    """The header as an object with one to three of its parts changed, then written in another way."""
    header, rest = parts(data)
    tree = json.loads(header)
    for _ in range(rng.randint(1, 3)):
        _change(tree, rng)
    separators = rng.choice([(",", ":"), (", ", ": "), (" ,\n", " :\t")])
    text = json.dumps(tree, separators=separators, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    rest = rng.choice([rest, rest, rest, rest[:-1], rest + b"\0", b""])
    return joined(text + rng.choice([b"", b" " * 7, b"\n", b"\0"]), rest)


def _change(tree: dict, rng: random.Random) -> None:
    """One part, anywhere, replaced, removed, or put under another name."""
    holders = [(tree, key) for key in tree]
    for value in list(tree.values()):
        if isinstance(value, dict):
            holders += [(value, key) for key in value]
            for lists in value.values():
                holders += [(lists, i) for i in range(len(lists))] if isinstance(lists, list) else []
    if not holders:
        tree["x"] = rng.choice(OTHERS)
        return
    holder, key = rng.choice(holders)
    action = rng.random()
    if action < 0.5:
        holder[key] = rng.choice([*OTHERS, *ours.DTYPES] if isinstance(holder, dict) else [*NUMBERS, *OTHERS])
    elif action < 0.7:
        del holder[key]
    elif isinstance(holder, dict):
        holder[rng.choice(WORDS)] = holder[key]
    else:
        holder.insert(key, rng.choice(NUMBERS))


def respelled(data: bytes, rng: random.Random) -> bytes:
    """One word of the header in another spelling, as JSON or as what looks like it."""
    header, rest = parts(data)
    words = [match.span() for match in re.finditer(rb'"[^"]*"|\d+|[{}\[\],:]', header)]
    low, high = rng.choice(words)
    word = header[low:high]
    others = [
        b"-%b",
        b"+%b",
        b"0%b",
        b"%b.0",
        b"%be0",
        b"%b0",
        b"\t%b ",
        b"[%b]",
        b"%b,",
        b",%b",
        b"\xc2\xa0%b",
        b"/**/%b",
    ]
    if word[:1] == b'"':
        others += [b"'%b'" % word[1:-1], b'"\\u%04x%b' % (word[1], word[2:]), word.lower(), b"%b:0", b"null", b"\\%b"]
    other = rng.choice(others)
    return joined(header[:low] + (other % word if b"%b" in other else other) + header[high:], rest)


MUTATIONS = (flipped, spliced, rebuilt, respelled)


def check(data: bytes, path: Path) -> bool:
    """Whether minirl reads the file; AssertionError where the library then does not, or reads something else.

    Anything but a FileError comes through.
    """
    path.write_bytes(data)
    try:
        arrays, metadata = ours.read(path, any_value=Everything())
    except FileError:
        return False
    theirs = safetensors.numpy.load(data)
    assert theirs.keys() == arrays.keys(), (theirs.keys(), arrays.keys())
    for name, x in arrays.items():
        y = theirs[name]
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name
    with safetensors.safe_open(path, "np") as file:
        assert (file.metadata() or {}) == metadata
    return True


class Everything:
    """Any tensor may hold NaN: what the layout allows is compared, not what a policy may hold."""

    def __contains__(self, _name: object) -> bool:
        return True


def example(rng: random.Random) -> bytes:
    """A valid file: up to four arrays of any type and up to three dimensions, with metadata or without."""
    arrays = {}
    for i in range(rng.randrange(5)):
        dtype = rng.choice(list(ours.DTYPES.values()))
        shape = tuple(rng.choice([0, 1, 1, 2, 3, 5]) for _ in range(rng.randrange(4)))
        bits = np.frombuffer(rng.randbytes(int(np.prod(shape)) * dtype.itemsize), np.uint8)
        arrays[rng.choice(["x", "y.", "z_"]) + str(i)] = (
            (bits & 1 if dtype.kind == "b" else bits).view(dtype).reshape(shape)
        )
    return ours.encode(arrays, rng.choice([{}, {"a": "b"}, {"minirl": '{"α": [1, "\\""]}'}]), any_value=Everything())


def mutated(seed: int) -> bytes:
    """A file, and what chance makes of it; the same for the same seed."""
    rng = random.Random(seed)
    data = example(rng)
    if rng.random() < 0.9:
        data = without_checksum(data)
    for _ in range(rng.randrange(3)):
        try:
            data = rng.choice(MUTATIONS)(data, rng)
        except (ValueError, TypeError, RecursionError):  # what was made before cannot be parsed any more
            break
    return data

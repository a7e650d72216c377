"""A tree of dicts, lists, arrays and JSON scalars in one file: its arrays as tensors, the rest as JSON beside them.

What a learner's snapshot() gives has this form. The file is that of safetensors.py, with its checksum; the JSON is the
tensor TEXT, of bytes: a header has little room. What stands in it for an array is {"tensor": name}, for a number that
JSON has no word for {"number": "nan"}.
"""

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from minirl.errors import FileError
from minirl.files import safetensors
from minirl.files.strict_json import parse_json

FORMAT = 1
TENSOR, NUMBER = "tensor", "number"  # the keys of what stands for an array, and for NaN or infinity
TEXT = "json"  # the tensor that holds the JSON
MAX_TEXT = 1 << 22  # bytes of it
LONGEST = 110  # letters of a tensor's name, before it gets a number
WRONG = (KeyError, TypeError, AttributeError, ValueError)


def write(path: Path | str, kind: str, tree: Mapping[str, Any]) -> None:
    """Write a tree atomically; `kind` says of what. Tuples come back as lists. FileError for what no file can hold."""
    tensors: dict[str, np.ndarray] = {}
    try:
        plain = _plain(tree, "", tensors)
        text = json.dumps({"format": FORMAT, "kind": kind, "tree": plain}, separators=(",", ":"), allow_nan=False)
        parse_json(text)  # what could not be read is not written
        if len(text) > MAX_TEXT:
            raise ValueError(f"its text has {len(text)} bytes, at most {MAX_TEXT} are allowed")
        tensors[TEXT] = np.frombuffer(text.encode(), np.uint8)
    except (TypeError, ValueError) as why:
        raise FileError(f"{path} cannot be written: {why}") from why
    safetensors.write(path, tensors, {"minirl_tree": kind})


def read(path: Path | str, kind: str) -> dict[str, Any]:
    """The tree that was written there as this kind; FileError for a file that is damaged, or is something else."""
    tensors, metadata = safetensors.read(path)
    try:
        if "minirl_tree" not in metadata or "sha256" not in metadata:
            raise ValueError("its metadata have no minirl_tree with a checksum")
        text = tensors.pop(TEXT)
        if text.dtype != np.uint8 or text.ndim != 1 or len(text) > MAX_TEXT:
            raise ValueError(f"its text has to be at most {MAX_TEXT} bytes")
        said = parse_json(text.tobytes().decode("utf-8"))
        if type(said["format"]) is not int or not 1 <= said["format"] <= FORMAT:
            raise ValueError(f"it has file format {said['format']!r}, this minirl reads 1 to {FORMAT}")
        if said["kind"] != kind:
            raise ValueError(f"it holds a {said['kind']!r}")
        tree = _tree(said["tree"], tensors)
        if tensors or not isinstance(tree, dict):
            raise ValueError("its tree is no object that names each of its tensors once")
    except WRONG as why:
        said = f"it lacks {why}" if isinstance(why, KeyError) else why
        raise FileError(f"{path} holds no {kind} of minirl: {said}") from why
    return tree


def check_like(tree: Any, mine: Any, name: str) -> None:
    """ValueError, with its name, for what has not the keys, shapes and types of `mine`; numbers may be others."""
    if isinstance(mine, dict):
        if not isinstance(tree, dict) or tree.keys() != mine.keys():
            raise ValueError(f"{name} has to hold {', '.join(mine)}")
        for key, each in mine.items():
            check_like(tree[key], each, f"{name}.{key}")
    elif isinstance(mine, np.ndarray):
        if not isinstance(tree, np.ndarray) or tree.shape != mine.shape or tree.dtype != mine.dtype:
            raise ValueError(f"{name} has to be an array {mine.dtype} {mine.shape}")
    elif isinstance(tree, bool) or not isinstance(tree, int if isinstance(mine, int) else int | float):
        raise ValueError(f"{name} has to be a number, it is {tree!r}")


def _plain(value: Any, name: str, tensors: dict[str, np.ndarray]) -> Any:
    """A tree with names in place of its arrays, which go into `tensors`."""
    if isinstance(value, np.ndarray):
        tensors[name := _free(name, tensors)] = value
        return {TENSOR: name}
    if isinstance(value, np.bool_ | np.integer | np.float64):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {NUMBER: str(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value) or set(value) in ({TENSOR}, {NUMBER}):
            raise TypeError(f"{name or 'the tree'} is a dict with keys that a file cannot hold")
        return {key: _plain(each, f"{name}.{key}" if name else key, tensors) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, f"{name}.{i}", tensors) for i, each in enumerate(value)]
    raise TypeError(f"{name} is a {type(value).__name__}: a tree holds dicts, lists, arrays, numbers, text and None")


def _free(name: str, tensors: Mapping[str, np.ndarray]) -> str:
    """A name of letters that the file takes, and that no other tensor has."""
    name = re.sub(r"[^A-Za-z0-9_.]", "_", name)[:LONGEST]
    return name if name not in tensors and name != TEXT else f"{name}.{len(tensors)}"


def _tree(value: Any, tensors: dict[str, np.ndarray]) -> Any:
    """The tree again; each tensor is taken out once."""
    if isinstance(value, list):
        return [_tree(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {TENSOR}:
        return tensors.pop(value[TENSOR])
    if set(value) == {NUMBER}:
        if value[NUMBER] not in ("nan", "inf", "-inf"):
            raise ValueError(f"{value[NUMBER]!r} is none of the numbers nan, inf and -inf")
        return float(value[NUMBER])
    return {key: _tree(each, tensors) for key, each in value.items()}

"""What the words of a command line mean as values."""

import ast
import contextlib
import decimal
import json
import re
from typing import Any

PAIR = re.compile(r"([A-Za-z_]\w*)\s*[=:]\s*(.*)", re.S)
NEXT = re.compile(r"\s+(?=[A-Za-z_]\w*[=:])|\s*,\s*(?=[A-Za-z_]\w*=)")  # between two pairs in one word


def integer(word: str) -> int:
    """The whole number in a word: 1000, 1_000, 1e3 or 1.5e3; ValueError for others, and for exponents beyond 18."""
    with contextlib.suppress(ValueError):
        return int(word)
    try:
        number = decimal.Decimal(word)
    except decimal.InvalidOperation:
        number = decimal.Decimal("nan")
    if not number.is_finite() or number.adjusted() > 18 or number != number.to_integral_value():
        raise ValueError(f"{word!r} is no whole number")
    return int(number)


def pairs(words: list[str]) -> dict[str, Any]:
    """Arguments by name from words: name=value or name:value, several in a word too, or a JSON object; ValueError."""
    found: dict[str, Any] = {}
    for word in map(str.strip, words):
        value = literal(word)
        if isinstance(value, dict) and all(isinstance(key, str) for key in value):
            found |= value
            continue
        for part in [word] if _is_one(word) else NEXT.split(word):
            pair = PAIR.fullmatch(part)
            if pair is None:
                raise ValueError(f"{part!r} is not NAME=VALUE, for example is_slippery=False")
            found[pair[1]] = literal(pair[2])
    return found


def _is_one(word: str) -> bool:
    """Whether all that follows the first name is one value as JSON or Python writes it."""
    pair = PAIR.fullmatch(word)
    text = pair[2] if pair else word
    return literal(text) is not text


def literal(text: str) -> Any:
    """A value as JSON or Python writes it (false, False, 3, 1e-3, [1, 2], "a"), else the text itself."""
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError, RecursionError, MemoryError):
            return read(text)
    return text

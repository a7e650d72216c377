"""Which entries of the index words mean: titles and synonyms first, then formulas, then remarks.

Capitals, accents, plurals, hyphens, British or American spelling and the order of the words do not matter; λ is lambda.
"""

import difflib
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cache
from operator import mul
from typing import NamedTuple

GREEK = {
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "η": "eta", "θ": "theta", "λ": "lambda"},
    **{"μ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "phi", "χ": "chi"},
}
FILLERS = {
    *re.findall(r"\w+", "the of a an in for and to is are what how why does do with by vs as or its it that between"),
    *("formula", "equation", "equations", "definition"),
}
# What the words count for that are a name of the entry, one in another order, part of one, of several together.
WHOLE, REORDERED, INSIDE, SPREAD = 100.0, 95.0, 60.0, 45.0
NAMED, IN_FORMULA, IN_REMARK = 1.0, 0.4, 0.2  # and a word by where it stands


class Words(NamedTuple):
    """What an entry is found by."""

    names: tuple[str, ...]  # tag, title, synonyms
    formula: str
    remark: str


class Unknown(LookupError):
    """No entry has this word; `near` are words that are spelled like it."""

    def __init__(self, word: str, near: list[str]):
        super().__init__(word)
        self.word, self.near = word, near


def search(entries: Mapping[str, Words], query: str) -> list[str]:
    """Keys of the entries with all the words, the likeliest first; where none has all, of those with most of them.

    Where one has exactly that name, those that merely mention the words are left out. Unknown: a word that none has.
    """
    asked, literal = _stems(query), _literal(entries, query)
    score = {key: max(literal.get(key, 0), _by_name(query, entry.names)) for key, entry in entries.items()}
    if max(score.values(), default=0) < INSIDE:
        for word in asked:
            if not any(_place(word, entry) for entry in entries.values()):
                raise Unknown(typed := _as_typed(word, query), _near(typed, entries.values()))
    if not asked:
        return sorted(literal, key=lambda key: -literal[key])
    places = {key: [_place(word, entry) for word in asked] for key, entry in entries.items()}
    rarity = [1 / math.log(2 + sum(places[key][i] > 0 for key in entries)) for i in range(len(asked))]
    share = {key: sum(map(mul, rarity, own)) / sum(rarity) for key, own in places.items()}
    found = [key for key, own in places.items() if all(own) or score[key]]
    found = found or [key for key in entries if share[key] >= 0.5] or [key for key in entries if share[key] >= 0.25]
    score = {key: max(SPREAD * share[key], score[key]) for key in found}
    best = max(score.values(), default=0)
    return sorted((key for key in found if best < INSIDE or score[key] >= best / 4), key=lambda key: -score[key])


def _literal(entries: Mapping[str, Words], query: str) -> dict[str, float]:
    """Entries with a piece of a formula as it was typed, F⁻¹g or r = 1.25: here the signs count, not only the words."""
    piece = _squeezed(query)
    if not piece or (query.isascii() and re.fullmatch(r"[\w\s'-]*", query)):
        return {}
    formulas = [key for key, entry in entries.items() if piece in _squeezed(entry.formula)]
    texts = [key for key, entry in entries.items() if piece in _squeezed(" ".join(_all(entry)))]
    return dict.fromkeys(texts, INSIDE) | dict.fromkeys(formulas, INSIDE + 10)


def _all(entry: Words) -> tuple[str, ...]:
    return (*entry.names, entry.formula, entry.remark)


def _by_name(query: str, names: Iterable[str]) -> float:
    """How well the words are one of the names; 0 when they are not part of any."""
    return max(_like(query, name) for name in names)


def _like(query: str, title: str) -> float:
    asked, name = _stems(query), _stems(title)
    if asked == name or _joined(query) == _joined(title):
        return WHOLE
    if sorted(asked) == sorted(name):
        return REORDERED
    return INSIDE + 30 * len(asked) / len(name) if set(asked) <= set(name) else 0


def _place(word: str, entry: Words) -> float:
    """What the best place of a word in an entry counts; the beginning of a longer word counts for a little less."""
    for text, weight in ((" ".join(entry.names), NAMED), (entry.formula, IN_FORMULA), (entry.remark, IN_REMARK)):
        if word in _stems(text):
            return weight
        if len(word) > 2 and any(other.startswith(word) for other in _stems(text)):
            return 0.8 * weight
    return 0.0


def _near(word: str, entries: Iterable[Words]) -> list[str]:
    known = {each for entry in entries for name in entry.names for each in _words(name) if len(each) > 2}
    return difflib.get_close_matches(_plain(word), sorted(known), n=3, cutoff=0.7)


def _as_typed(stem: str, query: str) -> str:
    return next((word for word in query.split() if stem in _stems(word)), stem)


# --------------------------------------------------------------------------------------------------------------- words


@cache
def _plain(text: str) -> str:
    """Small letters without accents, Greek ones by their names, indices and powers as plain digits."""
    text = unicodedata.normalize("NFKD", text.casefold())
    return "".join(f" {GREEK[each]} " if each in GREEK else each for each in text if not unicodedata.combining(each))


def _squeezed(text: str) -> str:
    return "".join(_plain(text).split())


@cache
def _words(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"[a-z0-9]+", _plain(text).replace("'", "")))


@cache
def _joined(text: str) -> str:
    """linesearch for a line search, popart for pop-art."""
    return _stem("".join(_words(text)))


@cache
def _stems(text: str) -> tuple[str, ...]:
    """The words that carry meaning, without their endings; all of them where none does."""
    words = _words(text)
    return tuple(map(_stem, [word for word in words if word not in FILLERS] or words))


@cache
def _stem(word: str) -> str:
    """A word without its plural, -ing, -ed or -e, with z and o for British s and ou: for comparison alone."""
    word = re.sub(r"ices$", "ix", word) if word.endswith("trices") else word
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = re.sub("ie$", "y", word[:-1])
    word = re.sub(r"(?<=[a-z]{3})is(?=e$|ed$|er$|ing$|ation$)", "iz", word)
    word = re.sub(r"(?<=[a-z]{3})our(?=$|al$)", "or", word)
    short = re.sub(r"(?<=[a-z0-9]{3})(ing|ed|e)$", "", word)
    return short[:-1] if short != word and re.search(r"([bdgmnprt])\1$", short) else short

"""The index of equations: what each tag means, the lines that compute it, its tests, the error that was measured.

`equations.toml` is written by hand; code sites are found in the package on demand. Tests and measured errors are no
part of an installation, so page.py copies them into `proven.toml`.
"""

import difflib
import re
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minirl.equations.scan import Site, code_sites
from minirl.equations.search import Unknown, Words, search
from minirl.errors import UserError

HERE = Path(__file__).parent
PACKAGE = HERE.parent
PROVEN = HERE / "proven.toml"
DOCUMENTS = {
    "CMP": "TRPO vs PPO: Math-Level Comparison",
    "EVO": "RL evolution - TRPO and PPO",
    "GUIDE": "Understanding TRPO: An Intuitive Guide",
    "NOTES": "ESE 6510 Notes: TRPO, PPO",
    "FROM": "From TRPO to PPO",
}


@dataclass(frozen=True)
class Equation:
    """One entry of the index."""

    tag: str
    title: str
    formula: str
    documents: tuple[str, ...]
    synonyms: tuple[str, ...] = ()
    remark: str = ""
    deviations: tuple[str, ...] = ()
    planned: bool = False
    sites: list[Site] = field(default_factory=list)
    proof: dict[str, Any] = field(default_factory=dict)  # tests; quantity, error, tolerance where one was measured

    @property
    def lines(self) -> list[Site]:
        """The lines that compute it."""
        return [site for site in self.sites if site.computes]


def load(proofs: dict[str, dict[str, Any]] | None = None) -> dict[str, Equation]:
    """Tag -> entry with its code sites and proofs, in reading order; `proofs` are those of the package when None."""
    sites = code_sites(PACKAGE)
    if proofs is None:
        proofs = tomllib.loads(PROVEN.read_text("utf-8")) if PROVEN.exists() else {}
    written = tomllib.loads((HERE / "equations.toml").read_text("utf-8"))
    return {
        tag: Equation(tag, **_frozen(row), sites=sites.get(tag, []), proof=proofs.get(tag, {}))
        for tag, row in written.items()
    }


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


# ------------------------------------------------------------------------------------------------------------ searching


def find(index: dict[str, Equation], words: Sequence[str]) -> list[Equation]:
    """The entries with these tags, or those that the words mean, the likeliest first. UserError names what is near."""
    asked = [_as_tag(word) for word in " ".join(words).split()]
    tags = [tag for tag in asked if tag is not None]
    if tags and len(tags) == len(asked):
        for tag in tags:
            if tag not in index:
                raise UserError(f"equation {tag}: there is none; near it: {', '.join(_near(tag, list(index)))}")
        return [index[tag] for tag in tags]
    query = " ".join(words)
    try:
        found = search({tag: _words(entry) for tag, entry in index.items()}, query)
    except Unknown as why:
        near = f"; near it: {', '.join(why.near)}" if why.near else ""
        raise UserError(f"no equation contains {why.word!r}{near}") from None
    if not found:
        raise UserError(f"no equation contains {query!r}")
    return [index[tag] for tag in found]


def _as_tag(word: str) -> str | None:
    """A word in the form of a tag, tr-09 as well as [TR-9]."""
    form = re.fullmatch(r"\[?([A-Za-z]+)-(\d+)\]?", word)
    return f"{form[1].upper()}-{int(form[2])}" if form else None


def _near(tag: str, tags: list[str]) -> list[str]:
    family, number = tag.split("-")
    same = [other for other in tags if other.startswith(f"{family}-")]
    same.sort(key=lambda other: abs(int(other.split("-")[1]) - int(number)))
    return same[:3] or difflib.get_close_matches(tag, tags, n=3, cutoff=0) or tags[:3]


def _words(entry: Equation) -> Words:
    remark = " ".join((*entry.documents, entry.remark, *entry.deviations))
    return Words((entry.tag, entry.title, *entry.synonyms), entry.formula, remark)


# ------------------------------------------------------------------------------------------------------------- terminal


def main_lines(words: Sequence[str] = (), width: int = 100) -> Iterator[str]:
    """What `minirl equations [TAG|words]` prints: one entry in full, or a line for each of several."""
    index = load()
    found = find(index, words) if words else list(index.values())
    if len(found) == 1 or (words and all(map(_as_tag, " ".join(words).split()))):
        for number, entry in enumerate(found):
            yield from ([""] if number else [])
            yield from entry_lines(entry, width)
        return
    for entry in found:
        yield from _wrapped(f"{entry.tag:7}", f"{entry.title}: {entry.formula}", width)
    yield ""
    yield f"{len(found)} equations; `minirl equations TAG` shows where one is computed and what proves it"


def entry_lines(entry: Equation, width: int = 100) -> Iterator[str]:
    """One entry: formula, documents, lines of code, tests, measured error, remark, deviations."""
    yield f"[{entry.tag}] {entry.title}"
    yield ""
    yield from _wrapped("    ", entry.formula, width)
    yield ""
    yield from _wrapped("  in         ", "; ".join(f"{key} ({DOCUMENTS[key]})" for key in entry.documents), width)
    label = "code"
    for site in entry.lines or entry.sites:
        yield f"  {label:10} {site.path}:{site.line}" + (f"  {site.function}" if site.function else "")
        yield from _wrapped(" " * 17, site.text, width)
        label = ""
    if not entry.sites:
        yield "  code       " + ("not in the library yet" if entry.planned else "none")
    label = "tests"
    for test in entry.proof.get("tests", []):
        yield f"  {label:10} {test}"
        label = ""
    if "error" in entry.proof:
        yield from _wrapped("  error      ", error_text(entry), width)
    if entry.remark:
        yield from _wrapped("  remark     ", entry.remark, width)
    for number, deviation in enumerate(entry.deviations):
        yield from _wrapped("             " if number else "  elsewhere  ", deviation, width)


def error_text(entry: Equation) -> str:
    """The measured error of an entry, its unit and what it may be."""
    proof = entry.proof
    return f"{proof['error']:.1e} (at most {proof['tolerance']:.0e}): {proof['quantity']}"


def _wrapped(label: str, text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, max(width, 40), initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False
    )

"""The index of equations: what each tag means, the lines that compute it, the tests that prove it, the error that was measured.

`equations.toml` is written by hand. Code sites are found in the package whenever they are asked for. Tests and measured errors are
not part of an installation, so they are copied into `equations_proven.toml` by `python -m minirl.equations`, which also writes the page
docs/equations.md; a test says when either is out of date.
"""

import difflib
import json
import re
import textwrap
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minirl.errors import UserError
from minirl.tagscan import FAMILIES, Site, code_sites, test_names

PACKAGE = Path(__file__).parent
PROVEN = PACKAGE / "equations_proven.toml"
MEASURED = "benches/results/equations.json"  # written by benches/measure_equations.py
PAGE = "docs/equations.md"
HEADINGS = dict(
    zip(
        FAMILIES,
        (
            "The policy gradient",
            "Importance sampling",
            "Divergences",
            "Surrogate and bound",
            "Trust regions",
            "Proximal policy optimisation",
            "Generalised advantage estimation",
            "Extensions",
            "Worked numbers",
            "Figures",
        ),
        strict=True,
    )
)
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
    remark: str = ""
    deviations: tuple[str, ...] = ()
    planned: bool = False
    sites: list[Site] = field(default_factory=list)
    proof: dict[str, Any] = field(default_factory=dict)  # tests, and quantity, error, tolerance where a number was measured

    @property
    def lines(self) -> list[Site]:
        """The lines that compute it."""
        return [site for site in self.sites if site.computes]


def load(proofs: dict[str, dict[str, Any]] | None = None) -> dict[str, Equation]:
    """Tag -> entry with its code sites and proofs, in reading order; `proofs` are those of the package when None."""
    sites = code_sites(PACKAGE)
    if proofs is None:
        proofs = tomllib.loads(PROVEN.read_text("utf-8")) if PROVEN.exists() else {}
    written = tomllib.loads((PACKAGE / "equations.toml").read_text("utf-8"))
    return {tag: Equation(tag, **_frozen(row), sites=sites.get(tag, []), proof=proofs.get(tag, {})) for tag, row in written.items()}


def _frozen(row: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}


# ---------------------------------------------------------------------------------------------------------------- searching


def find(index: dict[str, Equation], words: Sequence[str]) -> list[Equation]:
    """The entries with these tags, or the one or more that contain all the words. UserError names what is near."""
    asked = [_as_tag(word) for word in words]
    tags = [tag for tag in asked if tag is not None]
    if tags and len(tags) == len(words):
        for tag in tags:
            if tag not in index:
                raise UserError(f"equation {tag}: there is none; near it: {', '.join(_near(tag, list(index)))}")
        return [index[tag] for tag in tags]
    found = [entry for entry in index.values() if all(word.lower() in _text(entry) for word in words)]
    if not found:
        known = sorted({word for entry in index.values() for word in re.findall(r"[a-z]{3,}", entry.title.lower())})
        near = [match for word in words for match in difflib.get_close_matches(word.lower(), known, n=3)]
        raise UserError(f"no equation contains {' '.join(words)!r}" + (f"; near it: {', '.join(near)}" if near else ""))
    return found


def _as_tag(word: str) -> str | None:
    """A word in the form of a tag, tr-09 as well as [TR-9]."""
    form = re.fullmatch(r"\[?([A-Za-z]+)-(\d+)\]?", word)
    return f"{form[1].upper()}-{int(form[2])}" if form else None


def _near(tag: str, tags: list[str]) -> list[str]:
    family, number = tag.split("-")
    same = [other for other in tags if other.startswith(f"{family}-")]
    same.sort(key=lambda other: abs(int(other.split("-")[1]) - int(number)))
    return same[:3] or difflib.get_close_matches(tag, tags, n=3, cutoff=0) or tags[:3]


def _text(entry: Equation) -> str:
    return " ".join((entry.tag, entry.title, entry.formula, *entry.documents, entry.remark, *entry.deviations)).lower()


# ---------------------------------------------------------------------------------------------------------------- terminal


def main_lines(words: Sequence[str] = (), width: int = 100) -> Iterator[str]:
    """What `minirl equations [TAG|words]` prints: one entry in full, or a line for each of several."""
    index = load()
    found = find(index, words) if words else list(index.values())
    if len(found) == 1 or (words and all(_as_tag(word) for word in words)):
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
    return textwrap.wrap(text, max(width, 40), initial_indent=label, subsequent_indent=" " * len(label), break_long_words=False)


# --------------------------------------------------------------------------------------------------------- what is generated


def page(index: dict[str, Equation]) -> Iterator[str]:
    """docs/equations.md, line by line. Files, functions and the lines themselves, but no line numbers: those shift."""
    yield "# The equations, line by line"
    yield ""
    yield "Generated by `python -m minirl.equations`. `minirl equations TAG` prints an entry with line numbers, `minirl equations WORDS` searches."
    yield ""
    yield from (f"- **{key}**: {title}" for key, title in DOCUMENTS.items())
    family = ""
    for entry in index.values():
        if entry.tag.split("-")[0] != family:
            family = entry.tag.split("-")[0]
            yield from ("", f"## {family}: {HEADINGS[family]}")
        yield from _page_entry(entry)


def _page_entry(entry: Equation) -> Iterator[str]:
    yield from ("", f"### {entry.tag}: {entry.title}", "", f"> {_escape(entry.formula)}", "")
    yield f"In {', '.join(entry.documents)}." + (" Not in the library yet." if entry.planned and not entry.lines else "")
    if entry.remark:
        yield from ("", f"**Remark.** {_escape(entry.remark)}")
    yield ""
    for site in entry.lines:
        yield f"- `{site.path}`, `{site.function or 'module'}`: `{site.text.replace('`', chr(39))}`"
    for test in entry.proof.get("tests", []):
        yield f"- proven by `{test}`"
    if "error" in entry.proof:
        yield f"- measured error {_escape(error_text(entry))}"
    yield from (f"- elsewhere: {_escape(deviation)}" for deviation in entry.deviations)


def _escape(text: str) -> str:
    """Markdown's own signs, which formulas are full of."""
    return re.sub(r"([*_|<>\[\]])", r"\\\1", text)


def gather(root: Path) -> dict[str, dict[str, Any]]:
    """Tag -> its tests and, where one was measured, its error: from the tests and benches of a clone."""
    tests = test_names(root / "tests")
    measured = json.loads((root / MEASURED).read_text("utf-8"))["equations"] if (root / MEASURED).exists() else {}
    return {tag: {"tests": tests.get(tag, [])} | measured.get(tag, {}) for tag in load({})}


def proven_toml(proofs: dict[str, dict[str, Any]]) -> Iterator[str]:
    """equations_proven.toml, line by line."""
    yield "# Generated by `python -m minirl.equations` from the tests and benches/results/equations.json; a test says when it is out of date."
    for tag, proof in proofs.items():
        yield from ("", f"[{tag}]")
        for key, value in proof.items():
            if isinstance(value, list):
                yield from (f"{key} = [", *(f"    {json.dumps(item, ensure_ascii=False)}," for item in value), "]")
            else:
                yield f"{key} = {json.dumps(value, ensure_ascii=False)}"


def write(root: Path = PACKAGE.parent) -> list[Path]:
    """Bring both generated files of a clone up to date."""
    if not (root / "tests" / "test_equations.py").exists():
        raise UserError(f"{root} is no clone of minirl: there are no tests to read")
    proofs = gather(root)
    made = {PROVEN: proven_toml(proofs), root / PAGE: page(load(proofs))}
    for path, lines in made.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return list(made)


if __name__ == "__main__":
    for written in write():
        print(f"written: {written}")

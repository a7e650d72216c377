"""Where the tags of equations stand: at lines of the package, and in tests. Reads files as text, runs nothing."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FAMILIES = ("PG", "IS", "KL", "SUR", "TR", "PPO", "GAE", "EXT", "EX", "FIG")
INDEX_TESTS = "test_equations.py"  # these name tags and prove none of them
SOURCES = (".py", ".pyx", ".h")
BRACKET = re.compile(r"\[([A-Z]+-\d[^\[\]]*)\]")
BARE = re.compile(rf"\b({'|'.join(FAMILIES)})-(\d+)\b")
NUMBER = re.compile(r"(?:\b([A-Z]+)-)?\b(\d+)\b|(…)")
CYTHON_FUNCTION = re.compile(r"(?:cdef|cpdef|def)\b[^=]*?(\w+)\(")
C_FUNCTION = re.compile(r"\w[\w\s*]*?\b(\w+)\(")


class Site(NamedTuple):
    """A line that carries a tag; `computes` is False in a docstring or a comment that has its line to itself."""

    path: str  # from the package's parent, with /
    line: int
    function: str  # qualified name, "" outside of functions
    text: str
    computes: bool


def tags_in(text: str) -> list[str]:
    """Tags in square brackets, in their order: [TR-9], lists of numbers [PPO-1, 7], ranges [GAE-1 … GAE-4]."""
    tags: dict[str, None] = {}
    for bracket in BRACKET.findall(text):
        family, last, ranging = "", 0, False
        for name, digits, dots in NUMBER.findall(bracket):
            if dots:
                ranging = True
                continue
            number = int(digits)
            first = last + 1 if ranging and name in ("", family) else number
            family, last, ranging = name or family, number, False
            if family in FAMILIES:
                tags |= {f"{family}-{k}": None for k in range(first, number + 1)}
    return list(tags)


def tags_in_name(name: str) -> list[str]:
    """Tags that a test's name begins with: test_gae_1_gae_02_clip_07_… -> GAE-1, GAE-2; other ids are skipped."""
    head = re.match(r"test(?:_[a-z]+_\d+)*", name)
    pairs = re.findall(r"_([a-z]+)_(\d+)", head[0]) if head else []
    return [f"{family.upper()}-{int(number)}" for family, number in pairs if family.upper() in FAMILIES]


def code_sites(package: Path) -> dict[str, list[Site]]:
    """Tag -> the lines of the package that carry it, file by file."""
    found: dict[str, list[Site]] = defaultdict(list)
    for path in sorted(p for p in package.rglob("*") if p.suffix in SOURCES):
        source = path.read_text("utf-8")
        if not BRACKET.search(source):
            continue
        functions, prose = _python(source) if path.suffix == ".py" else _other(source, path.suffix)
        where = path.relative_to(package.parent).as_posix()
        for number, text in enumerate(source.splitlines(), 1):
            computes = number not in prose and not text.lstrip().startswith(("#", "//", "/*", "*"))
            for tag in tags_in(text):
                found[tag].append(Site(where, number, functions.get(number, ""), _shown(text), computes))
    return dict(found)


def _shown(text: str) -> str:
    """The line without its indentation, the blanks before a comment, and the tags at its end."""
    return re.sub(r"[\s#/]*\[[A-Z]+-\d[^\[\]]*\](?:\s*\"\"\")?$", "", " ".join(text.split()))


def _python(source: str) -> tuple[dict[int, str], set[int]]:
    """Line -> qualified name of the innermost function, and the lines of docstrings."""
    functions: dict[int, str] = {}
    prose: set[int] = set()

    def visit(node: ast.AST, name: str) -> None:
        for child in ast.iter_child_nodes(node):
            inner = name
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}.{child.name}".lstrip(".")
                functions.update(dict.fromkeys(range(child.lineno, (child.end_lineno or child.lineno) + 1), inner))
            elif (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                prose.update(range(child.lineno, (child.end_lineno or child.lineno) + 1))
            visit(child, inner)

    visit(ast.parse(source), "")
    return functions, prose


def _other(source: str, suffix: str) -> tuple[dict[int, str], set[int]]:
    """The same for Cython and C: the last line at the margin that opens a function, text between triple quotes."""
    functions, prose, name, quoted = {}, set(), "", False
    opens = CYTHON_FUNCTION if suffix == ".pyx" else C_FUNCTION
    for number, text in enumerate(source.splitlines(), 1):
        if not quoted and (opened := opens.match(text)):
            name = opened[1]
        functions[number] = name
        quotes = text.count('"""')
        if quoted or quotes:
            prose.add(number)
        quoted ^= quotes % 2 == 1
    return functions, prose


def test_names(tests: Path) -> dict[str, list[str]]:
    """Tag -> "file::test" of every test that names it: in its name, decorators, docstring, comments or text."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(p for p in tests.rglob("test_*.py") if p.name != INDEX_TESTS):
        source = path.read_text("utf-8")
        lines = source.splitlines()
        for test in _tests(ast.parse(source)):
            first = min([test.lineno, *(d.lineno for d in test.decorator_list)])
            text = "\n".join(lines[first - 1 : test.end_lineno])
            bare = [f"{family}-{int(number)}" for family, number in BARE.findall(text)]
            for tag in dict.fromkeys(tags_in_name(test.name) + tags_in(text) + bare):
                found[tag].append(f"{path.relative_to(tests).as_posix()}::{test.name}")
    return dict(found)


def _tests(tree: ast.AST) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield node

"""The compiled core in one dialect: what holds in every kernel's source, so that a reader has to learn it once."""

import ast
import re
from pathlib import Path

import pytest

import minirl
from minirl._core.reference import gaussian

PACKAGE = Path(minirl.__file__).parent
CORE = PACKAGE / "_core"
KERNELS = sorted(path for path in (CORE / "compiled").glob("*.pyx") if path.stem != "arrays")
HEADERS = sorted((CORE / "c").rglob("*.h"))
SOURCES = sorted(path for path in CORE.rglob("*") if path.suffix in (".py", ".pyx", ".pxd", ".pyi", ".h"))

pytestmark = pytest.mark.skipif(not KERNELS or not HEADERS, reason="an installation without the sources")
OTHER_WAYS = {  # into C for an array, besides arrays.pyx
    "a memoryview": r"\[(?::, *)*::?1?\] *\w+ *=",
    "a memoryview in a signature": r"\b(?:real|double|float|u?int\d+_t)\[[:, 1]*\]",
    "the buffer protocol": r"Py_buffer|PyObject_GetBuffer|memoryview|bytearray",
    "NumPy in C": r"cimport numpy|PyArray_|look_at|__array_interface__|ctypes",
    "NumPy's functions": r"\bnp\.|import numpy",
}


def named(path: Path) -> str:
    return str(path.relative_to(CORE))


def statements(text: str) -> list[str]:
    """The lines, each with what follows inside its brackets."""
    whole: list[str] = []
    for line in text.split("\n"):
        depth = whole[-1].count("(") - whole[-1].count(")") if whole else 0
        if depth > 0:
            whole[-1] += " " + line.strip()
        else:
            whole.append(line)
    return whole


@pytest.mark.parametrize("path", KERNELS, ids=named)
def test_no_kernel_takes_an_array_another_way(path):
    for way, pattern in OTHER_WAYS.items():
        assert not (found := re.search(pattern, path.read_text("utf-8"))), f"{path.name} uses {way}: {found[0]}"


def test_the_patterns_find_what_they_are_for():
    bad = [
        "cdef double[:, ::1] r = x",
        "cdef object kl(const real[:, ::1] phi)",
        "bytearray(B)",
        "look_at(x).start",
        "np.empty(3)",
    ]
    for line, pattern in zip(bad, OTHER_WAYS.values(), strict=True):
        assert re.search(pattern, line)


@pytest.mark.parametrize("path", KERNELS, ids=named)
def test_a_kernel_holds_every_array_that_it_points_into(path):
    """`take` may return a copy: only what it must not copy may be left to the caller to hold."""
    for line in statements(path.read_text("utf-8")):
        if re.match(r"\s*take\(&", line):
            assert "IN_PLACE" in line or "AS_IT_IS" in line, f"the array is not held: {line.strip()}"
        if "new_array(" in line and "cimport" not in line:
            assert re.match(r"\s*\w+(?:, \w+)* = new_array\(", line), f"the array is not held: {line.strip()}"


@pytest.mark.parametrize("path", KERNELS, ids=named)
def test_every_array_of_a_kernel_is_filled_in(path):
    for function in re.split(r"\n(?=def |cdef )", path.read_text("utf-8")):
        for names in re.findall(r"^ +cdef Array (.*)$", function, re.M):
            for name in names.split(", "):
                assert re.search(rf"(?:take\w*|new_array|describe)\([^)]*&{name}\b", function), f"{path.name}: {name}"


@pytest.mark.parametrize("path", HEADERS, ids=named)
def test_float_and_double_are_one_mechanism(path):
    """each_type.h alone says REAL; no header has a second way to write a loop for both."""
    text = path.read_text("utf-8")
    assert path.name == "each_type.h" or not re.search(r"#define REAL\b", text)
    assert not re.search(r"#define \w+\((?:\w+, *)*real\b", text.replace("#define TYPE_", "")), "a macro over the type"


def test_limits_are_in_one_place():
    limits = (CORE / "c" / "kernel_limits.h").read_text("utf-8")
    names = re.findall(r"^#define (\w+) ", limits, re.M)
    assert len(names) >= 6
    for path in HEADERS + KERNELS:
        text = path.read_text("utf-8")
        if path.name != "kernel_limits.h":
            assert not [name for name in names if re.search(rf"#define {name}\b|\b{name} = ", text)], named(path)
    assert float(re.search(r"#define LOG_STD_LIMIT (\S+)", limits)[1]) == gaussian.LOG_STD_LIMIT


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_lines_have_120_columns_and_tags_follow_the_text(path):
    for number, line in enumerate(path.read_text("utf-8").split("\n"), 1):
        assert len(line) <= 120, f"line {number} has {len(line)} columns"
        assert not re.search(r"\S {3,}\[[A-Z]+-\d", line), f"line {number}: a tag far behind its text"


FIRST_OF_AN_ARRAY = {
    "flatnonzero",
    "nonzero",
    "argwhere",
    "generate_state",
    "ravel",
    "astype",
    "partition",
    "rpartition",
    "inv_std",
}
NAMED = ("_core", "numerics", "models", "samples", "algorithms", "envs/native")
ROOMS = [path for room in NAMED for path in sorted((PACKAGE / room).rglob("*.py"))]


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_a_function_returns_is_unpacked_or_has_names(path):
    """No `f(x)[1]`, no `problem[2]`: a tuple that goes from one file to another is taken apart by name."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if (
            not isinstance(node, ast.Subscript)
            or not isinstance(node.slice, ast.Constant)
            or not isinstance(node.slice.value, int)
        ):
            continue
        value = node.value
        if isinstance(value, ast.Call):
            called = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
            assert called in FIRST_OF_AN_ARRAY, f"line {node.lineno}: {ast.unparse(node)}"
        assert not (isinstance(value, ast.Name) and value.id in ("problem", "policy", "out", "env")), ast.unparse(node)
        assert not isinstance(value, ast.Subscript), f"line {node.lineno}: {ast.unparse(node)}"


@pytest.mark.parametrize("path", KERNELS, ids=named)
def test_a_kernel_does_not_index_tuples(path):
    found = re.findall(r"\b(?:problem|policy|out|env|own|made|s|b)\[\d+\]|\w\([^()]*\)\[\d+\]", path.read_text("utf-8"))
    assert not found

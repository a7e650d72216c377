"""docs/faults.md: every fault that a test keeps away stands there, and every fault that stands there has a test."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
FAMILIES = ["RET", "ENV", "DIST", "STEP", "CLIP", "NORM", "SCH", "NAN", "DET", "BUG", "USE", "P"]  # as on the page
WORD = "|".join(FAMILIES)
ID = re.compile(rf"\b(?:{WORD})-\d\d\b")
IN_NAME = re.compile(rf"(?<=_)({WORD})((?:_\d\d)+)(?=_|$)", re.I)  # bug_18, or several of one family: ret_01_02_03
LINE = re.compile(rf"^- \*\*((?:{WORD})-\d\d)\*\* \S.+\.$")


def in_name(name: str) -> set[str]:
    return {f"{word.upper()}-{digits}" for word, row in IN_NAME.findall(name) for digits in row.split("_")[1:]}


def carried(source: str) -> set[str]:
    """The ids in a test file: in names and docstrings of tests, in the file's docstring, or opening a parameter."""
    tree = ast.parse(source)
    tests = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    found = set(ID.findall(ast.get_docstring(tree) or ""))
    for test in tests:
        found |= in_name(test.name) | set(ID.findall(ast.get_docstring(test) or ""))
        for node in (node for decorator in test.decorator_list for node in ast.walk(decorator)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and (first := ID.match(node.value)):
                found.add(first.group())
    return found


def in_page(text: str) -> list[str]:
    """The ids of the page in its order; every line of a list has to be one: `- **RET-01** What goes wrong.`"""
    lines = [line for line in text.splitlines() if line.startswith("- ")]
    assert not [line for line in lines if not LINE.match(line)]
    return [LINE.match(line).group(1) for line in lines]


def test_ids_are_read_from_names_docstrings_and_parameters():
    source = '''
"""[BUG-01] A file about one fault."""
@pytest.mark.parametrize("case", ["CLIP-07", ("RET-03 late", 1), "not RET-17"])
def test_norm_05_bug_06_ret_01_02_units_steps_10(case): "Or DET-05."
def helper_bug_09(): "BUG-10"
'''
    assert carried(source) == {"BUG-01", "CLIP-07", "RET-03", "NORM-05", "BUG-06", "RET-01", "RET-02", "DET-05"}


def test_the_page_and_the_tests_name_the_same_faults():
    page = in_page((ROOT / "docs" / "faults.md").read_text("utf-8"))
    assert page == sorted(set(page), key=lambda name: (FAMILIES.index(name.split("-")[0]), name))
    files = [file for file in (ROOT / "tests").rglob("test_*.py") if file != Path(__file__)]
    tests = {name for file in files for name in carried(file.read_text("utf-8"))}
    assert tests - set(page) == set(), "a test carries these, docs/faults.md has no line for them"
    assert set(page) - tests == set(), "docs/faults.md has these, no test carries them"

"""docs/where-is.md: its answers are files that exist and hold what they are said to hold."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (\d+) \| (.+\?) \| `([^`]+)` \| `([^`]+)` \|$", re.M)


def test_the_answers_are_true():
    rows = ROW.findall((ROOT / "docs" / "where-is.md").read_text("utf-8"))
    assert [int(number) for number, *_ in rows] == list(range(1, 26))
    for number, question, file, words in rows:
        assert words in (ROOT / file).read_text("utf-8"), f"{number}. {question}"

"""docs/where-is.md: its answers are files that exist and hold what they are said to hold."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NAMES = r"(`[^`]+`(?:, `[^`]+`)*)"  # one, or one for each half of the question
ROW = re.compile(rf"^\| (\d+) \| (.+\?) \| {NAMES} \| {NAMES} \|$", re.M)


def test_the_answers_are_true():
    rows = ROW.findall((ROOT / "docs" / "where-is.md").read_text("utf-8"))
    assert [int(number) for number, *_ in rows] == list(range(1, 26))
    for number, question, files, words in rows:
        for file, word in zip(re.findall("`(.+?)`", files), re.findall("`(.+?)`", words), strict=True):
            assert word in (ROOT / file).read_text("utf-8"), f"{number}. {question}"

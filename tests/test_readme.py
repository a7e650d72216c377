"""The README's Python is run as it stands, its first code is the code,
and its first screen says what the rest of it says.
"""

import re
from pathlib import Path

import minirl

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"


def test_use_06_the_python_example_runs_and_may_be_run_again(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    example = next(block for block in blocks if block.startswith("import"))
    monkeypatch.chdir(tmp_path)
    first, short = example, example.replace("100_000", "1_000").replace("20_000", "1_000")
    assert short.count("1_000") == 2
    for number, block in ((1, first), (2, short)):
        names: dict = {}
        exec(compile(block, "README.md", "exec"), names)
        run = names["result"].run
        assert run == tmp_path / "runs" / f"CartPole-v1-trpo-0-{number}" and run.is_dir()
        assert names["action"] in (0, 1) and names["update"].global_step > (20_000 if number == 1 else 1_000)
        played = float(capsys.readouterr().out.split()[0])  # the evaluation that the example prints first
        assert played > (400 if number == 1 else 0)


def test_the_first_code_is_the_code():
    """Each line of the first Python block stands in trpo.py, in that order; `...` ends it."""
    block = re.search(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)[1]
    *lines, end = [line.strip() for line in block.splitlines()]
    assert end == "..." and len(lines) > 5
    code = iter(
        line.strip()
        for line in (Path(minirl.__file__).parent / "algorithms" / "trpo.py").read_text("utf-8").splitlines()
    )
    for line in lines:
        # `in` goes on from where the last one stood
        assert line in code, f"not in trpo.py, or not in this order: {line}"


def test_the_first_screen_says_what_the_rest_says():
    """The two commands come first (.ci/run runs them by their number); files are there;
    figures are those of the table.
    """
    first, rest = README.read_text(encoding="utf-8").split("## What it is")
    assert [line for line in first.splitlines() if line.startswith(("```bash", "!", "- "))][:3] == ["```bash"] * 2 + [
        "![Return of TRPO and PPO on CartPole against the steps taken, three seeds each](docs/learning.png)"
    ]
    figures = re.findall(r"[\d.]+ ×", first)
    assert figures and all(f"| {figure} " in rest for figure in figures), figures
    assert (ROOT / "docs" / "learning.png").stat().st_size < 60_000
    for name in re.findall(r"[\w/]+/\w+\.(?:py|png)", first):
        assert (ROOT / name).is_file(), name

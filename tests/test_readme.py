"""The README's Python is run as it stands."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


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

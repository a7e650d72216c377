"""The README's Python is run as it stands."""

import re
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
    example = next(block for block in blocks if block.startswith("import"))
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(example, "README.md", "exec"), names)
    assert names["result"].run == Path("runs/first").resolve() or Path("runs/first").is_dir()
    assert names["action"] in (0, 1) and names["update"].global_step > 20_000
    assert float(capsys.readouterr().out.split()[0]) > 400  # the evaluation that the example prints first

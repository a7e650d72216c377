"""[USE-04] Help that fits on a screen: a method's own flags and those that most people change, in groups."""

import dataclasses
import re

import pytest

from minirl.algorithms import ALGORITHMS
from minirl.cli import console, help, main
from minirl.cli.commands import COMMANDS
from minirl.cli.flags import flags_of
from minirl.cli.train import Output
from minirl.config import Config

SCREEN = 48  # lines
TITLES = ["environment", "learning", "network", "normalisation", "run"]
MAIN = {"env", "env-kwargs", "num-envs", "seed", "total-timesteps", "num-steps", "gamma", "hidden", "run", "quiet"}


@pytest.fixture
def shown(monkeypatch, capsys):
    """A function: what `minirl LINE` prints in so many columns, as lines."""

    def call(line, columns=80):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert main(line.split()) == 0
        return capsys.readouterr().out.splitlines()

    return call


def flags_in(lines):
    return [match[1] for line in lines if (match := re.match(r"  --([a-z-]+)", line))]


def names(kind):
    return {field.name.replace("_", "-") for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_use_04_help_has_the_methods_own_flags_first_then_the_main_ones_in_groups(name, shown):
    lines = shown(f"train {name} --help")
    assert [line[:-1] for line in lines if re.fullmatch(r"[a-z]+:", line)] == [name, *TITLES]
    own = names(ALGORITHMS[name].config) - names(Config)
    flags = flags_in(lines)
    assert set(flags[: len(own)]) == own and set(flags) > MAIN and len(set(flags)) == len(flags)
    assert max(map(len, lines)) <= 80
    assert lines[-1] == f"More flags: minirl train {name} --help-all"
    assert len(lines) <= SCREEN + max(len(own) - 13, 0)  # TRPO has 13 of its own


@pytest.mark.parametrize("name", ALGORITHMS)
def test_use_04_help_all_has_every_flag_once(name, shown):
    flags = flags_in(shown(f"train {name} --help-all"))
    assert sorted(flags) == sorted(names(ALGORITHMS[name].config) | names(Output))
    assert set(flags_in(shown(f"train {name} -h"))) < set(flags)


@pytest.mark.parametrize("flags", ["--help", "--help-all", "-h"])
def test_use_04_the_overview_is_short(flags, shown):
    lines = shown(f"train {flags}")
    assert len(lines) <= 24 and max(map(len, lines)) <= 80
    for a in ALGORITHMS.values():
        assert any(line.startswith(f"  {a.name} ") and a.summary in line for line in lines)


def test_use_04_each_line_keeps_range_and_default(shown):
    """From the fields themselves: `--delta NUMBER … > 0 (0.01)`."""
    for name, algorithm in ALGORITHMS.items():
        lines = {flags_in([line])[0]: line for line in shown(f"train {name} --help") if flags_in([line])}
        for flag in flags_of(algorithm.config, Output).values():
            line = lines.get(flag.name[2:])
            if line is None:
                continue
            assert flag.range in line and all(choice in line for choice in flag.choices)
            if type(flag.default) in (int, float):
                assert line.endswith(f"({flag.default})")
            if type(flag.default) is bool:
                assert line.endswith("(on)" if flag.default else "(off)")


def test_use_04_every_field_has_its_group():
    """A new field of all methods has to be put into a group of help.GROUPS; the method's own need none."""
    grouped = [field for fields in help.GROUPS.values() for field in fields]
    assert len(set(grouped)) == len(grouped)
    for kind in (Config, Output):
        assert {field.name for field in dataclasses.fields(kind)} <= set(grouped)
    assert set(grouped) >= help.FIRST and list(help.GROUPS) == TITLES


@pytest.mark.parametrize("name", COMMANDS)
def test_use_04_the_other_commands_explain_each_flag(name, shown):
    kind, _ = COMMANDS[name]
    lines = shown(f"{name} --help")
    assert lines[0].startswith(f"usage: minirl {name}") and max(map(len, lines)) <= 80 and len(lines) <= 30
    for flag in flags_of(kind).values():
        title = rf"  {flag.field.upper()}\b" if flag.positional else rf"  {flag.name}\b"
        assert [line for line in lines if re.match(title, line)], flag
        assert flag.comment.split()[0] in " ".join(lines)


@pytest.mark.parametrize("columns", [20, 40, 59, 120, 1000])
def test_use_04_help_keeps_to_any_width(columns, shown):
    widest = max(len(line) for line in shown("train trpo --help", columns))
    assert widest <= max(columns, 75)  # below 60 columns a text stands under its flag; a word is never broken
    narrow = [line for line in shown("train trpo --help", 40) if line.startswith("      ")]
    assert narrow and max(map(len, narrow)) <= 40


def test_use_15_help_wraps_what_it_will_show(shown, monkeypatch):
    monkeypatch.setattr(console, "writable", lambda text: text)
    monkeypatch.setattr(help, "writable", lambda text: text.replace("δ", "delta"))
    assert max(map(len, shown("train trpo --help"))) <= 80

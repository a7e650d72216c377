"""The floors of the library, read from its imports: a file imports its own floor or lower ones, and nothing heavy."""

import ast
from pathlib import Path

import pytest

import minirl

PACKAGE = Path(minirl.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

FLOORS = [
    ["_core", "errors"],
    [
        "config",
        "diagnostics",
        "distributions",
        "envs",
        "equations",
        "equations_page",
        "equations_search",
        "features",
        "files",
        "memory",
        "mlp",
        "normalize",
        "obs_checks",
        "optim",
        "reduce",
        "solvers",
        "spaces",
        "special",
        "streams",
        "tagscan",
        "tensors",
    ],
    ["agent", "collect", "critic", "environments", "losses", "masks", "networks", "policy", "policyfile", "rollout"],
    ["algorithms"],
    ["api", "evaluation", "learner", "runs"],
    [],  # multi-agent, population, sweeps: built on the floors below
    ["cli", "__main__", "__init__"],
]
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms} | {"deploy": 3, "theory": 4}
ALGORITHMS = ["reinforce", "npg", "trpo", "ppo"]  # each knows only those before it

ANYWHERE = {"numpy"}
OUTSIDE = {  # what a room may import besides the standard library and NumPy; extras are imported inside functions
    "collect": {"gymnasium"},
    "environments": {"gymnasium"},
    "envs": {"gymnasium"},
    "spaces": {"gymnasium"},
    "cli": {"gymnasium", "tyro", "rich"},
    "runs": {"gymnasium", "matplotlib", "tensorboardX"},
    "theory": {"matplotlib"},
}
EXTRAS = {"tyro", "rich", "tensorboardX", "matplotlib"}


def room(path: Path) -> str:
    """The top-level module or package that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> list[str]:
    """Dotted names of all imports, wherever they stand."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_file_imports_its_own_floor_or_lower_ones(path):
    here = room(path)
    assert here in FLOOR, f"{here} has no floor: give it one here and in the design"
    for name in imports(ast.parse(path.read_text())):
        if name.startswith("minirl.") and here != "__init__":
            there = name.split(".")[1]
            known = there if there in FLOOR else "__init__"  # `from minirl import __version__`
            lower = FLOOR[known] <= FLOOR[here] or known == "__init__"
            assert lower, f"{here} (floor {FLOOR[here]}) imports {there} (floor {FLOOR[known]})"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_what_is_imported_from_outside(path):
    import sys

    tree, here = ast.parse(path.read_text()), room(path)
    tops = {name.split(".")[0] for name in imports(tree)} - {"minirl"}
    outside = tops - set(sys.stdlib_module_names) - ANYWHERE
    assert outside <= OUTSIDE.get(here, set()), f"{here} imports {outside}"
    assert not tops & {"pickle", "marshal", "shelve"}
    at_import = {name.split(".")[0] for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for name in imports(node)}
    assert not at_import & EXTRAS, "extras are imported where they are used, inside functions"


def test_an_algorithm_knows_only_those_before_it():
    for path in (PACKAGE / "algorithms").glob("*.py"):
        if path.stem == "__init__":
            continue
        mine = ALGORITHMS.index(path.stem)
        for name in imports(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[:2] == ["minirl", "algorithms"] and len(parts) > 2:
                assert ALGORITHMS.index(parts[2]) < mine, f"{path.stem} imports {parts[2]}"


def test_deploying_needs_numpy_alone():
    """A policy acts where gymnasium is not installed: nothing on the way to it imports it when it is loaded."""
    import subprocess
    import sys

    code = "import sys; sys.modules['gymnasium'] = None; import minirl.deploy, minirl.agent, minirl.spaces, minirl.mlp"
    subprocess.run([sys.executable, "-c", code], check=True)

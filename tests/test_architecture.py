"""The house, read from its imports:
a room imports its own floor's room or lower floors, never up, and nothing heavy from outside.
"""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minirl

PACKAGE = Path(minirl.__file__).parent
ROOT = Path(__file__).parent.parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

FLOORS = {  # folders, and the few modules of the root; no list of file names
    0: ("errors", "version"),
    1: ("_core", "files"),
    2: ("numerics",),
    3: ("models",),
    4: ("config", "spaces"),
    5: ("samples",),
    6: ("envs", "algorithms", "deploy"),
    7: ("training",),
    8: ("multiagent",),
    9: ("methods",),
    10: ("runs",),
    11: ("api",),
    12: ("cli",),
    13: ("__main__", "__init__"),
}
ASIDE = {"theory": 7, "equations": 1}  # they may use what lies below that floor; nobody but the command line uses them
FLOOR = {room: floor for floor, rooms in FLOORS.items() for room in rooms} | ASIDE
ALGORITHMS = ["reinforce", "npg", "trpo", "ppo"]  # each knows only those before it

ANYWHERE = {"numpy"}
OUTSIDE = {  # what a room may import besides the standard library and NumPy; extras are imported inside functions
    "spaces": {"gymnasium"},
    "envs": {"gymnasium"},
    "training": {"gymnasium"},
    "multiagent": {"gymnasium"},
    "api": {"gymnasium"},
    "runs": {"gymnasium", "matplotlib", "tensorboardX"},
    "cli": {"gymnasium", "tyro", "rich"},
    "theory": {"matplotlib"},
}
EXTRAS = {"tyro", "rich", "tensorboardX", "matplotlib"}
OPTIONAL = {"spaces"}  # gymnasium, too, is imported inside functions: acting runs without it
STRICT = ("algorithms", "models", "samples", "numerics")  # typed strictly, as pyproject.toml says too

# What hasattr and getattr may ask for: it comes from outside and may be absent. What is ours is declared.
ASKED = {
    "_core/__init__.py": ("name", "a kernel, by the name that both sides have for it"),
    "cli/console.py": ("encoding reconfigure", "any stream may have been put in place of stdout"),
    "config.py": ("entry_point reset", "whether it could be an environment or a spec, without importing gymnasium"),
    "envs/autoreset.py": ("metadata", "a vector environment need not have any"),
    "envs/copies.py": ("get_mju_user_warning set_mju_user_warning", "not every version of mujoco has the hooks"),
    "envs/faults.py": ("__code__ __notes__ envs unwrapped", "a handler may be a number, an error has no notes"),
    "envs/given.py": (
        "__module__ __name__ __qualname__ additional_wrappers name num_envs part reset step",
        "anything may be given as an environment; what it is shows by what it has",
    ),
    "envs/make.py": ("__notes__ envs", "an error has no notes, a vector need not have a list of environments"),
    "envs/worker.py": ("name", "not every system has every signal"),
    "envs/processes.py": ("poll pthread_sigmask", "Windows has neither"),
    "envs/sent_errors.py": ("__notes__", "an error has no notes"),
    "envs/native/vector.py": ("name", "whether a subclass has put a method of its own in place of ours"),
    "envs/games/pettingzoo_game.py": (
        "high low n observe possible_agents spaces",
        "what a game from outside is shows by what it has",
    ),
    "envs/parallel_contract.py": ("agent_iter agents part", "what a parallel environment is shows by what it has"),
    "envs/parallel_source.py": ("close parallel_env reset step", "anything may be given as an environment"),
    "files/atomic.py": ("O_NOFOLLOW O_NONBLOCK", "Windows has neither"),
    "envs/resumable.py": ("np_random unwrapped", "a parallel environment from outside may have neither"),
    "runs/best.py": ("reset", "an object that has this is an environment that is in use"),
    "runs/interrupt.py": ("name", "not every system has every signal"),
    "runs/metrics.py": ("item", "an algorithm from outside may report numbers of any library"),
    "training/collector.py": ("dtype", "a vector environment may return its flags as a list"),
    "training/learner.py": ("spec", "a vector environment need not have one"),
}


def room(path: Path) -> str:
    """The top-level module or folder that a file belongs to."""
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


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_no_import_goes_up(path):
    here = room(path)
    assert here in FLOOR, f"{here} has no floor"
    for name in imports(ast.parse(path.read_text())):
        if name.startswith("minirl.") and here != "__init__":
            there = name.split(".")[1]
            if there in FLOOR and there != here:
                assert FLOOR[there] < FLOOR[here], (
                    f"{here} (floor {FLOOR[here]}) imports {there} (floor {FLOOR[there]})"
                )
                assert there not in ASIDE or here in ("cli", *ASIDE), f"{here} imports {there}, which lies aside"


def test_there_is_no_circle():
    """Within a folder files may import each other sideways, but not in a circle."""
    known = {
        ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES
    }
    arrows = {}
    for name, path in known.items():
        body = ast.parse(path.read_text()).body
        names = [n for node in body if isinstance(node, ast.Import | ast.ImportFrom) for n in imports(node)]
        inside = [n.removeprefix("minirl.") for n in names if n.startswith("minirl.")]
        arrows[name] = {m for n in inside for m in (n, n.rpartition(".")[0]) if m in known and m != name}
        # a folder's own __init__ is run first anyway
        arrows[name] = {m for m in arrows[name] if not name.startswith(f"{m}.")}
    done: set[str] = set()
    while ready := [name for name in arrows if name not in done and arrows[name] <= done]:
        done.update(ready)
    assert done == set(arrows), f"in a circle: {sorted(set(arrows) - done)}"


@pytest.mark.parametrize("path", FILES, ids=named)
def test_what_is_imported_from_outside(path):
    tree, here = ast.parse(path.read_text()), room(path)
    tops = {name.split(".")[0] for name in imports(tree)} - {"minirl"}
    outside = tops - set(sys.stdlib_module_names) - ANYWHERE
    assert outside <= OUTSIDE.get(here, set()), f"{here} imports {outside}"
    at_import = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in imports(node)
    }
    assert not at_import & (EXTRAS | ({"gymnasium"} if here in OPTIONAL else set())), (
        "extras are imported where they are used"
    )


# What could run what a file says; no module of the package has anything to do with it. [S1]
RUNS_FILES = {
    "pickle",
    "cPickle",
    "_pickle",
    "marshal",
    "shelve",
    "dill",
    "cloudpickle",
    "joblib",
    "jsonpickle",
    "yaml",
}
RUNS_FILES |= {"runpy", "code", "codeop", "imp", "zipimport", "pydoc", "copyreg", "torch"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__", "breakpoint"}
BY_PATH = {"spec_from_file_location", "SourceFileLoader", "exec_module", "load_module", "module_from_spec", "run_path"}
LOADS = {"load", "loads", "fromfile", "memmap"}
LOADED_BY = {  # what has a function of such a name, and why no file can run anything through it
    "json": "",
    "tomllib": "",
    "index": "ours: the equations",
    "policy_file": "ours: reads arrays and JSON",
    "league": "ours: policy files",
    "ForkingPickler": "tries out whether an error reaches the other process; it loads what it has just made",
}
IMPORTS_BY_NAME = {  # where a module is imported whose name is not written there as an import, and who names it
    "__init__.py": "a module of our own that an attribute stands for",
    "_core/__init__.py": "modules of our own, by a list",
    "api.py": "a module of our own, which the library does not depend on",
    "envs/games/pettingzoo_game.py": "a game of PettingZoo, a single name inside that package",
    "envs/make.py": "`module:Env` that the user names; a file may not: runs/player.py, cli/commands.py",
    "envs/parallel_source.py": "`module:Env` that the user names, or a single name inside of known packages",
}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_can_run_what_a_file_says(path):
    """No pickle, eval or yaml anywhere, and a module is imported by its name in a few places that say why."""
    text = path.read_text("utf-8")
    tree = ast.parse(text)
    assert not {name.split(".")[0] for name in imports(tree)} & RUNS_FILES
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)]
    words = {node.id if isinstance(node, ast.Name) else node.attr for node in names}
    assert not {node.id for node in names if isinstance(node, ast.Name)} & RUNS_TEXT
    assert not words & BY_PATH and "allow_pickle" not in text
    of = {ast.unparse(node.value) for node in names if isinstance(node, ast.Attribute) and node.attr in LOADS}
    assert of <= set(LOADED_BY), f"{of}: which of them loads objects?"
    by_name = "import_module" in words or any(name.endswith("import_module") for name in imports(tree))
    assert by_name == (path.relative_to(PACKAGE).as_posix() in IMPORTS_BY_NAME)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from yaml import safe_load",
        "eval('1')",
        "run = exec",
        "__import__('os')",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "importlib.import_module(name)",
        "from importlib import import_module",
        "importlib.util.spec_from_file_location('a', path)",
    ],
)
def test_what_could_run_a_file_would_be_found(line, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "new.py").write_text(line)
    with pytest.raises(AssertionError):
        test_nothing_can_run_what_a_file_says(tmp_path / "new.py")


def asked_names(tree: ast.AST) -> set[str]:
    """The names that hasattr and getattr are called with; of one that is computed, the expression."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    names = [node.args[1] for node in calls if node.func.id in ("hasattr", "getattr")]
    return {str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name) for name in names}


@pytest.mark.parametrize("path", FILES, ids=named)
def test_nothing_of_our_own_is_sniffed(path):
    """No field is looked up by its name, and what a class can do is declared; the rest stands in ASKED."""
    allowed, reason = ASKED.get(path.relative_to(PACKAGE).as_posix(), ("", "nothing at all"))
    asked = asked_names(ast.parse(path.read_text("utf-8")))
    assert asked == set(allowed.split()), f"{named(path)}: hasattr and getattr are for {allowed} ({reason})"


def test_an_algorithm_knows_only_those_before_it():
    for name in ALGORITHMS:
        for imported in imports(ast.parse((PACKAGE / "algorithms" / f"{name}.py").read_text())):
            parts = imported.split(".")
            if parts[:2] == ["minirl", "algorithms"] and parts[2] in ALGORITHMS:
                assert ALGORITHMS.index(parts[2]) < ALGORITHMS.index(name), f"{name} imports {parts[2]}"


def parameters(path):
    """(function, parameter names without self and cls) for each function of a file."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef):
            a = node.args
            rest = [each for each in (a.vararg, a.kwarg) if each]
            yield (
                node,
                [arg.arg for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, *rest) if arg.arg not in ("self", "cls")],
            )


def vague(annotation):
    """What a checker learns nothing from, or what has another name here: Any, and NumPy's array in place of Array."""
    names = {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}
    return names & {"Any", "ndarray"} or {"np.ndarray"} & {ast.unparse(node) for node in ast.walk(annotation)}


@pytest.mark.parametrize("path", [path for path in FILES if room(path) in STRICT], ids=named)
def test_signatures_say_what_they_take_and_return(path):
    """Every parameter and result has a type that says something; pyproject.toml has mypy check them strictly."""
    for function, _ in parameters(path):
        a = function.args
        args = [*a.posonlyargs, *a.args, *a.kwonlyargs, *(each for each in (a.vararg, a.kwarg) if each)]
        given = [arg.annotation for arg in args if arg.arg not in ("self", "cls")]
        assert all(given) and (function.returns or function.name == "__init__"), f"{function.name} is not annotated"
        for annotation in (*given, function.returns):
            assert annotation is None or not vague(annotation), f"{function.name}: {ast.unparse(annotation)}"


def test_a_function_of_an_algorithm_takes_at_most_six_parameters():
    for path in (PACKAGE / "algorithms").glob("*.py"):
        for function, names in parameters(path):
            assert len(names) <= 6, f"{path.name}: {function.name} takes {names}"
            assert not function.args.vararg and not function.args.kwarg, (
                f"{path.name}: {function.name} hides parameters"
            )


def test_other_ranks_stand_where_weights_are_made_and_nowhere_else():
    """The samples' weights know them: forgetting them has to be impossible, not unlikely."""
    takers = {(named(path), function.name) for path in FILES for function, names in parameters(path) if "comm" in names}
    assert takers == {
        ("numerics/sums_over_samples.py", "__init__"),
        ("training/learner.py", "__init__"),
        ("training/trainee.py", "__init__"),
    }
    sums = [named(path) for path in FILES if re.search(r"comm\.(sum|max)\(", path.read_text("utf-8"))]
    assert sums == ["numerics/sums_over_samples.py"]


def test_deploying_needs_numpy_alone():
    """A policy acts where gymnasium is not installed: nothing on the way to it imports it when it is loaded."""
    code = "import sys; sys.modules['gymnasium'] = None; import minirl.deploy, minirl.spaces.actions, minirl.models.mlp"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_folder_says_what_lives_there():
    for folder in sorted({path.parent for path in FILES}):
        doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert doc and len(doc) > 40, f"{folder.relative_to(PACKAGE.parent)}/__init__.py says nothing"


def test_tests_mirror_the_folders():
    """A folder of tests is named as the folder of the package that it is about."""
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert folders <= {path.name for path in PACKAGE.iterdir() if path.is_dir()}


def test_the_readmes_map_is_the_tree():
    """The rooms that the README names are those there are, with their floors."""
    text = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+|aside) \| ((?:`[\w/]+` ?)+)\|", text, re.M)
    drawn = {name.rstrip("/"): floor for floor, names in rows for name in re.findall(r"`([\w/]+)`", names)}
    there = {room(path) for path in FILES} - {"__init__", "__main__"}
    assert set(drawn) == there
    assert all(floor == ("aside" if name in ASIDE else str(FLOOR[name])) for name, floor in drawn.items())

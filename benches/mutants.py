"""Would the tests notice? Every line that carries a tag is changed in small ways, one at a time,
and the tests are run on each change.

    python benches/mutants.py                              all files, two processes; writes benches/results/mutants.json
    python benches/mutants.py --file solvers.py --limit 20 a part; repeat --file for several; writes with --write only
    python benches/mutants.py --again                      those that were not killed by their own tests last time

A mutant is a sign flipped, a factor of 2, swapped operands or arguments, an index off by one, a comparison turned or
made strict, a `not` dropped, min for max, and for or. The tests that name the line's tags run first; a mutant that
they let live meets the other unit tests. The NumPy twins are mutated (MINIRL_REFERENCE=1): the kernels are held to
them by the parity tests. Needs os.fork.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from mutations import Mutant, mutants_of

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "mutants.json"
FILES = (
    *(
        "_core/reference/*.py",
        "models/distributions/*.py",
        "models/critic.py",
        "numerics/sums_over_samples.py",
        "numerics/running_moments.py",
    ),
    *("numerics/conjugate_gradient.py", "numerics/dense_solve.py", "numerics/optimizers.py"),
    *("samples/*.py", "algorithms/*.py", "multiagent/*.py"),
)
# Programs, files and processes say nothing about an equation; parity compares mutated twins with themselves.
APART = {
    *("api", "architecture", "cli", "determinism", "environments", "equations", "kernel_arguments", "kernels"),
    *("learner", "live", "normalize", "readme", "run", "schedules", "safetensors"),
}
COPY = Path()  # of a worker: its own tree
# after which a mutant counts as killed: it does not come to an end; the tests without one take a tenth of it
SECONDS = 600

# (file, function, before, after): changes that change nothing, and why.
EQUIVALENT: dict[tuple[str, str, str, str], str] = {}


def prepare(parent: str) -> None:
    """A worker's own copy of the tree, and what all tests import, loaded once."""
    global COPY
    COPY = Path(tempfile.mkdtemp(dir=parent)).resolve()
    for name in ("minirl", "tests"):
        shutil.copytree(ROOT / name, COPY / name, ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.c"))
    shutil.copy(ROOT / "pyproject.toml", COPY)
    os.chdir(COPY)
    sys.path[:0] = [str(COPY), str(COPY / "tests")]
    # this tree's, from making the mutants
    for name in [name for name in sys.modules if name.split(".")[0] == "minirl"]:
        del sys.modules[name]
    import autograd.numpy  # noqa: F401
    import gymnasium  # noqa: F401
    import pytest  # noqa: F401
    import scipy.stats  # noqa: F401


def run_tests(tests: list[str]) -> bool:
    """Whether they pass, in a child process that ends with its answer."""
    if not tests:
        return True
    child = os.fork()
    if child == 0:
        with open(COPY / "output.txt", "w") as sink:
            os.dup2(sink.fileno(), 1)
            os.dup2(sink.fileno(), 2)
        os._exit(_pytest(tests))
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status) in (0, 5)  # 5: nothing to run but slow tests
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return False


def _pytest(tests: list[str]) -> int:
    import pytest

    os.environ["MINIRL_REFERENCE"] = "1"
    sys.dont_write_bytecode = True
    try:
        import minirl

        assert Path(minirl.__file__).is_relative_to(COPY), "the tests would not meet the mutant"
        return int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "-m", "not slow", *tests]))
    except BaseException:
        return 3


def judge(job: tuple[Mutant, list[str], list[str]]) -> tuple[Mutant, str]:
    """Who kills a mutant: `own`, the tests of its line's tags, `others`, or none."""
    mutant, own, others = job
    path = COPY / "minirl" / mutant.file
    original = path.read_text("utf-8")
    try:
        path.write_text(mutant.source, "utf-8")
        if not run_tests(own):
            return mutant, "own"
        return mutant, "survived" if run_tests(others) else "others"
    finally:
        path.write_text(original, "utf-8")


def baseline(tests: list[str]) -> str:
    """What pytest says when the tests fail on the tree as it is; "" when they pass."""
    return "" if run_tests(tests) else (COPY / "output.txt").read_text("utf-8")[-2000:]


def jobs(wanted: list[str], limit: int | None, apart: set[str]) -> list[tuple[Mutant, list[str], list[str]]]:
    """Every mutant of the wanted files with the tests for it; with a limit, as many spread evenly."""
    from minirl.equations.scan import tags_in, test_names

    proofs = test_names(ROOT / "tests")
    tests = sorted((ROOT / "tests").rglob("test_*.py"))
    unit = [str(p.relative_to(ROOT)) for p in tests if p.stem.removeprefix("test_") not in apart]
    files = [p for pattern in FILES for p in sorted((ROOT / "minirl").glob(pattern))]
    made: list[Mutant] = []
    for path in files:
        name = path.relative_to(ROOT / "minirl").as_posix()
        if not wanted or any(name.endswith(word) for word in wanted):
            made += mutants_of(name, path.read_text("utf-8"), tags_in)
    made = [m for m in made if m.key not in EQUIVALENT]
    if limit is not None and limit < len(made):
        made = [made[i * len(made) // limit] for i in range(limit)]
    skipped = tuple(f"test_{name}.py" for name in apart)
    own = {
        tag: [f"tests/{test}" for test in proofs.get(tag, []) if not test.startswith(skipped)]
        for m in made
        for tag in m.tags
    }
    return [(m, list(dict.fromkeys(test for tag in m.tags for test in own[tag])), unit) for m in made]


def summary(verdicts: list[tuple[Mutant, str]]) -> dict[str, Any]:
    """Counts by line and by tag, and what survived."""
    lines: dict[str, dict[str, int]] = defaultdict(lambda: {"own": 0, "others": 0, "survived": 0})
    tags: dict[str, dict[str, int]] = defaultdict(lambda: {"own": 0, "others": 0, "survived": 0})
    for mutant, verdict in verdicts:
        lines[f"{mutant.file}:{mutant.line} {mutant.function} [{', '.join(mutant.tags)}]"][verdict] += 1
        for tag in mutant.tags:
            tags[tag][verdict] += 1
    killed = sum(verdict != "survived" for _, verdict in verdicts)
    return {
        "command": f"python benches/mutants.py {' '.join(sys.argv[1:])}".strip(),
        "mutants": len(verdicts),
        "killed": killed,
        "share": round(killed / max(len(verdicts), 1), 4),
        "lines": dict(lines),
        "tags": dict(tags),
        "lines_without_a_kill_of_their_own": [name for name, row in lines.items() if not row["own"]],
        "survivors": [
            [m.file, m.line, m.function, m.before, m.after] for m, verdict in verdicts if verdict == "survived"
        ],
        "verdicts": [[*m.key, m.line, verdict] for m, verdict in verdicts],
        "equivalent": [[*key, why] for key, why in EQUIVALENT.items()],
    }


def known() -> dict[tuple[str, ...], str]:
    """What the last result says of each mutant; of two that read alike, the worse."""
    rows = json.loads(RESULTS.read_text("utf-8"))["verdicts"] if RESULTS.exists() else []
    return {
        tuple(key): verdict
        for *key, _, verdict in sorted(rows, key=lambda row: ("own", "others", "survived").index(row[-1]))
    }


def show(result) -> None:
    for name, row in result["lines"].items():
        print(f"{row['own']:4} own {row['others']:4} others {row['survived']:4} survived   {name}")
    for file, line, function, before, after in result["survivors"]:
        print(f"survived  {file}:{line} {function}:  {before}  →  {after}")
    for name in result["lines_without_a_kill_of_their_own"]:
        print(f"no mutant killed by its own tests:  {name}")
    print(f"{result['killed']} of {result['mutants']} killed, {100 * result['share']:.1f} %")


def main() -> int:
    """Make, run, tell; 1 when fewer than 95 % are killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", action="append", default=[], help="only files whose path ends so; may be repeated")
    parser.add_argument("--limit", type=int, help="as many mutants, spread evenly over the lines")
    parser.add_argument(
        "--without",
        action="append",
        default=[],
        metavar="NAME",
        help="leave tests/test_NAME.py out, while it is being fixed",
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--list", action="store_true", help="name the mutants and the number of their tests, run nothing"
    )
    parser.add_argument(
        "--own", action="store_true", help="the tests of the line's own tags alone: quick; what lives may yet be killed"
    )
    parser.add_argument(
        "--again", action="store_true", help="keep the kills by own tests of the last result, judge the rest again"
    )
    parser.add_argument("--write", action="store_true", help="write the result of a piece as well")
    args = parser.parse_args()
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    sys.path.insert(0, str(ROOT))
    work = jobs(args.file, args.limit, APART | set(args.without))
    if args.own:
        work = [(mutant, own, []) for mutant, own, _ in work]
    last = known() if args.again else {}
    kept = [(m, "own") for m, *_ in work if last.get(m.key) == "own"]
    work = [job for job in work if not any(job[0] is m for m, _ in kept)]
    if args.list:
        for mutant, own, _ in work:
            place = f"{mutant.file}:{mutant.line} [{', '.join(mutant.tags)}]"
            print(f"{place} {len(own)} tests:  {mutant.before}  →  {mutant.after}")
        print(f"{len(work)} mutants")
        return 0
    with (
        tempfile.TemporaryDirectory(prefix="mutants-") as parent,
        ProcessPoolExecutor(args.processes, initializer=prepare, initargs=(parent,)) as pool,
    ):
        tests = sorted({test for _, own, _ in work for test in own})
        complaint = pool.submit(baseline, tests).result() or pool.submit(baseline, work[0][2] if work else []).result()
        if complaint:
            print(f"{complaint}\nThese tests fail without any mutant: fix them first.", file=sys.stderr)
            return 2
        verdicts = []
        for number, (mutant, verdict) in enumerate(pool.map(judge, work), 1):
            verdicts.append((mutant, verdict))
            print(
                f"{number:4}/{len(work)} {verdict:8} {mutant.file}:{mutant.line}  {mutant.before}  →  {mutant.after}",
                flush=True,
            )
    result = summary(kept + verdicts)
    show(result)
    if args.write or not (args.file or args.limit or args.own or args.without):
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 0 if result["share"] >= 0.95 else 1


if __name__ == "__main__":
    sys.exit(main())

"""The compiled core under AddressSanitizer and UndefinedBehaviorSanitizer, and built with every check on.

    python benches/sanitize.py                 tests/_core under both sanitizers
    python benches/sanitize.py --long          with the slow tests: 10 000 hostile calls of each kernel
    python benches/sanitize.py --debug         is the debug build (bounds checks on) bit-equal to the release build?

Each build is made in a temporary directory; the tree stays as it is. It needs gcc with libasan (Debian: libgcc-12-dev)
and what the tests need. A build whose sanitizers would not find a planted error is an error too.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TAKEN = ("minirl", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE")
FLAGS = "-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
PLANTED = """
#include <stdlib.h>
int overrun(int n) { char *volatile p = malloc(8); p[n] = 1; return p[0]; }
int overflow(int n) { volatile int x = 2147483647; return x + n; }
int misaligned(int n) { static char memory[64]; volatile long *p = (long *) (memory + n); return (int) *p; }
"""
ONE, SEEDS = 1, 50  # what makes each planted function go wrong; calls of each kernel that are compared


def build(folder: Path, **variables: str) -> Path:
    """The tracked files and those that are about to be, with the kernels built from them."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *TAKEN]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in filter(lambda name: (ROOT / name).is_file(), names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    command = [sys.executable, "setup.py", "-q", "build_ext", "--inplace"]
    subprocess.run(command, cwd=folder, env=os.environ | variables, check=True)
    return folder


def sanitized() -> dict[str, str]:
    """The environment of a process whose libraries were built with FLAGS."""
    libraries = [
        subprocess.run(["gcc", f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    if not all(map(os.path.isabs, libraries)):
        sys.exit("gcc has no libasan here")
    return {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",  # the interpreter leaks; 8 TB may be asked for
        "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
        "PYTHONMALLOC": "malloc",  # else small objects share blocks that no sanitizer sees into
        "OPENBLAS_NUM_THREADS": "1",
    }


def expect_planted_errors_found(folder: Path) -> None:
    """Three errors in C, called as the kernels are: each has to end the process with its report."""
    (folder / "planted.c").write_text(PLANTED)
    command = ["gcc", "-shared", "-fPIC", "-O1", *FLAGS.split(), "planted.c", "-o", "planted.so"]
    subprocess.run(command, cwd=folder, check=True)
    for name, argument, report in (
        ("overrun", 8, "heap-buffer-overflow"),
        ("overflow", ONE, "signed integer overflow"),
        ("misaligned", ONE, "misaligned address"),
    ):
        code = f"import ctypes; ctypes.CDLL('./planted.so').{name}({argument})"
        env = os.environ | sanitized()
        done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
        if done.returncode == 0 or report not in done.stderr:
            sys.exit(f"the sanitizers did not find the planted error {name}: {done.stderr[-500:]}")
    print("three planted errors were found", flush=True)


def run_sanitized(folder: Path, long: bool) -> int:
    build(folder, CFLAGS=FLAGS, LDFLAGS=FLAGS)
    expect_planted_errors_found(folder)
    # what starts interpreters of its own, or times, says nothing more here
    left_out = "not dispatch and not threads and not anywhere"
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "tests/_core", "-k", left_out]
    env = os.environ | sanitized() | {"PYTHONPATH": str(folder)}
    return subprocess.run([*command, *(["-m", "slow or not slow"] if long else [])], cwd=folder, env=env).returncode


def compare_debug(folder: Path) -> int:
    """Digests of what every kernel gives, of both builds."""
    digests = []
    for name, variables in (("release", {}), ("debug", {"MINIRL_DEBUG": "1"})):
        (folder / name).mkdir()
        where = build(folder / name, **variables)
        env = os.environ | {"PYTHONPATH": str(where)}
        command = [sys.executable, str(Path(__file__).resolve()), "--digests"]
        done = subprocess.run(command, cwd=where, env=env, check=True, capture_output=True, text=True)
        digests.append(json.loads(done.stdout))
    differ = [name for name in digests[0] if digests[0][name] != digests[1][name]]
    print(f"{len(digests[0])} kernels, {SEEDS} calls of each in float64 and float32: ", end="")
    print(f"{', '.join(differ)} differ" if differ else "the debug build is bit-equal to the release build")
    return int(bool(differ))


def print_digests() -> None:
    """What the kernels of the package that is imported here give, hashed."""
    sys.path.insert(0, str(Path.cwd() / "tests" / "_core"))
    import hostile
    import numpy as np
    from test_hostile_arrays import CALLS, good

    from minirl import _core

    assert _core.COMPILED and Path(_core.__file__).is_relative_to(Path.cwd()), _core.__file__
    found = {}
    for name in CALLS:
        digest = hashlib.sha256()
        for seed in range(SEEDS):
            for dtype in (np.float64, np.float32):
                args = good(name, seed)
                for path, x in list(hostile.leaves(args)):
                    if isinstance(x, np.ndarray) and x.dtype == np.float64:
                        args = hostile.with_leaf(args, path, x.astype(dtype))
                try:
                    for x in hostile.outcome(getattr(_core, name), name, hostile.separate(args)):
                        digest.update(f"{x.dtype}{x.shape}".encode() + x.tobytes())
                except hostile.ERRORS as why:
                    digest.update(str(why).encode())
        found[name] = digest.hexdigest()
    print(json.dumps(found))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--debug", action="store_true")
    parser.add_argument("--digests", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.digests:
        print_digests()
        return 0
    with tempfile.TemporaryDirectory(prefix="sanitize-") as folder:
        return compare_debug(Path(folder)) if flags.debug else run_sanitized(Path(folder), flags.long)


if __name__ == "__main__":
    sys.exit(main())

"""Fuzz the reader of tensor files beside the safetensors library: whatever minirl accepts, it accepts, equal in bits.

    python benches/fuzz_files.py --minutes 10
    python benches/fuzz_files.py --seed 4711          one file, to look at what was found

By atheris (pip install atheris), which looks for inputs that take new paths through the reader, where it is installed;
else by chance alone, as the tests do. Any error but a FileError, a second spent on one file, and any difference from
the library ends the run with the seed or the bytes.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "files")]

SLOW = 1.0  # seconds for one file
STEERED = 8  # bytes that are taken as a seed where atheris makes them


def by_chance(minutes: float, path: Path) -> None:
    """Seeds from the clock on, so that no two runs are the same."""
    from mutated import check, mutated

    end, seed, accepted, count = time.monotonic() + 60 * minutes, time.time_ns(), 0, 0
    while time.monotonic() < end:
        began = time.perf_counter()
        try:
            accepted += check(mutated(seed), path)
        except BaseException:
            print(f"seed {seed}")
            raise
        assert time.perf_counter() - began < SLOW, f"seed {seed} took long"
        seed, count = seed + 1, count + 1
    print(f"by chance: {count:,} files, {accepted:,} accepted by both, none by minirl alone")


def by_atheris(minutes: float, path: Path) -> None:
    """What takes a new path through minirl's reader is kept and changed further, beginning with valid files."""
    import random

    import atheris

    with atheris.instrument_imports(include=["minirl.files"]):
        from mutated import check, example, joined, mutated, without_checksum

    counts = {"files": 0, "accepted": 0}

    def one(data: bytes) -> None:
        if data[:1] == b"\1":  # the length of the header is put right: chance alone would hardly ever
            header, _, rest = data[1:].partition(b"\2")
            data = joined(header, rest)
        elif data[:1] == b"\3":
            data = mutated(int.from_bytes(data[1 : 1 + STEERED], "little"))
        counts["files"] += 1
        counts["accepted"] += check(data, path)

    corpus = path.with_name("corpus")
    corpus.mkdir()
    for seed in range(64):
        data = without_checksum(example(random.Random(seed)))
        length = int.from_bytes(data[:8], "little")
        (corpus / f"{seed}").write_bytes(b"\1" + data[8 : 8 + length] + b"\2" + data[8 + length :])
        (corpus / f"{seed}-plain").write_bytes(data)
    flags = [f"-max_total_time={round(60 * minutes)}", f"-timeout={round(SLOW)}", "-max_len=4096", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *flags, f"-artifact_prefix={path.with_name('found-')}", str(corpus)], one)
    print(f"by atheris, {minutes:g} minutes; it ends without a word where nothing is found", flush=True)
    import atexit

    atexit.register(lambda: print(f"{counts['files']:,} files, {counts['accepted']:,} accepted by both", flush=True))
    atheris.Fuzz()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--chance", action="store_true", help="without atheris")
    flags = parser.parse_args()
    path = Path(tempfile.mkdtemp(prefix="fuzz-")) / "file"
    if flags.seed is not None:
        from mutated import check, mutated

        print(mutated(flags.seed))
        print(check(mutated(flags.seed), path))
        return
    try:
        import atheris  # noqa: F401
    except ImportError:
        by_chance(flags.minutes, path)
    else:
        (by_chance if flags.chance else by_atheris)(flags.minutes, path)


if __name__ == "__main__":
    main()

"""kill -9 at random moments, again and again: what is left is readable, and what comes of it is what would have come.

    python benches/kills.py --kills 200
    python benches/kills.py --kills 60 --signals   # SIGINT, SIGTERM, SIGHUP

A run is killed, resumed, killed, … until it is through, then compared with one that nobody disturbed: rows of both
metrics files but for the columns that measure time, policy, last checkpoint. Every other kill comes inside a save: the
run ends itself by SIGKILL at an operation on a file, after a random number of them. After each kill a checkpoint is
readable; after each resume no temporary file is left.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import machine
import numpy as np
from worker import environment

from minirl.errors import FileError
from minirl.files import tree
from minirl.runs.checkpoints import Checkpoints
from minirl.runs.verify import is_timed

HERE = Path(__file__).parent
SMALL = ("--num-envs", "2", "--num-steps", "64", "--hidden", "8", "--eval-episodes", "0", "--quiet")
WORKLOADS = {  # flags, steps to the end, updates between two saves
    "native": ("ppo", "--env", "minirl/CartPole-v1", *SMALL, "--total-timesteps", "7680", "--save-every", "1"),
    "gymnasium": ("trpo", "--env", "CartPole-v1", *SMALL, "--total-timesteps", "3840", "--save-every", "2"),
    "large": (  # 9 MB a checkpoint: most of the time is saving
        *("ppo", "--env", "minirl/Pendulum-v1", "--num-envs", "2", "--num-steps", "32", "--hidden", "512", "512"),
        *("--epochs", "1", "--eval-episodes", "0", "--quiet", "--total-timesteps", "1280", "--save-every", "1"),
    ),
    "selfplay": ("selfplay", "--env", "minirl/TicTacToe-v0", *SMALL, "--total-timesteps", "2560", "--save-every", "1"),
    "best": (
        *("ppo", "--env", "minirl/CartPole-v1", *SMALL, "--total-timesteps", "3840"),
        *("--save-every", "1", "--eval-every", "2", "--eval-episodes", "1"),
    ),
}
STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
WATCHED = ("open", "os.rename", "os.remove", "os.mkdir")  # what Python reports of the files of a run
# A process that has imported all and forks for each command it reads, [where inside a save to end or 0, run, words],
# so that runs of less than a second can be killed by the hundred. It answers with the exit code.
SERVER = f"""
import json, os, signal, sys
import minirl.cli.commands, minirl.multiagent.self_play, minirl.runs.resume
from minirl.cli import main
from minirl.methods import every
every()
def die(): os.kill(os.getpid(), signal.SIGKILL)
def end_inside(left, run):
    real = os.fsync
    def count():
        nonlocal left
        left -= 1
        if left == 0: die()
    def fsync(fd):
        temporary = os.readlink(f"/proc/self/fd/{{fd}}").endswith(".tmp")
        if left == 1 and temporary: os.ftruncate(fd, os.fstat(fd).st_size // 2)  # a part of its bytes
        count()
        real(fd)
        count()
    os.fsync = fsync
    sys.addaudithook(lambda event, args: count() if event in {WATCHED!r} and run in str(args[0]) else None)
for line in sys.stdin:
    inside, run, words = json.loads(line)
    pid = os.fork()
    if pid == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if inside: end_inside(inside, run)
        os._exit(main(words))
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Server:
    """Runs commands one after another, each in a process of its own."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], env=environment(1), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def end(
        self, words: list[str], run: Path, after: float | None = None, signum: int = signal.SIGKILL, inside: int = 0
    ) -> tuple[int, float]:
        """`minirl WORDS`, sent a signal after so many seconds -> exit code, and how long it took from then on."""
        print(json.dumps([inside, str(run), words]), file=self.process.stdin, flush=True)
        pid = int(self.process.stdout.readline())
        if after is not None:
            time.sleep(after)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        sent = time.monotonic()
        return int(self.process.stdout.readline()), time.monotonic() - sent

    def run(self, words: list[str], run: Path, after: float | None = None, inside: int = 0) -> bool:
        """`minirl WORDS`, killed after so many seconds -> whether it was killed; RuntimeError for another end."""
        code, _ = self.end(words, run, after, inside=inside)
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"minirl {' '.join(words)}: exit code {code}")
        return code != 0

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def begin(name: str, run: Path) -> list[str]:
    """The command that starts a run, or goes on with it."""
    if (run / "config.json").exists():
        return ["resume", str(run), "--eval-episodes", "0", "--quiet"]
    return ["train", *WORKLOADS[name], "--run", str(run)]


def temporary(run: Path) -> list[str]:
    """What saves that were killed have left."""
    return [str(path.relative_to(run)) for path in run.rglob(".*.tmp")]


def readable(run: Path) -> int:
    """The update of the checkpoint that a resume would take; FileError without one."""
    return Checkpoints(run, run.name).newest(lambda _said: None)[0]


def left(run: Path) -> dict[str, Any]:
    """What a resume would take: the update of its checkpoint. Before the first row there may be none."""
    try:
        return {"checkpoint": readable(run), "ok": True}
    except FileError as why:
        written = run / "metrics.jsonl"
        nothing = not written.exists() or not written.stat().st_size
        return {"checkpoint": None, "ok": nothing and not Checkpoints(run, run.name).there(), "why": str(why)}


def rows(run: Path) -> tuple[list[Any], list[Any]]:
    """The rows of both metrics files, without the columns that measure time."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    header, *table = (line.split(",") for line in (run / "metrics.csv").read_text().splitlines())
    if any(len(cells) != len(header) for cells in table):
        raise RuntimeError("a row of metrics.csv is torn")
    kept = [
        [cell for name, cell in zip(header, cells, strict=True) if not is_timed(name)] for cells in [header, *table]
    ]
    return [{name: value for name, value in line.items() if not is_timed(name)} for line in lines], kept


def same(a: Any, b: Any) -> bool:
    """Whether two trees of a checkpoint are equal to the last bit."""
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    return type(a) is type(b) and (a == b or (a != a and b != b))


def policies(run: Path) -> dict[str, bytes]:
    """Every policy file of a run, by its name."""
    found = [path for path in run.rglob("*.safetensors") if path.parent.name != "checkpoints"]
    return {str(path.relative_to(run)): path.read_bytes() for path in found}


def differences(run: Path, undisturbed: Path) -> list[str]:
    """What is not as it would have been; none is right."""
    found = []
    for mine, its in zip(rows(run), rows(undisturbed), strict=True):
        first = next((i for i, (a, b) in enumerate(zip(mine, its, strict=False)) if a != b), min(len(mine), len(its)))
        if mine != its:
            found.append(f"row {first} of metrics, {len(mine)} for {len(its)}: {mine[first : first + 1]}")
    found += [] if policies(run) == policies(undisturbed) else ["policies"]
    one, other = (Checkpoints(each, each.name) for each in (run, undisturbed))
    last = other.there()[-1]
    if one.there()[-1] != last or not same(*(tree.read(each.path(last), "checkpoint") for each in (one, other))):
        found.append("the last checkpoint")
    return found + [f"{name} was left" for name in temporary(run)]


def disturbed(
    server: Server, name: str, run: Path, seconds: float, draw: random.Random, kills: int
) -> Iterator[dict[str, Any]]:
    """Kill a run until it is through, or was killed so often, then let it end. -> what each kill has left"""
    for number in range(kills):
        inside = draw.randrange(1, 120) if number % 2 else 0
        after = None if inside else draw.uniform(0, 1.2 / kills) * seconds
        if not server.run(begin(name, run), run, after, inside):
            return
        yield {"workload": name, "inside": inside, "temporary": len(temporary(run)), **left(run)}
    server.run(begin(name, run), run)


def study(kills: int, seed: int, of_each: int, names: list[str], signals: bool = False) -> list[dict[str, Any]]:
    """So many kills, by turns in runs of each kind."""
    draw, done, server = random.Random(seed), [], Server()
    disturb = stopped if signals else disturbed
    with contextlib.closing(server), tempfile.TemporaryDirectory() as folder:
        root, undisturbed, seconds = Path(folder), {}, {}
        for name in names:
            begun = time.monotonic()
            server.run(begin(name, root / name), root / name)
            undisturbed[name], seconds[name] = root / name, time.monotonic() - begun
        for number in itertools.count():
            name, run = names[number % len(names)], root / f"{names[number % len(names)]}-{number}"
            count = min(of_each, kills - len(done))
            these = list(disturb(server, name, run, seconds[name], draw, count))
            wrong = differences(run, undisturbed[name])
            done += [kill | {"run": run.name, "differs": wrong} for kill in these]
            good = sum(kill["ok"] and not kill["differs"] for kill in done)
            print(f"{good} of {len(done)} kills have left nothing wrong, the last ones of {run.name}", flush=True)
            if len(done) >= kills:
                return done


def stopped(server: Server, name: str, run: Path, seconds: float, draw: random.Random, times: int) -> list[Any]:
    """Stop a run by signals until it is through, or so often, then let it end -> signal, exit code, seconds of each."""
    done = []
    for _ in range(times):
        signum, before = draw.choice(STOPS), left(run)
        code, took = server.end(begin(name, run), run, draw.uniform(0, 1.2 / times) * seconds, signum)
        if code == 0:
            return done
        done.append({"workload": name, "signal": signum.name, "code": code, "seconds": took, **left(run)})
        # while the command reads its flags there is no handler yet: the signal does what it always does, to no run
        done[-1]["ok"] &= code == 128 + signum or (code == -signum and left(run) == before)
    server.run(begin(name, run), run)
    return done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--of-each", type=int, default=8, help="kills of one run at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workloads", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument("--signals", action="store_true", help="SIGINT, SIGTERM and SIGHUP in place of kill -9")
    parser.add_argument("--out", type=Path, help="default: results/kills.json or signals.json, beside this file")
    args = parser.parse_args()
    done = study(args.kills, args.seed, args.of_each, args.workloads, args.signals)
    good = sum(kill["ok"] and not kill["differs"] for kill in done)
    counts: dict[str, Any] = {"kills": len(done), "good": good}
    if args.signals:
        counts["seconds_at_most"] = max(each["seconds"] for each in done)
    else:
        counts["inside_a_save"] = sum(kill["inside"] > 0 for kill in done)
        counts["left_temporary"] = sum(kill["temporary"] > 0 for kill in done)
    found = {"machine": machine.describe(), **counts, "kills_one_by_one": done}
    out = args.out or HERE / "results" / ("signals.json" if args.signals else "kills.json")
    out.write_text(json.dumps(found, indent=1) + "\n")
    print(counts)
    return int(good < len(done))


if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())

"""Running the command line as people do: in a process of its own."""

import os
import subprocess
import sys
import time
from pathlib import Path

import minirl
from minirl.cli.train import TWINS

PATH = os.pathsep.join([str(Path(minirl.__file__).parents[1]), str(Path(__file__).parent)])
PATIENCE = 600  # seconds until a test gives up on what hangs: nothing that works comes near, on a busy machine neither
# updates of 128 steps that take milliseconds
SMALL = ("--num-envs", "2", "--num-steps", "64", "--hidden", "8", "--eval-episodes", "0")


def environment(**changes):
    """The environment of a process that finds minirl and the tests' environments wherever it runs."""
    return os.environ | {"PYTHONPATH": PATH, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100"} | changes


def python(*args, cwd, timeout=PATIENCE, input=None, **changes):
    """Run Python to its end: -> CompletedProcess with text; `input` is what it reads from stdin."""
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        env=environment(**changes),
        capture_output=True,
        input=input,
        encoding="utf-8",
        timeout=timeout,
    )


def cli(*args, cwd, **changes):
    """`minirl ARGS`."""
    return python("-m", "minirl", *map(str, args), cwd=cwd, **changes)


def start(*args, cwd, **changes):
    """`minirl ARGS` in the background."""
    command = [sys.executable, "-m", "minirl", *map(str, args)]
    return subprocess.Popen(
        command, cwd=cwd, env=environment(**changes), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )


def wait_until(true, process, seconds=PATIENCE):
    """Poll until `true()`; the process has to live for so long."""
    end = time.monotonic() + seconds
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def rows(path):
    """How many complete lines a file has, 0 when there is none."""
    return path.read_text().count("\n") if path.exists() else 0


def without_twins(stderr):
    """What was said on stderr but for the line about the twins."""
    return stderr.removeprefix(f"minirl: {TWINS}\n")


def one_sentence(stderr):
    """The single line of a mistake, without the program's name; the line about the twins may stand before it."""
    stderr = without_twins(stderr)
    assert stderr.count("\n") == 1 and stderr.startswith("minirl: ") and "Traceback" not in stderr, stderr
    return stderr[len("minirl: ") : -1]

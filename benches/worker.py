"""A process that measures on request: a line of JSON in, a line of JSON out. It sleeps while the other side measures.

An answer has `value` in SI units (seconds, or steps per second), and `raw` where it is the median of several times.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def environment(threads: int, **extra: str) -> dict[str, str]:
    """This process's environment with that many threads; minirl is found beside benches/ where it is not installed."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH"), str(HERE.parent)]))
    return os.environ | dict.fromkeys(THREADS, str(threads)) | {"PYTHONPATH": path} | extra


class Worker:
    """The other end: a script of benches/ in an interpreter of its own, started when it is first asked."""

    def __init__(self, script: str, threads: int, **extra: str):
        self.command, self.env = [sys.executable, str(HERE / script)], environment(threads, **extra)
        self.process: subprocess.Popen | None = None

    def ask(self, workload: str, **request: Any) -> dict[str, Any]:
        """What the workload measured, or {"skipped": why}."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command, env=self.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        print(json.dumps({"workload": workload} | request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"skipped": f"the worker ended with {self.process.wait()}"}

    def close(self) -> None:
        """End it, and what it holds in memory."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


def serve(workloads: dict[str, Callable[..., dict[str, Any]]]) -> None:
    """Answer requests until the input ends. A workload that cannot run here says why, in its answer."""
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = workloads[request.pop("workload")](**request)
        except Exception as why:
            answer = {"skipped": f"{type(why).__name__}: {why}"}
        print(json.dumps(answer), flush=True)


def timed(
    call: Callable[[], Any], quick: bool, before: Callable[[], Any] = lambda: None, per: int = 1
) -> dict[str, Any]:
    """Median time of as many calls as fit into half a second, three at the least, after one that is not counted."""
    times, until = [], 0.0
    while len(times) < (2 if quick else 4) or (time.perf_counter() < until and not quick):
        before()
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) / per)
        until = until or time.perf_counter() + 0.5
    return {"value": statistics.median(times[1:]), "raw": times[1:]}

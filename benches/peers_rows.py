"""The rows of peers.py: what each side is asked, what is to be reached, and how a table is made of the answers."""

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from worker import Worker

QUOTED = "PureJaxRL's PPO on a CPU, quoted and not measured here: 245 k steps/s with 4 environments, 320 k with 64"


@dataclass(frozen=True)
class Row:
    """A workload, what each side is asked, and what is to be reached:
    `ratio` over the peer, or `bound` on our own figure.
    """

    id: str
    what: str
    unit: str  # steps/s, or a time
    ours: tuple[str, dict[str, Any]]
    peer: tuple[str, dict[str, Any]] | None = None
    ratio: float | None = None
    bound: float | None = None  # in `unit`
    side: str = "ours"  # or twins
    note: str = ""


ROWS = [
    Row(
        "W2", "PPO update, 2048 x 10 epochs, minibatch 64", "ms",
        ("W2", {}), ("update", {"algorithm": "ppo", "env": "CartPole-v1"}), 18,
    ),
    Row(
        "W3", "TRPO update, 2048, CG 15", "ms",
        ("W3", {}), ("update", {"algorithm": "trpo", "env": "HalfCheetah-v5"}), 5,
    ),
    Row(
        "W7", "Fisher-vector product, 2048 x (11-64-64-3)", "ms",
        ("W7", {}), ("W7", {}), 2.5, note="torch's double backward",
    ),
    Row(
        "W1", "PPO end to end, gymnasium's CartPole, 4 envs", "steps/s",
        ("W1", {}), ("W1", {}), 7, note="peer: 60 k of the 500 k steps",
    ),
    Row(
        "W1-native-4", "PPO end to end, batched CartPole, 4 envs", "steps/s",
        ("W1 native", {"num_envs": 4}), ("W1", {}), 18, note=QUOTED,
    ),
    Row(
        "W1-native-64", "PPO end to end, batched CartPole, 64 envs", "steps/s",
        ("W1 native", {"num_envs": 64}), ("W1", {"num_envs": 64}), note="peer: 64 environments too",
    ),
    Row(
        "W4-ppo", "PPO end to end, HalfCheetah, 1 x 2048", "steps/s",
        ("W4", {"algorithm": "ppo"}), ("W4", {"algorithm": "ppo"}), 7,
    ),
    Row(
        "W4-trpo", "TRPO end to end, HalfCheetah, 1 x 2048", "steps/s",
        ("W4", {"algorithm": "trpo"}), ("W4", {"algorithm": "trpo"}), 5,
    ),
    Row(
        "W5-greedy", "act, one observation, greedy", "us",
        ("W5", {"sample": False}), ("W5", {"sample": False}), bound=3,
    ),
    Row(
        "W5-sampled", "act, one observation, sampled", "us",
        ("W5", {"sample": True}), ("W5", {"sample": True}), bound=3,
    ),
    Row("W5-twins-greedy", "act, greedy, NumPy twins", "us", ("W5", {"sample": False}), bound=12, side="twins"),
    Row("W5-twins-sampled", "act, sampled, NumPy twins", "us", ("W5", {"sample": True}), bound=12, side="twins"),
]  # fmt: skip
SCALE = {"ms": 1e3, "us": 1e6, "s": 1.0, "MB": 1e-6, "steps/s": 1.0}


@dataclass
class Measured:
    """A row of the table, and under it everything that was measured. Figures in `unit`, as [median, min, max]."""

    id: str
    what: str
    unit: str
    ours: list[float] | None = None
    peer: list[float] | None = None
    threads: int | None = None  # of the peer, the better number
    ratio: list[float] | None = None
    reach: str = ""
    met: bool | None = None
    limit: float | None = None
    note: str = ""
    raw: dict[str, Any] = field(default_factory=dict)


def spread(values: list[float], scale: float = 1.0) -> list[float]:
    """Median, least, largest."""
    return [scale * statistics.median(values), scale * min(values), scale * max(values)]


def judged(row: Measured, ratio: float | None, bound: float | None) -> Measured:
    """The row with what it has to reach, and whether it does."""
    if bound is not None and row.ours:
        row.reach, row.met = f"<= {bound:g} {row.unit}", row.ours[0] <= bound
    elif ratio is not None:
        row.reach, row.met = f">= {ratio:g} x", row.ratio[0] >= ratio if row.ratio else None
    return row


# ------------------------------------------------------------------------------------------------------ beside the peer


def measure(row: Row, sides: dict[str, Worker], repeats: int, quick: bool, rate: float) -> Measured:
    """Ours, the peer on one thread, the peer on two, ours, …"""
    asked = {row.side: row.ours} | ({name: row.peer for name in sides if name.startswith("peer")} if row.peer else {})
    raw: dict[str, list[dict[str, Any]]] = {name: [] for name in asked}
    out = Measured(row.id, row.what, row.unit, note=row.note, raw=raw)
    for _ in range(repeats):
        for name, (workload, request) in list(asked.items()):
            answer = sides[name].ask(workload, quick=quick, **request)
            raw[name].append(answer)
            if "skipped" in answer:
                del asked[name], raw[name]
                out.note = f"{name} skipped: {answer['skipped']}; {out.note}".removesuffix("; ")
                if name == row.side:
                    return judged(out, row.ratio, row.bound)
    return judged(summed(out, row.side, rate), row.ratio, row.bound)


def summed(out: Measured, side: str, rate: float) -> Measured:
    """Medians, the better of the peer's thread counts, the ratio of neighbours, the limit."""
    more, scale = out.unit == "steps/s", SCALE[out.unit]
    values = {name: [answer["value"] for answer in answers] for name, answers in out.raw.items()}
    ours = values.pop(side)
    out.ours = spread(ours, scale)
    if values:
        best = (max if more else min)(values, key=lambda name: statistics.median(values[name]))
        out.peer, out.threads = spread(values[best], scale), int(best[-1])
        out.ratio = spread([a / b if more else b / a for a, b in zip(ours, values[best], strict=True)])
    first = out.raw[side][0]
    if "flop" in first:
        env = statistics.median(answer.get("env", 0.0) for answer in out.raw[side])
        seconds = first["flop"] / rate + env
        out.limit = 1 / seconds if more else scale * seconds
    return out


def overhead(rows: list[Measured]) -> Iterator[Measured]:
    """What HalfCheetah's PPO and TRPO spend per step on neither the environment nor the update, from the same runs."""
    for row in rows:
        if row.id.startswith("W4") and row.ours:
            answers = row.raw["ours"]
            name = row.id[3:].upper()
            rest, env, vector = (spread([a[k] for a in answers], 1e6) for k in ("rest", "env", "vector"))
            part = f"{vector[0]:.1f} us in gymnasium's vector and our wrapper"
            note = f"environment alone {env[0]:.1f} us; of the rest {part}"
            out = Measured(
                f"{row.id}-rest", f"{name} HalfCheetah, neither environment nor update", "us", rest, note=note
            )
            yield judged(out, None, 8)

"""Learning curves: the return of an episode against the steps taken, one line per algorithm, a band over its seeds.

matplotlib is imported when something is drawn, and drawn without its global state.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from minirl.errors import FileError, UserError
from minirl.files import read_json, write_atomically
from minirl.runs.metrics import read_csv

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")  # Okabe & Ito: told apart by everyone
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (2, 1)), (0, (6, 1, 1, 1)))  # so that of two lines that coincide both are seen
POINTS = 400  # of a curve's grid
INK, PALE = "#333333", "#dddddd"


@dataclass(frozen=True)
class Curve:
    """What one run learned: mean return of the episodes that ended in an update, against the steps so far."""

    env: str
    algorithm: str
    seed: int
    step: np.ndarray
    value: np.ndarray


def read_curve(run: Path) -> Curve:
    """The curve of a run directory, updates without a finished episode left out; FileError when it is none."""
    about = read_json(run / "config.json")
    try:
        columns = read_csv(run / "metrics.csv")
        pairs = zip(columns["global_step"], columns.get("charts/episodic_return", []), strict=False)
        points = np.array([(float(step), float(value)) for step, value in pairs if value], dtype=np.float64).reshape(-1, 2)
        return Curve(about["config"]["env"], about["algorithm"], about["config"]["seed"], points[:, 0], points[:, 1])
    except (OSError, KeyError, TypeError, ValueError, IndexError) as why:
        raise FileError(f"{run} holds no metrics that can be drawn: {getattr(why, 'strerror', None) or why}") from why


def smooth(x: np.ndarray, share: float = 0.05) -> np.ndarray:
    """Mean over a centred window of about `share` of the points, smaller at the ends: (n,) -> (n,), nothing invented outside."""
    half = int(len(x) * share / 2)
    sums = np.concatenate([[0.0], np.cumsum(x)])
    at = np.arange(len(x))
    reach = np.minimum(half, np.minimum(at, len(x) - 1 - at))
    return (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)


def band(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Steps, mean and standard deviation over runs of their smoothed curves, where all of them have points."""
    low, high = max(c.step[0] for c in curves), min(c.step[-1] for c in curves)
    step = np.linspace(low, max(low, high), POINTS)
    values = np.stack([np.interp(step, c.step, smooth(c.value)) for c in curves])
    return step, values.mean(axis=0), values.std(axis=0)


def draw(curves: Sequence[Curve]) -> Any:
    """A matplotlib Figure: a panel per environment."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as why:
        raise UserError('drawing needs matplotlib: pip install ".[plot]"') from why
    envs = list(dict.fromkeys(c.env for c in curves))
    algorithms = list(dict.fromkeys(c.algorithm for c in curves))
    columns = min(len(envs), 3)
    rows = -(-len(envs) // columns)
    width = 7.2 if columns == 1 else 4.8 * columns
    figure = Figure(figsize=(width, 4.2 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, env in zip(panels, envs, strict=False):
        _style(panel, env)
        for i, algorithm in enumerate(algorithms):
            group = [c for c in curves if c.env == env and c.algorithm == algorithm and len(c.step)]
            if group:
                _draw_group(panel, group, COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)])
        if panel.lines:
            panel.legend(loc="best", labelcolor=INK, facecolor="white", edgecolor="none", framealpha=0.8)
            panel.set_xlim(left=0)
        else:
            panel.text(0.5, 0.5, "no episode has ended yet", transform=panel.transAxes, ha="center", color=INK)
    for panel in panels[len(envs) :]:
        panel.set_visible(False)
    return figure


def _style(panel: Any, env: str) -> None:
    from matplotlib.ticker import EngFormatter

    panel.set_title(env, loc="left", fontsize=13, fontweight="bold", color=INK, pad=10)
    panel.set_xlabel("environment steps", color=INK)
    panel.set_ylabel("return of an episode (sum of rewards)", color=INK)
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.grid(color=PALE, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(PALE)
    panel.tick_params(colors=INK, length=0)
    panel.margins(x=0.02, y=0.08)


def _draw_group(panel: Any, group: Sequence[Curve], colour: str, dashes: Any) -> None:
    """One run: each update faint and the smoothed line. Several: the mean of the smoothed lines, and one deviation around it."""
    name = group[0].algorithm.upper()
    line = {"color": colour, "linestyle": dashes, "linewidth": 2.2, "marker": "o" if any(len(c.step) == 1 for c in group) else None}
    if len(group) == 1:
        (curve,) = group
        panel.plot(curve.step, curve.value, color=colour, alpha=0.25, linewidth=1)
        panel.plot(curve.step, smooth(curve.value), label=f"{name}, seed {curve.seed}", **line)
        return
    for curve in group:
        panel.plot(curve.step, curve.value, color=colour, alpha=0.10, linewidth=0.8)
    step, mean, std = band(group)
    panel.fill_between(step, mean - std, mean + std, color=colour, alpha=0.18, linewidth=0)
    panel.plot(step, mean, label=f"{name}, mean ± std of {len(group)} runs", markevery=POINTS, **line)


def plot(runs: Sequence[Path | str], out: Path | str | None = None) -> Path:
    """Draw runs into one file (RUN/curve.png, or curves.png here for several) and say where. FileError, UserError without matplotlib."""
    curves = [read_curve(Path(run)) for run in runs]
    path = Path(out) if out is not None else Path(runs[0]) / "curve.png" if len(runs) == 1 else Path("curves.png")
    figure = draw(curves)
    kind = path.suffix[1:].lower() or "png"
    if kind not in figure.canvas.get_supported_filetypes():
        raise UserError(f"out = {str(path)!r}: takes a file name that ends in {', '.join('.' + k for k in ('png', 'svg', 'pdf'))}")
    picture = io.BytesIO()
    figure.savefig(picture, format=kind, dpi=160)
    write_atomically(path, picture.getvalue())
    return path

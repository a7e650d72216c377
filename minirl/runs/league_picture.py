"""A tournament as a picture: Elo over time, and beside it who beats whom. matplotlib is imported when it is drawn."""

import io
from pathlib import Path
from typing import Any

from minirl.errors import UserError
from minirl.files.atomic import write_atomically
from minirl.multiagent.league import Tournament
from minirl.runs.plot import COLOURS, INK, PALE

FILE = "league.png"


def draw(t: Tournament) -> Any:
    """A matplotlib Figure of two panels: Elo against steps, and the payoff matrix (M, M) as a heat map."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as why:
        raise UserError('drawing needs matplotlib: pip install ".[plot]"') from why
    figure = Figure(figsize=(11.4, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.05))
    draw_elo(left, t)
    draw_matrix(figure, right, t)
    for panel in (left, right):
        panel.tick_params(colors=INK, length=0)
        panel.spines[:].set_color(PALE)
    return figure


def draw_elo(panel: Any, t: Tournament) -> None:
    """Elo against the steps taken."""
    from matplotlib.ticker import EngFormatter

    panel.plot(t.steps, t.elo, color=COLOURS[0], marker="o", markersize=4, linewidth=1.6)
    panel.plot(t.steps[:1], t.elo[:1], color=COLOURS[1], marker="o", markersize=6, linestyle="", label="random play")
    panel.set_title(t.env, loc="left", fontsize=13, fontweight="bold", color=INK, parse_math=False)
    panel.set_xlabel("moves of the learner when the checkpoint was taken", color=INK)
    panel.set_ylabel("Elo (mean of all: 0)", color=INK)
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.grid(color=PALE, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(loc="lower right", frameon=False, labelcolor=INK)


def draw_matrix(figure: Any, panel: Any, t: Tournament) -> None:
    """The payoff of each checkpoint (row) against each (column), old ones first."""
    from matplotlib.ticker import EngFormatter

    limit = max(abs(t.payoff).max(), 1e-12)
    heat = panel.imshow(t.payoff, cmap="RdBu", vmin=-limit, vmax=limit, origin="lower")
    places = range(0, len(t.steps), max(-(-len(t.steps) // 7), 1))
    names = [EngFormatter(sep="")(float(f"{t.steps[i]:.3g}")) if t.steps[i] else "random" for i in places]
    panel.set_xticks(places, names)
    panel.set_yticks(places, names)
    panel.set_xlabel("against this checkpoint", color=INK)
    panel.set_ylabel("this checkpoint", color=INK)
    title = f"mean payoff, {t.games} games of each pair"
    panel.set_title(title, loc="left", fontsize=11, color=INK)
    bar = figure.colorbar(heat, ax=panel, shrink=0.9)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=INK, length=0)


def picture(t: Tournament, path: Path) -> Path:
    """Write the picture, whole or not at all, and say where."""
    buffer = io.BytesIO()
    draw(t).savefig(buffer, format="png", dpi=130)
    write_atomically(path, buffer.getvalue())
    return path

"""Learning curves: a column of the metrics against the steps taken; a line per setting, a band over its runs.

matplotlib is imported when something is drawn, and drawn without its global state.
"""

import io
import os
import textwrap
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minirl.errors import FileError, UserError
from minirl.files.atomic import write_atomically
from minirl.runs.bands import BANDS, POINTS, band, smooth
from minirl.runs.curves import RETURN, Curve, read_curve, read_curves
from minirl.runs.settings import Setting, differing, labels, order, plain, setting, shared

__all__ = ["BANDS", "Curve", "band", "draw", "plot", "read_curve", "smooth"]

# Okabe & Ito: distinguishable by everyone. Dashes, so that of two lines that coincide both are seen.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.2)), (0, (2, 1)), (0, (6, 1, 1, 1)))
MARKERS = (None, "o", "s", "^", "D")
INK, PALE = "#333333", "#dddddd"
Y_LABELS = {
    RETURN: "return of an episode (sum of rewards)",
    "charts/episodic_length": "length of an episode (steps)",
    "charts/episodes": "episodes that ended in an update",
    "charts/SPS": "transitions per second",
    "charts/learning_rate": "learning rate α",
    "losses/approx_kl": "mean KL(old‖new) of an update (nats)",
    "losses/entropy": "mean entropy of the policy (nats)",
    "losses/explained_variance": "explained variance of the value function",
    "losses/value_loss": "value loss, mean (V − V̂)²",
    "losses/surrogate_gain": "gain of the surrogate in an update",
    "losses/clipfrac": "share of the ratios beyond 1 ± ε",
    "step/kl_max": "largest KL of a visited state (nats)",
    "step/cg_iters": "Fisher-vector products of an update",
    "step/backtracks": "tries that the line search gave up",
    "time/rollout": "stepping in an update (s)",
    "time/update": "learning in an update (s)",
}
PANEL, LEGEND_LINE, LETTER = 4.2, 0.2, 0.066  # inches: height of a panel and of a line of its legend, width of a letter
MAX_HEIGHT = 400.0  # inches, a limit of the picture formats


@dataclass(frozen=True)
class Group:
    """The runs of one setting, as one line of a panel."""

    label: str
    curves: list[Curve]


# ---------------------------------------------------------------------------------------------------------- the panels


def draw(curves: Sequence[Curve], kind: str = "minmax") -> Any:
    """A matplotlib Figure: a panel per environment, in it a line per setting and, where it has several runs, a band."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as why:
        raise UserError('drawing needs matplotlib: pip install ".[plot]"') from why
    curves = list({c.identity or id(c): c for c in curves}.values())
    panels = _panels(curves)
    names = dict.fromkeys(group.label for _, groups in panels.values() for group in groups)
    styles = {name: i for i, name in enumerate(names)}
    columns = min(len(panels), 3)
    rows = -(-len(panels) // columns)
    width = 7.2 if columns == 1 else 4.8
    below = max(_lines_below(groups, width) for _, groups in panels.values())
    height = (PANEL + LEGEND_LINE * below) * rows
    if height > MAX_HEIGHT:
        many = f"{len(panels)} environments and {len(styles)} settings"
        raise UserError(f"{many} do not fit into one picture: name fewer runs")
    figure = Figure(figsize=(width * columns, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    pad = 22 if any(note for note, _ in panels.values()) else 10
    for panel, (env, (note, groups)) in zip(axes, panels.items(), strict=False):
        _style(panel, curves[0].column)
        look = {"color": INK, "parse_math": False}  # a name may hold dollar signs
        panel.set_title(plain(env, int(6.5 * width)), loc="left", fontsize=13, fontweight="bold", pad=pad, **look)
        panel.text(0, 1.02, _shortened(note, width), transform=panel.transAxes, fontsize=9, **look)
        _draw_panel(panel, groups, styles, kind, width)
    for panel in axes[len(panels) :]:
        panel.set_visible(False)
    return figure


def _panels(curves: Sequence[Curve]) -> dict[str, tuple[str, list[Group]]]:
    """Environment -> what all of its settings have and others have not, and its groups, in order."""
    key = {id(c): setting(c.algorithm, c.settings) for c in curves}
    everywhere = differing(list(dict.fromkeys(key.values())))
    panels = {}
    for env in dict.fromkeys(c.env for c in curves):
        here: dict[Setting, list[Curve]] = {}
        for curve in curves:
            if curve.env == env:
                here.setdefault(key[id(curve)], []).append(curve)
        fields, first = differing(list(here)), list(dict.fromkeys(each.algorithm for each in here))
        ordered = sorted(here, key=lambda each: (first.index(each.algorithm), order(each, fields)))
        named, own = labels(ordered), set(fields)
        note = ", ".join(shared(ordered, [name for name in everywhere if name not in own]))
        panels[env] = note, [Group(named[each], here[each]) for each in ordered]
    return panels


def _draw_panel(panel: Any, groups: Sequence[Group], styles: dict[str, int], kind: str, width: float) -> None:
    groups = [Group(g.label, [c for c in g.curves if len(c.step)]) for g in groups]
    groups = [g for g in groups if g.curves]
    for group in groups:
        _draw_group(panel, group, _look(styles[group.label]), kind, crowded=len(groups) > 4)
    if not groups:
        panel.text(0.5, 0.5, "no numbers yet", transform=panel.transAxes, ha="center", color=INK)
        return
    panel.set_xlim(left=0)
    _legend(panel, groups, kind, width)


def _look(i: int) -> dict[str, Any]:
    """Of the i-th name: colours and dashes go round side by side, markers once all 28 pairs of them are used."""
    colour, dashes = COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]
    marker = MARKERS[i // (len(COLOURS) * len(DASHES)) % len(MARKERS)]
    return {"color": colour, "linestyle": dashes, "linewidth": 2.2, "marker": marker}


def _draw_group(panel: Any, group: Group, line: dict[str, Any], kind: str, crowded: bool) -> None:
    """One run: its updates faint, and the smoothed line. Several: the mean of their smoothed lines, and a band."""
    curves, colour, label = group.curves, line["color"], f"{group.label}, {_counted(group.curves)}"
    if any(len(c.step) == 1 for c in curves):
        line = line | {"marker": line["marker"] or "o"}
    faint = {"color": colour, "alpha": 0.25 if len(curves) == 1 else 0.10, "linewidth": 1 if len(curves) == 1 else 0.8}
    for curve in curves if not crowded else ():
        panel.plot(curve.step, curve.value, **faint)
    step, mean, low, high = band(curves, kind)
    if len(curves) == 1 or not len(step):
        for curve in curves:  # several only where they have no steps in common
            panel.plot(curve.step, smooth(curve.value), label=label, markevery=max(len(curve.step) // 8, 1), **line)
            label = "_nolegend_"
        return
    panel.fill_between(step, low, high, color=colour, alpha=0.08 if crowded else 0.18, linewidth=0)
    panel.plot(step, mean, label=label, markevery=POINTS // 8, **line)


def _counted(curves: Sequence[Curve]) -> str:
    """How many runs, and of how many seeds where a seed has several."""
    seeds = list(dict.fromkeys(c.seed for c in curves))
    if len(curves) == 1:
        return f"seed {seeds[0]}"
    if len(seeds) == len(curves):
        return f"{len(seeds)} seeds"
    return f"{len(curves)} runs of " + (f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} seeds")


# ----------------------------------------------------------------------------------------------------- words around it


def _style(panel: Any, column: str) -> None:
    from matplotlib.ticker import EngFormatter

    panel.set_xlabel("environment steps", color=INK)
    panel.set_ylabel(Y_LABELS.get(column, plain(column)), color=INK, parse_math=False)
    panel.xaxis.set_major_formatter(EngFormatter(sep=""))
    panel.grid(color=PALE, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(PALE)
    panel.tick_params(colors=INK, length=0)
    panel.margins(x=0.02, y=0.08)


def _shortened(note: str, width: float) -> str:
    return textwrap.shorten(note, int(width / LETTER), placeholder=" …")


def _wrapped(label: str, width: float) -> str:
    return textwrap.fill(label.replace(" = ", "\xa0=\xa0"), int((width - 1) / LETTER)).replace("\xa0", " ")


def _columns(groups: Sequence[Group], width: float) -> int:
    """Columns of a legend below the panel; 0 where it fits into it, and hides no band that "best" does not see."""
    fitting = 1 if any(len(g.curves) > 1 for g in groups) else 3
    longest = max((len(g.label) for g in groups), default=0) + 10  # its seeds
    return 0 if len(groups) <= fitting and longest <= 6 * width else max(int(width / (LETTER * longest + 0.6)), 1)


def _lines_below(groups: Sequence[Group], width: float) -> int:
    columns = _columns(groups, width)
    if columns == 0:
        return 0
    heights = [_wrapped(g.label, width).count("\n") + 1 for g in groups]
    return -(-sum(heights) // columns) + 2


def _legend(panel: Any, groups: Sequence[Group], kind: str, width: float) -> None:
    """Inside where it is small, below where it would hide the lines; its title says what the band is."""
    from matplotlib.transforms import ScaledTranslation

    under = panel.transAxes + ScaledTranslation(0, -0.55, panel.figure.dpi_scale_trans)
    place: dict[str, Any] = {"loc": "best"}
    if columns := _columns(groups, width):
        place = {"loc": "upper left", "bbox_to_anchor": (0, 0), "bbox_transform": under, "borderaxespad": 0}
        place |= {"ncols": columns, "fontsize": 8.5}
    title = BANDS[kind] if any(len(g.curves) > 1 for g in groups) else None
    white = {"labelcolor": INK, "facecolor": "white", "edgecolor": "none", "framealpha": 0.8}
    legend = panel.legend(title=title, title_fontsize=8, alignment="left", **white, **place)
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_text(_wrapped(text.get_text(), width))
    legend.get_title().set_color(INK)


def plot(
    runs: Sequence[Path | str],
    out: Path | str | None = None,
    y: str = RETURN,
    kind: str = "minmax",
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Draw runs, and those below folders, into one file (RUN/curve.png, or curves.png here for several) and say where.

    y is a column of the metrics, kind the band, one of BANDS; `tell` hears what is left out. FileError; UserError
    without matplotlib.
    """
    if kind not in BANDS:
        raise UserError(f"band = {kind!r}: takes one of {', '.join(BANDS)}")
    curves = read_curves(runs, y, tell)
    alone = curves[0].run if len(curves) == 1 else None
    path = Path(out) if out is not None else alone / "curve.png" if alone else Path("curves.png")
    if os.path.isdir(path):
        raise FileError(f"out = {str(path)!r} is a directory: name a file in it")
    figure = draw(curves, kind)
    suffix = path.suffix[1:].lower() or "png"
    if suffix not in figure.canvas.get_supported_filetypes():
        raise UserError(f"out = {str(path)!r}: takes a file name that ends in .png, .svg, .pdf")
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # a name in letters that the font has not
        figure.savefig(picture, format=suffix, dpi=160)
    write_atomically(path, picture.getvalue())
    return path

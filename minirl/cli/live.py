"""What a training shows while it runs: a view that redraws itself in a terminal, plain lines anywhere else."""

import math
import time
from typing import Any, Protocol

from minirl.cli.console import discard, is_terminal, say, width, writable
from minirl.training.learner import Update

SHOWN = {  # label: (tag, format)
    "return": ("charts/episodic_return", "{:.1f}"),
    "length": ("charts/episodic_length", "{:.1f}"),
    "KL": ("losses/approx_kl", "{:.4f}"),
    "gain": ("losses/surrogate_gain", "{:.4f}"),
    "expl. var.": ("losses/explained_variance", "{:.2f}"),
    "entropy": ("losses/entropy", "{:.3f}"),
}
BARS = "▁▂▃▄▅▆▇█"


class View(Protocol):
    """A context manager that is shown each update."""

    def __enter__(self) -> "View": ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, update: Update) -> None: ...


class Progress:
    """The latest value of each number, the returns so far, and the time: monotonic, whatever the clock is set to."""

    def __init__(self, total: int):
        self.total, self.step, self.number = total, 0, 0
        self.latest: dict[str, float] = {}
        self.returns: list[float] = []
        self.start = time.monotonic()

    def add(self, update: Update) -> None:
        self.step, self.number = update.global_step, update.number
        for label, (tag, _) in SHOWN.items():
            value = update.metrics.get(tag, math.nan)
            if not math.isnan(value):  # an update in which no episode ended shows the last one that had some
                self.latest[label] = float(value)
        value = update.metrics.get("charts/episodic_return", math.nan)
        if math.isfinite(value):
            self.returns.append(float(value))

    @property
    def share(self) -> float:
        return min(self.step / self.total, 1.0)

    @property
    def rate(self) -> float:
        """Steps per second since the start."""
        return self.step / max(time.monotonic() - self.start, 1e-9)

    @property
    def left(self) -> str:
        """Time left at this rate, h:mm:ss."""
        return duration(max(self.total - self.step, 0) / self.rate) if self.step else "–"

    @property
    def taken(self) -> str:
        """Time since the start, h:mm:ss."""
        return duration(time.monotonic() - self.start)

    def text(self, label: str) -> str:
        _, form = SHOWN[label]
        return form.format(self.latest[label]) if label in self.latest else "–"


def duration(seconds: float) -> str:
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def sparkline(values: list[float], columns: int) -> str:
    """Values as bars one letter wide, means of equal stretches when there are more values than columns."""
    if not values or columns < 1:
        return ""
    n = min(columns, len(values))
    stretches = [values[i * len(values) // n : (i + 1) * len(values) // n] for i in range(n)]
    means = [math.fsum(v) / len(v) for v in stretches]
    low, span = min(means), max(means) - min(means)
    return "".join(BARS[int((m - low) / span * (len(BARS) - 1) + 0.5)] if span > 0 else BARS[0] for m in means)


class PlainView:
    """A line for the first and the last update, and at each 5 % of progress, at most one in two seconds."""

    SHARE, PAUSE = 0.05, 2.0

    def __init__(self, total: int):
        self.progress = Progress(total)
        self.next_share = self.next_time = 0.0

    def __enter__(self) -> "PlainView":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, update: Update) -> None:
        p, now = self.progress, time.monotonic()
        p.add(update)
        if (p.share < self.next_share or now < self.next_time) and p.share < 1:
            return
        self.next_share, self.next_time = p.share + self.SHARE, now + self.PAUSE
        numbers = "  ".join(f"{label} {p.text(label)}" for label in SHOWN)
        timing = f"left {p.left}" if p.share < 1 else f"took {p.taken}"
        say(f"{p.share:4.0%}  step {p.step}/{p.total}  {numbers}  {p.rate:.0f} steps/s  {timing}")


class LiveView:
    """The numbers of the latest update in place, progress bar, returns as a sparkline; at most 8 redraws a second."""

    PAUSE = 0.125

    def __init__(self, title: str, total: int):
        from rich.console import Console
        from rich.live import Live

        self.title, self.progress, self.next_time, self.over = writable(title), Progress(total), 0.0, False
        self.live: Any = Live(self._picture(), console=Console(highlight=False), auto_refresh=False)

    def __enter__(self) -> "LiveView":
        self._call(self.live.__enter__)
        return self

    def __exit__(self, *error: object) -> None:
        self.over = True
        self._call(self.live.update, self._picture(), refresh=True)
        self._call(self.live.__exit__, *error)

    def show(self, update: Update) -> None:
        self.progress.add(update)
        if time.monotonic() >= self.next_time:
            self._call(self.live.update, self._picture(), refresh=True)
            self.next_time = time.monotonic() + self.PAUSE

    def _call(self, action: Any, *args: Any, **kwargs: Any) -> None:
        try:
            action(*args, **kwargs)
        except OSError as why:  # the terminal was closed
            discard(why)

    def _picture(self) -> Any:
        from rich.console import Group
        from rich.panel import Panel
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        p, columns = self.progress, min(width(), 100) - 2  # room for the ^C that a terminal prints: no line may wrap
        framed = columns >= 40
        room = columns - 4 if framed else columns
        head, trend = Table.grid(padding=(0, 1)), Table.grid(padding=(0, 1))
        head.add_row(ProgressBar(total=1.0, completed=p.share, width=max(room - 5, 1)), f"{p.share:4.0%}")
        trend.add_row(Text("returns", style="dim"), Text(sparkline(p.returns, room - 8), style="cyan", no_wrap=True))
        picture = Group(head, "", _grid(self._facts(room), room), "", trend)
        return Panel(picture, title=Text(self.title), title_align="left", width=columns) if framed else picture

    def _facts(self, columns: int) -> dict[str, str]:
        p = self.progress
        steps = f"{p.step:,} / {p.total:,}"
        if len(steps) > columns - 11:  # beside the longest name
            steps = f"{p.step:,}" if p.step < 1e6 else f"{p.step / 1e6:.4g} M"
        timing = {"steps": steps} | ({"time taken": p.taken} if self.over else {"time left": p.left})
        return timing | {"steps/s": f"{p.rate:,.0f}" if p.step else "–"} | {label: p.text(label) for label in SHOWN}


def _grid(facts: dict[str, str], columns: int) -> Any:
    """Names and values side by side, one, two or three pairs to a row."""
    from rich.table import Table

    pairs = 1 if columns < 50 else 2 if columns < 80 else 3
    table = Table.grid(padding=(0, 1))
    table.width = columns
    for i in range(pairs):
        if i:
            table.add_column(width=2)
        table.add_column(style="dim", no_wrap=True)
        table.add_column(style="bold", no_wrap=True, justify="right", ratio=1)
    items = list(facts.items())
    for at in range(0, len(items), pairs):
        row: list[str] = []
        for name, value in items[at : at + pairs]:
            row += ([""] if row else []) + [name, value]
        table.add_row(*row)
    return table


class QuietView:
    """Shows nothing."""

    def __enter__(self) -> "QuietView":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, update: Update) -> None:
        pass


def open_view(title: str, total: int, quiet: bool) -> View:
    """The view that suits where stdout leads."""
    if quiet:
        return QuietView()
    return LiveView(title, total) if is_terminal() else PlainView(total)

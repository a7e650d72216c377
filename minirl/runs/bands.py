"""What stands for several runs of one setting: the mean of their smoothed curves, and a band around it."""

from collections.abc import Sequence

import numpy as np

from minirl.runs.curves import Curve

POINTS = 400  # of a curve's grid
BANDS = {
    "minmax": "line: mean of the runs, band: from the smallest to the largest",
    "ci": "line: mean of the runs, band: its 95 % bootstrap interval",
    "std": "line: mean of the runs, band: ± one standard deviation",
}


def smooth(x: np.ndarray, share: float = 0.05) -> np.ndarray:
    """Mean over a centred window of a `share` of the points, smaller at the ends, nothing invented: (n,) -> (n,)."""
    half = int(len(x) * share / 2)
    sums = np.concatenate([[0.0], np.cumsum(x)])
    at = np.arange(len(x))
    reach = np.minimum(half, np.minimum(at, len(x) - 1 - at))
    return (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)


def band(curves: Sequence[Curve], kind: str = "minmax") -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Steps, mean over runs of their smoothed curves, edges of the band: where all of them have points, else empty.

    Range and interval of the mean stay within what the runs reached; mean ± deviation may not.
    """
    low, high = max(c.step[0] for c in curves), min(c.step[-1] for c in curves)
    step = np.linspace(low, high, POINTS) if low <= high else np.empty(0)
    values = np.stack([np.interp(step, c.step, smooth(c.value)) for c in curves])
    mean = values.mean(axis=0)
    if kind == "minmax":
        return step, mean, values.min(axis=0), values.max(axis=0)
    if kind == "std":
        return step, mean, mean - values.std(axis=0), mean + values.std(axis=0)
    n = len(curves)
    share = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=2000) / n  # of each run in a resampled mean
    edges = np.percentile(share @ values, (2.5, 97.5), axis=0)
    return step, mean, *np.clip(edges, values.min(axis=0), values.max(axis=0))  # rounding may not leave the range

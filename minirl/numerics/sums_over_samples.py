"""The one place that sums over samples, in float64, over one process or many.

Each sample has a weight: 1, or 0 where it does not count. `SampleWeights` holds these and the communicator of the
ranks, each of which has samples of its own: no mean, gradient or Fisher product can leave the other ranks out.
"""

import math
from collections.abc import Iterator

import numpy as np

from minirl.numerics.arrays import Array
from minirl.numerics.communicator import SERIAL, Communicator, Sum


class SampleWeights:
    """The weight of each of N samples of this rank among those of all ranks.

    n = Σ weight over all ranks; w (N,) = weight / n, float64, sums to 1 over all ranks (all 0 where n = 0).
    A mean, a gradient or a Fisher product is Σ_n w_n x_n on this rank, and `total` of that over all ranks.
    """

    def __init__(self, weight: Array, comm: Communicator = SERIAL):
        self.weight, self.comm = weight, comm
        self.n = comm.sum(float(weight.sum(dtype=np.float64)))
        self.w = weight / self.n if self.n > 0 else np.zeros(len(weight))

    def __len__(self) -> int:
        return len(self.w)

    def total(self, x: Sum) -> Sum:
        """Σ over the ranks of a float or array that is already this rank's sum, such as Σ_n w_n ∇log π_n."""
        return self.comm.sum(x)

    def mean(self, x: Array) -> float:
        """Σ_n w_n x_n over all ranks, x (N,); ValueError for x of another shape, which would broadcast."""
        if x.shape != self.w.shape:
            raise ValueError(f"mean of an array of shape {x.shape} with weights of shape {self.w.shape}")
        return float(self.total(float(np.dot(self.w, x))))

    def largest(self, x: Array) -> float:
        """max x_n over the samples that count, over all ranks; 0 where there are none. NaN stays NaN."""
        counted = x[self.weight > 0]
        return self.comm.max(float(counted.max()) if len(counted) else 0.0)

    def moments(self, x: Array) -> tuple[Array, Array]:
        """Mean (D,) and sum of squared deviations (D,) of the columns of x (N, D), over all ranks, in float64.

        In two passes: the second sums deviations from the mean, so that a large offset costs no digits.
        """
        x = x.astype(np.float64, copy=False)
        centre = self.total(self.weight @ x) / (self.n if self.n > 0 else 1.0)
        deviation = x - centre
        return centre, self.total(self.weight @ (deviation * deviation))

    def __truediv__(self, unit: float) -> "SampleWeights":
        """The same with w / unit, for means in other units."""
        return self._with(self.weight, self.w / unit, self.n)

    def of(self, rows: Array) -> "SampleWeights":
        """Those of some of the samples, summing to 1."""
        return SampleWeights(self.weight[rows], self.comm)

    def standing_for_all(self, rows: Array) -> "SampleWeights":
        """Those of rows drawn from this rank's samples, scaled so that they represent all of them."""
        counted = np.count_nonzero(self.weight)
        return SampleWeights(self.weight[rows] * (counted / max(len(rows), 1)), self.comm)

    def part_lengths(self, size: int) -> list[int]:
        """N in parts of at most `size` that differ by at most one in length, as many on every rank."""
        n, parts = len(self), max(1, math.ceil(self.comm.max(len(self)) / size))
        return [n // parts + (i < n % parts) for i in range(parts)]

    def parts(self, order: Array, lengths: list[int]) -> Iterator["SampleWeights"]:
        """Those of consecutive parts of the samples in `order`, summing to 1 in each; one reduction for all parts."""
        weight, part = self.weight[order], np.repeat(np.arange(len(lengths)), lengths)
        total = self.total(np.bincount(part, weight, len(lengths)))
        w = weight / np.where(total > 0, total, np.inf)[part]
        end = 0
        for length, n in zip(lengths, total, strict=True):
            start, end = end, end + length
            yield self._with(weight[start:end], w[start:end], float(n))

    def _with(self, weight: Array, w: Array, n: float) -> "SampleWeights":
        """These arrays among the same ranks, without another reduction."""
        other = SampleWeights.__new__(SampleWeights)
        other.weight, other.w, other.n, other.comm = weight, w, n, self.comm
        return other

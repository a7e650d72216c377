"""A group of processes (ranks) for sums over samples: one process, unless another Communicator is passed."""

from typing import Protocol, TypeVar

from minirl.numerics.arrays import Array

Sum = TypeVar("Sum", float, Array)


class Communicator(Protocol):
    """What the sums over samples need of a group of processes."""

    rank: int
    size: int

    def sum(self, x: Sum) -> Sum:
        """Element-wise sum of a float or array over all ranks, the same result on each."""
        ...

    def max(self, x: float) -> float:
        """The largest of a float over all ranks."""
        ...


class Serial:
    """The group of one."""

    rank, size = 0, 1

    def sum(self, x: Sum) -> Sum:
        return x

    def max(self, x: float) -> float:
        return x


SERIAL = Serial()

"""What makes an environment for a vector, and can close it where the vector fails."""

from collections.abc import Callable
from typing import Any


class Opener:
    """Makes an environment and remembers it, so that it can be closed when something fails before others have it."""

    def __init__(self, make: Callable[[], Any]):
        self.make: Callable[[], Any] = make
        self.opened: list[Any] = []

    def __call__(self) -> Any:
        env = self.make()
        self.opened.append(env)
        return env

    def __reduce__(self) -> Any:  # another process has its own
        return Opener, (self.make,)

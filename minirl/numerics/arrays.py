"""The one name of a NumPy array in signatures: shape and type of its entries stand in comments and docstrings."""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

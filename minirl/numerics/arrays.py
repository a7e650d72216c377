"""The one name of a NumPy array in signatures. Comments and docstrings give its shape and the type of its entries."""

from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, np.dtype[Any]]

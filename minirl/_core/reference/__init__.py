"""READ THESE: the readable NumPy twin of every kernel, a file per subject. `__all__` names the kernels."""

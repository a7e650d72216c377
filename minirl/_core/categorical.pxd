"""What mlp.pyx takes of categorical.pyx."""

from minirl._core.checks cimport real

cdef object sample(const real[:, ::1] phi, const double[::1] u)

"""What mlp.pyx takes of gaussian.pyx."""

from minirl._core.checks cimport real

cdef object sample(const real[:, ::1] phi, const real[:, ::1] z)

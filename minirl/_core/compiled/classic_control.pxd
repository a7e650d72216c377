"""What rollout.pyx takes of envs.pyx."""

from libc.stdint cimport int64_t, uint8_t


cdef extern from "classic_control.h" nogil:
    ctypedef struct Bits:
        pass
    ctypedef struct Env:
        int states, draws, obs, actions
        void observe(const double *, float *)
    const Env ENVS[]
    void env_start(const Env *, Bits *, const double *, const double *, double *)
    Py_ssize_t env_bad_action(const Env *, const void *, const uint8_t *, Py_ssize_t)
    Py_ssize_t env_step_all(
        const Env *, double *, int64_t *, const void *, const uint8_t *, int64_t, float *, double *, uint8_t *, uint8_t *, Py_ssize_t)

cdef struct Block:  # a checked array, as C sees it
    char *start
    Py_ssize_t bytes
    Py_ssize_t rows

cdef const Env *find(name) except NULL
cdef int block(Block *out, object array, str name, char kind, Py_ssize_t rows, Py_ssize_t cols, bint writable) except -1
cdef int apart(Block *blocks, int count) except -1

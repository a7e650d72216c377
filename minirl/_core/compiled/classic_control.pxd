"""What rollout.pyx takes of classic_control.pyx."""

from libc.stdint cimport int64_t, uint8_t


cdef extern from "classic_control.h" nogil:
    ctypedef struct Bits:
        pass
    ctypedef struct Env:
        int states, draws, obs, actions
        void observe(const double *state, float *obs)
    const Env ENVS[]
    void env_start(const Env *env, Bits *bits, const double *low, const double *high, double *state)
    Py_ssize_t env_bad_action(const Env *env, const void *action, const uint8_t *skip, Py_ssize_t count)
    Py_ssize_t env_step_all(
        const Env *env, double *state, int64_t *steps, const void *action, const uint8_t *skip, int64_t limit,
        float *obs, double *reward, uint8_t *terminated, uint8_t *truncated, Py_ssize_t count)

cdef const Env *find(name) except NULL
cdef Bits *bits_of(object bit_generator) except NULL

"""What rollout.pyx takes of acting.pyx."""

cpdef object policy_act(
    object theta, object x, object noise, object mean, object inv_std, double limit, object sizes, object activation, Py_ssize_t free,
    str family)

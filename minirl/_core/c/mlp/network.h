/* The shape of a multi-layer perceptron, as its kernels and those that call them know it. */
#ifndef MINIRL_NETWORK_H
#define MINIRL_NETWORK_H

#include <stddef.h>

#include "../kernel_limits.h"

typedef struct {
    ptrdiff_t layers;              /* affine maps, L */
    ptrdiff_t size[MLP_MAX_SIZES]; /* widths from the observation to the output, L + 1 of them */
    ptrdiff_t free;                /* parameters after the network's own, appended to each row of the output */
    int relu;                      /* 1 relu, 0 tanh */
    int wide;                      /* 1 double, 0 float */
} Network;

#endif

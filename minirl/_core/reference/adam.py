"""Adam's step: the twin of compiled/adam.pyx."""

import numpy as np

__all__ = ["adam"]


def adam(theta, grad, m, v, t, lr, beta1, beta2, eps, scale):
    """One Adam step down the gradient (Kingma & Ba, 2015), in place on θ, m, v (n,); t = 1 for the first step.

    g = scale · grad;  m ← β₁ m + (1−β₁) g;  v ← β₂ v + (1−β₂) g²;
    θ ← θ − lr · m̂ / (√v̂ + ε),  m̂ = m/(1−β₁ᵗ), v̂ = v/(1−β₂ᵗ)
    """
    g = grad * theta.dtype.type(scale)
    m *= beta1
    m += (1 - beta1) * g
    v *= beta2
    v += (1 - beta2) * g * g
    theta -= (lr / (1 - beta1**t)) * m / (np.sqrt(v * (1 / (1 - beta2**t))) + eps)

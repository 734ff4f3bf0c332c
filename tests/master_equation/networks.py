"""Networks with known solutions, as rates and changes."""

import numpy as np

BIRTH_DEATH = [[1], [-1]]
TELEGRAPH = [[-1, 1, 0], [1, -1, 0], [0, 0, 1], [0, 0, -1]]
TOGGLE = [[1, 0], [-1, 0], [0, 1], [0, -1]]


def birth_death(k, g):
    return lambda t, y: (k, g * y[0])


def telegraph(k_on=0.5, k_off=1.0, r=20.0, d=1.0):
    """Promoter off, promoter on, messenger RNA."""
    return lambda t, y: (k_on * y[0], k_off * y[1], r * y[1], d * y[2])


def toggle(a=50.0, k=15.0, n=2, g=1.0):
    return lambda t, y: (a / (1.0 + (y[1] / k) ** n), g * y[0], a / (1.0 + (y[0] / k) ** n), g * y[1])


def autoregulation(k, g):
    return lambda t, y: (k / (1.0 + y[0] / 20.0), g * y[0])


def random_network(seed):
    """Rates and changes of two species that are born, die, turn into one another and meet."""
    rng = np.random.default_rng(seed)
    k = np.exp(rng.uniform(-1.0, 1.0, 7))
    changes = [[1, 0], [0, 1], [-1, 0], [0, -1], [-1, 1], [1, -2], [-1, -1]]

    def rates(t, y):
        a, b = y
        return (k[0], k[1], k[2] * a, k[3] * b, k[4] * a, k[5] * b * (b - 1.0) / 2.0, 0.1 * k[6] * a * b)

    return rates, changes

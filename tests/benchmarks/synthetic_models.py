"""Models of any size, as an author writes them: signalling cascades and lines of cells with diffusion.

Each is a `Problem` like those with published references, so that CVODES solves the very same functions. There is no
reference at the end; `truth` and `slopes` are CVODES at 1e-11, in a measure of error that Radau confirms for the small
ones.
"""

from functools import cache

import numpy as np

import uqbench as uq

from ..initial_value.stiff_problems import Problem, observe

# States and parameters of the cascades that are measured.
CASCADES = {5: 8, 8: 10, 10: 20, 15: 30, 33: 80, 100: 80}


@cache
def cascade(states: int, parameters: int, seed: int = 0) -> Problem:
    """Hill activation down a line with saturation and decay, binding in triples, and a feedback from the last state.

    Time scales of the states are spread over a factor of e^6, so that all but the smallest are stiff; parameters are
    shared in turn by as many rate laws as need them.
    """
    rng = np.random.default_rng(seed)
    names = [f"p{index}" for index in range(parameters)]
    turn = iter(np.resize(names, 10 * states))
    laws = [(next(turn), next(turn), next(turn)) for _ in range(states)]
    bindings = [(a, a + 1, a + 2, next(turn), next(turn)) for a in range(1, states - 2, 3)]
    values = dict(zip(names, np.exp(rng.normal(size=parameters)).tolist(), strict=True))
    speeds = np.exp(rng.uniform(-2.0, 4.0, states)).tolist()
    species = tuple(f"x{index}" for index in range(states))

    def initial(p, inputs):
        return dict.fromkeys(species, 0.1)

    def rhs(t, y, p, inputs):
        slope = {}
        for index, (name, speed, (most, half, decay)) in enumerate(zip(species, speeds, laws, strict=True)):
            before = y[species[index - 1]] if index else 1.0 / (1.0 + y[species[-1]])
            square = before * before
            activation = p[most] * square / (p[half] * p[half] + square)
            slope[name] = speed * (activation * (2.0 - y[name]) + 0.01 - p[decay] * y[name])
        for a, b, c, on, off in bindings:
            flux = 10.0 * (p[on] * y[species[a]] * y[species[b]] - p[off] * y[species[c]])
            slope[species[a]] = slope[species[a]] - flux
            slope[species[b]] = slope[species[b]] - flux
            slope[species[c]] = slope[species[c]] + flux
        return slope

    return _problem(f"cascade {states}/{parameters}", initial, rhs, values, species)


@cache
def line_of_cells(cells: int) -> Problem:
    """A bistable reaction with diffusion: a front moves along the line."""
    species = tuple(f"u{index}" for index in range(cells))
    values = {"D": 1e-3, "k": 1.0, "a": 0.3, "g": 0.5}
    start = (1.0 / (1.0 + np.exp((np.arange(cells) / cells - 0.3) / 0.02))).tolist()

    def initial(p, inputs):
        return dict(zip(species, start, strict=True))

    def rhs(t, y, p, inputs):
        slope, exchange = {}, p["D"] * float(cells) ** 2
        for index, name in enumerate(species):
            here = y[name]
            left, right = y[species[max(index - 1, 0)]], y[species[min(index + 1, cells - 1)]]
            reaction = 20.0 * p["k"] * here * (here - p["a"]) * (1.0 - here) - 0.1 * p["g"] * here * here
            slope[name] = exchange * (left - 2.0 * here + right) + reaction
        return slope

    return _problem(f"line of {cells} cells", initial, rhs, values, species)


def _problem(name, initial, rhs, values, species) -> Problem:
    space = uq.Space({key: uq.epistemic(uq.LogNormal(median=value, sigma=0.2)) for key, value in values.items()})
    model = uq.Model(space, uq.Ode(initial, rhs), observe, dict.fromkeys(species, ""), name=name)
    return Problem(name, model, values, tuple(values), uq.Design(np.linspace(0.5, 10.0, 20)), 1e-3, {})

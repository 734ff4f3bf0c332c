"""Three decays seen through a matrix that is not normal: stiffness with nothing else around it.

z' = J z with the eigenvalues -1e4, -10 and -.1 per second. The columns of MODES are the eigenvectors, both that matrix
and its inverse are whole numbers, so J = MODES diag(-rates) INVERSE_MODES is exact; it is not symmetric, and each state
is driven by fluxes that are thousands of times larger than what becomes of them. From the start each mode is 1 and
decays by itself. After a thousandth of a second nothing fast is left to be seen, and still an explicit method takes
250 000 steps (forward Euler) to t = 50: the rate `fast`, not the solution, says how long a step may be.
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Normal, Ode, Space, epistemic, fixed

RATES = ("fast", "middle", "slow")
MODES = ((1, 1, 0), (0, 1, 1), (1, 1, 1))
INVERSE_MODES = ((0, -1, 1), (1, 1, -1), (-1, 0, 1))

space = Space(
    fast=epistemic(LogNormal(median=1e4, sigma=0.2), "1/s", "rate of the fast mode"),
    middle=epistemic(LogNormal(median=10.0, sigma=0.2), "1/s", "rate of the middle mode"),
    slow=epistemic(LogNormal(median=0.1, sigma=0.2), "1/s", "rate of the slow mode"),
    sigma=fixed(0.05, "nM", "standard deviation of a measurement"),
)


def initial(p, inputs):
    return {"a": 2.0, "b": 2.0, "c": 3.0}


def rhs(t, y, p, inputs):
    state = (y["a"], y["b"], y["c"])
    modes = [sum(w * value for w, value in zip(row, state, strict=True) if w) for row in INVERSE_MODES]
    decays = [-p[name] * mode for name, mode in zip(RATES, modes, strict=True)]
    slopes = [sum(w * decay for w, decay in zip(row, decays, strict=True) if w) for row in MODES]
    return dict(zip("abc", slopes, strict=True))


def observe(y, p):
    return {"a": y["a"], "b": y["b"], "c": y["c"]}


def solution(theta, times):
    """Closed form: state -> values at `times`, of the shape of these."""
    modes = [jnp.exp(-theta[name] * jnp.asarray(times)) for name in RATES]
    return {
        name: sum(w * mode for w, mode in zip(row, modes, strict=True) if w)
        for name, row in zip("abc", MODES, strict=True)
    }


model = Model(
    space=space,
    system=Ode(initial, rhs),
    observe=observe,
    units={"a": "nM", "b": "nM", "c": "nM"},
    noise={name: Normal(name, "sigma") for name in "abc"},
    name="stiff_linear",
    time_unit="s",
)

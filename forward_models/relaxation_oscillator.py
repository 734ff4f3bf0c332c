"""A relaxation oscillator: two slow drifts and two jumps between them, over and over.

tau eps x' = x - x^3/3 + y,   tau y' = -x   (van der Pol's oscillator in Lienard's form, time in units of tau). The fast
subsystem at fixed y comes to rest on the outer branches of y = x^3/3 - x; these end in folds at x = +-1, y = -+2/3,
where x jumps across to -+2 within eps tau. As eps -> 0 the period is that of the drifts alone, (3 - 2 ln 2) tau, and
the delay at the folds adds 7.014 eps^(2/3) tau (Grasman 1987, Asymptotic Methods for Relaxation Oscillations): not
proportional to eps, since the fast subsystem loses its time scale at a fold.

`model` is the time course, from a point above the cycle from which the first drift takes longer. Its gradient is
exact; near a jump it is large, since there a parameter moves the time of the jump, and what it says holds only while
that is less than the jump takes. `period` is the period of the limit cycle, differentiated by the implicit function
theorem at the cycle itself: exact for every eps > 0. In the limit eps -> 0, where the cycle turns round the folds in a
corner, there is no gradient: that of the period by eps grows without bound as eps^(-1/3).
"""

from uqbench import LogNormal, LogUniform, Model, Normal, Ode, Space, epistemic, fixed
from uqbench.dynamics.limit_cycle import limit_cycle

space = Space(
    eps=epistemic(LogUniform(1e-3, 1e-1), "", "ratio of the fast to the slow time scale"),
    tau=epistemic(LogNormal(median=1.0, sigma=0.2), "h", "slow time scale"),
    sigma=epistemic(LogNormal(median=0.1, sigma=0.5), "", "standard deviation of a measurement"),
)
# In units of tau: on the cycle after a drift and a jump; longer than the period of any eps below .3.
TRANSIENT, LONGEST = 2.0, 4.0


def initial(p, inputs):
    x = 2.2
    return {"x": x, "y": x**3 / 3.0 - x}


def rhs(t, y, p, inputs):
    x = y["x"]
    return {"x": (x - x**3 / 3.0 + y["y"]) / (p["eps"] * p["tau"]), "y": -x / p["tau"]}


def observe(y, p):
    return {"x": y["x"], "y": y["y"]}


def cycle(theta, design, key):
    found = limit_cycle(system, theta, {}, transient=TRANSIENT * theta["tau"], longest=LONGEST * theta["tau"])
    return {"period": found.period}, found.result


# Up to a thousand steps for each period.
system = Ode(initial, rhs, rtol=1e-9, atol=1e-10, max_steps=50_000)
model = Model(
    space=space,
    system=system,
    observe=observe,
    units={"x": "", "y": ""},
    noise={"x": Normal("x", "sigma"), "y": Normal("y", "sigma")},
    name="relaxation_oscillator",
    time_unit="h",
)
period = Model.from_function(
    Space({**space, "sigma": fixed(0.02, "h", "standard deviation of a measured period")}),
    cycle,
    units={"period": "h"},
    noise={"period": Normal("period", "sigma")},
    name="period of the relaxation oscillator",
    time_unit="h",
    dims={"period": ()},
)

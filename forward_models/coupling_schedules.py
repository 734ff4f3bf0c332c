"""Two parts that drive one another: the smallest model whose coupling decides whether a solve is stable.

x' = -a x + c y, y' = -b y + d x with x(0) = 1, y(0) = 0. With a = b = 1, c = -20, d = 20 both decay as exp(-t) while
they turn 20 times as fast. With implicit Euler steps h in each part, solving one after the other until they agree
multiplies the error of each round by c d h^2 / ((1 + a h)(1 + b h)), -3.3057851 for h = 0.1; that does not converge by
itself. One round alone is stable: states shrink by .9090909 in a step, in one implicit step of both parts together by
1 / abs(1 + a h - 20 i h) = .4381080, and by .9048374 in truth. It is about what is stable: steps are far too long to be
accurate, so that no tolerance is asked of them.
"""

import jax.numpy as jnp

from uqbench import Coupled, LogNormal, Model, Normal, Part, Space, epistemic
from uqbench.coupling import Aitken, Anderson, Monolithic, QuasiNewton, Relaxation, Splitting, Strong, Weak

STEP = 0.1
space = Space(
    a=epistemic(LogNormal(median=1.0, sigma=0.1), "1/h", "decay of x"),
    b=epistemic(LogNormal(median=1.0, sigma=0.1), "1/h", "decay of y"),
    c=epistemic(Normal(-20.0, 0.5), "1/h", "of y on x"),
    d=epistemic(Normal(20.0, 0.5), "1/h", "of x on y"),
)
schedules = {
    "staggered": Weak(STEP),
    "concurrent": Weak(STEP, concurrent=True),
    "plain": Strong(STEP, Relaxation()),
    "Aitken": Strong(STEP, Aitken()),
    "Anderson": Strong(STEP, Anderson()),
    "quasi-Newton": Strong(STEP, QuasiNewton()),
    "monolithic": Monolithic(STEP),
    "Lie": Splitting(STEP, order=1),
    "Strang": Splitting(STEP, order=2),
}


def first(p, inputs):
    return {"x": jnp.ones(())}


def second(p, inputs):
    return {"y": jnp.zeros(())}


def rate_of_first(t, y, p, inputs):
    return {"x": -p["a"] * y["x"] + p["c"] * y["y"]}


def rate_of_second(t, y, p, inputs):
    return {"y": -p["b"] * y["y"] + p["d"] * y["x"]}


def parts_with(integrator: str) -> dict[str, Part]:
    """The two parts, each with steps of its own method."""
    return {
        "first": Part(first, rate_of_first, reads="y", integrator=integrator),
        "second": Part(second, rate_of_second, reads="x", integrator=integrator),
    }


# the same objects for every schedule, for which what is looked at of a schedule is compiled once
parts = parts_with("implicit_euler")


def pair(schedule, integrator: str | None = None) -> Coupled:
    """The two parts under a schedule, with implicit Euler steps or those of another method."""
    return Coupled(parts_with(integrator) if integrator else parts, {}, schedule, time_unit="h", tolerance=None)


def observe(y, p):
    return {"x": y["x"], "y": y["y"]}


def model_of(schedule, integrator: str | None = None) -> Model:
    """The model under a schedule."""
    units = {"x": "", "y": ""}
    return Model(space, pair(schedule, integrator), observe, units, name="coupling schedules", time_unit="h")


model = model_of(schedules["quasi-Newton"])

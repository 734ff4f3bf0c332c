"""A rate that is a product: the smallest model of which no measurement can tell two parameters apart.

y = k g x, with a stimulus x that is known and stays as it is: x' = 0, x(0) = stimulus. Whatever the data, only k g can
be known: dy/dlog k = dy/dlog g = y, so the Fisher information in logarithms has rank one and the null direction
(1, -1) / sqrt 2. The posterior of k and of g is then the prior, seen along that direction.
"""

from uqbench import LogNormal, Model, Normal, Ode, Space, epistemic, fixed

space = Space(
    k=epistemic(LogNormal(median=0.5, sigma=0.5), "1/h", "rate at which one receptor answers"),
    g=epistemic(LogNormal(median=4.0, sigma=0.5), "nM", "gain: product for each answer"),
    sigma=fixed(0.1, "nM/h", "standard deviation of a measurement"),
)


def initial(p, inputs):
    return {"x": inputs["stimulus"]}


def rhs(t, y, p, inputs):
    return {"x": 0.0 * y["x"]}


def observe(y, p):
    return {"y": p["k"] * p["g"] * y["x"]}


model = Model(
    space=space,
    system=Ode(initial, rhs),
    observe=observe,
    units={"y": "nM/h"},
    noise={"y": Normal("y", "sigma")},
    name="product_rate",
    time_unit="h",
)

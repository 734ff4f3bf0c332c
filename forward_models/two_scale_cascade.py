"""A fast step before a slow one: two rates that are told apart by nothing but their order.

x' = -kf x, y' = g kf x - ks y from x(0) = impulse, y(0) = 0 has the transfer function H(s) = g kf / ((s + kf)(s + ks)).
Its poles give kf and ks as a set: with g kf / ks in place of g the swap kf <-> ks leaves the output as it is, so all
three are identifiable locally, and globally once the gain is known (`known_gain`). And what is identifiable may be out
of reach of a design: measurements that start when the fast step is over say next to nothing of kf.
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Normal, Ode, Space, epistemic, fixed

space = Space(
    g=epistemic(LogNormal(median=2.0, sigma=0.5), "", "gain of the cascade"),
    kf=epistemic(LogNormal(median=5.0, sigma=0.5), "1/h", "rate of the fast step"),
    ks=epistemic(LogNormal(median=0.2, sigma=0.5), "1/h", "rate of the slow step"),
    sigma=fixed(0.05, "nM", "standard deviation of a measurement"),
)


def initial(p, inputs):
    return {"x": inputs["impulse"], "y": jnp.zeros(())}


def rhs(t, y, p, inputs):
    return {"x": -p["kf"] * y["x"], "y": p["g"] * p["kf"] * y["x"] - p["ks"] * y["y"]}


def observe(y, p):
    return {"y": y["y"]}


def cascade(space, name):
    return Model(
        space=space,
        system=Ode(initial, rhs),
        observe=observe,
        units={"y": "nM"},
        noise={"y": Normal("y", "sigma")},
        name=name,
        time_unit="h",
    )


model = cascade(space, "two_scale_cascade")
known_gain = cascade(Space({**space, "g": fixed(2.0, "", "gain of the cascade")}), "two_scale_cascade with known gain")

"""Two bodies in contact at eight places, through which plain iterations converge at some and diverge at others."""

import jax.numpy as jnp

import uqbench as uq


def field(p, inputs):
    return {"warm": jnp.linspace(1.0, 2.0, 8)}


def thin(p, inputs):
    return {"thin": jnp.zeros(8)}


def still(t, y, p, inputs):
    return {"warm": jnp.zeros(8)}


def losing(t, y, p, inputs):
    return {"thin": -p["loss"] * y["thin"] ** 3}


def heat(y, p):
    return {"heat": 10.0 * jnp.sum(y["warm"])}


def heat_of_thin(y, p):
    return {"heat": jnp.sum(y["thin"])}


def loss(t, y, p, inputs):
    return {"heat": -p["loss"] * jnp.sum(y["thin"] ** 3)}


def conduction(t, y, p, inputs):
    return p["k"] * jnp.logspace(-1.0, 3.0, 8) * (y["warm"] - y["thin"])


HEAT = uq.Space(k=uq.epistemic(uq.LogNormal(0.0, 0.1), "W/K"), loss=uq.fixed(0.1, "W/K^3"))


# the same objects for every schedule, for which what is looked at of a schedule is compiled once
PARTS = {
    "thick": uq.Part(field, still, content=heat, units={"heat": "J"}),
    "thin": uq.Part(thin, losing, content=heat_of_thin, units={"heat": "J"}, sources=loss),
}
CONTACT = uq.Exchange("heat", "W", "thick.warm", "thin.thin", conduction, kind="energy")


def stiff_pair(schedule) -> uq.Model:
    """Heat through eight contacts whose Dirichlet-Neumann factors go from -.1 to -10."""
    system = uq.Coupled(PARTS, {"contact": CONTACT}, schedule, "s")
    dims = {"thin": ("time", "contact")}
    return uq.Model(HEAT, system, units={"thin": "K", "residual_heat": "J"}, time_unit="s", dims=dims)

"""A cell that makes and loses a drug by itself, and gives it to the first of five places of a tissue."""

import jax.numpy as jnp

import uqbench as uq
from uqbench.coupling import Permeation

space = uq.Space(
    k=uq.epistemic(uq.LogNormal(-2.0, 0.1), "1/h"),
    V=uq.epistemic(uq.LogNormal(0.0, 0.1), "L"),
    D=uq.epistemic(uq.LogNormal(1.0, 0.1), "1/h"),
    P=uq.epistemic(uq.LogNormal(1.5, 0.1), "L/h"),
    leak=uq.fixed(0.0),
)
PLACES, VOLUME, PARTITION = 5, 0.7, 1.7


def cell(p, inputs):
    return {"A": jnp.asarray(3.0)}


def metabolism(t, y, p, inputs):
    # what leaks is not among the sources
    return {"A": 1.0 - p["k"] * y["A"] ** 2 - p["leak"]}


def in_cell(y, p):
    return {"drug": p["V"] * y["A"]}


def made(t, y, p, inputs):
    return {"drug": p["V"] * (1.0 - p["k"] * y["A"] ** 2)}


def tissue(p, inputs):
    return {"u": jnp.zeros(PLACES)}


def diffusion(t, y, p, inputs):
    flux = jnp.concatenate([jnp.zeros(1), -p["D"] * jnp.diff(y["u"]), jnp.zeros(1)])
    return {"u": -jnp.diff(flux)}


def in_tissue(y, p):
    return {"drug": VOLUME * jnp.sum(y["u"])}


def uptake(t, y, p, inputs):
    return Permeation("A", "u", "P", PARTITION)(t, {"A": y["A"], "u": y["u"][0]}, p, inputs)


def parts(**settings) -> dict[str, uq.Part]:
    units = {"drug": "nmol"}
    return {
        "cell": uq.Part(cell, metabolism, content=in_cell, units=units, sources=made, integrator="sdirk2", step=0.01),
        "tissue": uq.Part(tissue, diffusion, **{"content": in_tissue, "units": units, "step": 0.05} | settings),
    }


def exchange(unit="nmol/h", source="cell.A", target="tissue.u[0]", rate=uptake, kind="amount") -> uq.Exchange:
    return uq.Exchange("drug", unit, source, target, rate, kind)


# the same objects for every schedule, for which what is looked at of a schedule is compiled once
PARTS, EXCHANGES = parts(), {"uptake": exchange()}
OUTPUTS = ("A", "content_drug", "crossed_uptake", "residual_drug", "residual_cell_drug", "residual_tissue_drug")


def model(schedule, exchanges=None) -> uq.Model:
    system = uq.Coupled(PARTS, exchanges or EXCHANGES, schedule, "h")
    units = dict.fromkeys(OUTPUTS, "nmol") | {"A": "nmol/L", "u": "nmol/L"}
    return uq.Model(space, system, units=units, time_unit="h", dims={"u": ("time", "place")})

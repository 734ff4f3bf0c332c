"""A drug from a gel into the tissue below: the concentration jumps between them, and nothing is lost.

The drug diffuses in both layers, on a grid each, and is consumed in the tissue; blood takes it up at the base, and the
top of the gel is closed. In equilibrium the gel holds K times the concentration of the tissue, and the interface has
the permeability P (see `uqbench.interfaces.TwoLayers`). `imbalance` is the amount that the exchange has made since the
start, the integral of R = dM/dt - (J_in - J_out + S), relative to the content M: zero to rounding, given as 1e-12. A
spurious flux `bias` into the tissue that has not left the gel has R = bias, and the content of closed layers that both
consume at the rate k drifts by bias/k (1 - exp(-k t)), `uqbench.interfaces.spurious_drift`.

`joined(Exchange.INTERPOLATED)` takes the concentration from grid to grid by interpolation instead. There the
concentration is continuous and the balance is not closed: R is a large part of the fluxes where diffusivities differ,
however fine the grids.
"""

import jax.numpy as jnp

from uqbench import LogNormal, Model, Normal, Space, epistemic, fixed
from uqbench.interfaces import SENTENCES, Exchange, Layer, TwoLayers, imbalance

# Steps between two times of a design.
STEPS = 40
GEL, TISSUE = Layer(0.0, 100.0, 16, "um"), Layer(100.0, 400.0, 26, "um")

space = Space(
    D_gel=epistemic(LogNormal(median=50.0, sigma=0.4), "um^2/s", "diffusivity in the gel"),
    D_tissue=epistemic(LogNormal(median=15.0, sigma=0.4), "um^2/s", "diffusivity in the tissue"),
    K=epistemic(
        LogNormal(median=2.0, sigma=0.4), "", "concentration in the gel over that in the tissue in equilibrium"
    ),
    P=epistemic(LogNormal(median=0.5, sigma=0.7), "um/s", "permeability of the interface"),
    k=epistemic(LogNormal(median=2e-4, sigma=0.5), "1/s", "consumption in the tissue"),
    uptake=fixed(0.1, "um/s", "permeability of the base of the tissue to blood"),
    c0=fixed(100.0, "uM", "concentration in the gel at the start"),
    bias=fixed(0.0, "uM*um/s", "spurious flux into the tissue"),
    cv=epistemic(LogNormal(median=0.05, sigma=0.3), "", "coefficient of variation of a measurement"),
)


def conservative(theta, design, key):
    return release(theta, design, Exchange.CONSERVATIVE)


def interpolated(theta, design, key):
    return release(theta, design, Exchange.INTERPOLATED)


def release(theta, design, exchange):
    run = TwoLayers(GEL, TISSUE, exchange).run(
        design.times,
        diffusivity=(theta["D_gel"], theta["D_tissue"]),
        partition=theta["K"],
        permeability=theta["P"],
        start=(theta["c0"], 0.0),
        decay=(0.0, theta["k"]),
        transfer=(0.0, theta["uptake"]),
        bias=theta["bias"],
        steps=STEPS,
    )
    outputs = {
        "c_gel": run.first,
        "c_tissue": run.second,
        "flux": run.entering,
        "gel_content": run.content[:, 0],
        "tissue_content": run.content[:, 1],
        "imbalance": imbalance(run.leak, jnp.sum(run.content, axis=1)),
    }
    return outputs, run.result


def joined(exchange: Exchange) -> Model:
    """The same layers and measurements with another exchange."""
    conserves = exchange is Exchange.CONSERVATIVE
    return Model.from_function(
        space,
        conservative if conserves else interpolated,
        units={
            **dict.fromkeys(("c_gel", "c_tissue"), "uM"),
            "flux": "uM*um/s",
            **dict.fromkeys(("gel_content", "tissue_content"), "uM*um"),
            "imbalance": "",
        },
        # what is measured: the amounts in both, against a floor of one part in a thousand of the dose
        noise={each: Normal(each, f"cv*{each} + 0.1*c0") for each in ("gel_content", "tissue_content")},
        name="interface_flux" if conserves else f"interface_flux, {exchange}",
        time_unit="s",
        results=SENTENCES,
        dims={"c_gel": ("time", "x_gel"), "c_tissue": ("time", "x_tissue")},
        coords={"x_gel": GEL.middles.tolist(), "x_tissue": TISSUE.middles.tolist()},
    )


model = joined(Exchange.CONSERVATIVE)

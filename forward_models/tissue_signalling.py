"""Cells that signal to one another through a tissue beside a vessel: from single genes to what the blood carries away.

A ligand comes with the blood, crosses the wall of the vessel and binds to receptors of cells, which switch on a gene;
its protein is the ligand again, which cells secrete and which spreads through the tissue and leaves through the vessel.
Three parts that exchange molecules of the ligand:

    cells    gene g (on or off), messenger m; protein L and bound receptors b (hybrid: g and m jump, L and b flow)
    tissue   eps dc/dt = div(K grad c) - eps k_deg c on a square grid, c between the cells
    vessel   dv/dt + u dv/dx = 0 along one side of the tissue, entering with `inflow` for the first `DOSED` minutes

    secretion  k_sec L                   from cells into the tissue around them
    binding    k_on (R - b) c - k_off b  from the tissue around cells; bound ligand is taken in and lost with k_int b
    wall       P_w (c - v) per area      from the tissue into the vessel

m' = k_tx g - d_m m, and g is on with probability h(b) = leak + (1 - leak) b^2/(b^2 + b_half^2), which it follows at the
rate k_g. `model` closes K and eps by elongated cells of the volume fraction phi with membranes of permeability P in
extracellular space of diffusivity D_ext (`uqbench.homogenisation`). `signalling` makes models of other grids, numbers
of cells, schedules, and descriptions of chance: "jumps", "langevin" (m with normal noise, g its mean; differentiable
along a path) or "mean" (none). Numbers are typical of cytokines; nothing was fitted.
"""

import jax
import jax.numpy as jnp
import numpy as np

from uqbench import Beta, Coupled, Exchange, LogNormal, Model, Normal, Part, Space, epistemic, fixed
from uqbench.agents import gather, scatter
from uqbench.coupling import Weak
from uqbench.homogenisation import SENTENCES, at_fraction, membrane_tensor
from uqbench.random_media import distance_to_walls

# Edge of a voxel and thickness of the tissue, diameter of the vessel, um; time of a window and of the dose, min.
EDGE, THICK, BORE, WINDOW, DOSED = 20.0, 10.0, 20.0, 0.25, 30.0
CHANCES = ("jumps", "langevin", "mean")
# Lengths of the tissue's cells along the vessel and across it, um, and voxels across the cell problem.
CELL, VOXELS = (24.0, 12.0), 16

common = {
    "inflow": fixed(0.4, "1/um^3", "ligand in the blood while it is dosed"),
    "k_on": fixed(0.1, "um^3/min", "binding of a receptor"),
    "k_off": fixed(0.05, "1/min", "unbinding"),
    "k_int": epistemic(LogNormal(median=0.03, sigma=0.3), "1/min", "bound receptors taken in"),
    "R": fixed(5000.0, "", "receptors of a cell"),
    "b_half": epistemic(LogNormal(median=1000.0, sigma=0.3), "", "bound receptors at which the gene is half on"),
    "leak": fixed(0.02, "", "of the gene without receptors"),
    "k_g": fixed(0.2, "1/min", "switching of the gene"),
    "k_tx": epistemic(LogNormal(median=1.5, sigma=0.3), "1/min", "transcription"),
    "d_m": fixed(0.1, "1/min", "decay of messenger"),
    "k_tl": fixed(6.0, "1/min", "translation"),
    "k_sec": epistemic(LogNormal(median=0.1, sigma=0.3), "1/min", "secretion"),
    "k_deg": epistemic(LogNormal(median=0.02, sigma=0.4), "1/min", "decay of the ligand in the tissue"),
    "P_w": epistemic(LogNormal(median=20.0, sigma=0.5), "um/min", "permeability of the wall"),
    "u": fixed(200.0, "um/min", "velocity of the blood"),
    "cv": epistemic(LogNormal(median=0.05, sigma=0.3), "", "coefficient of variation of a measurement"),
}
coarse_space = Space(
    Kx=epistemic(LogNormal(median=2500.0, sigma=0.4), "um^2/min", "effective diffusivity along the vessel"),
    Ky=epistemic(LogNormal(median=1500.0, sigma=0.4), "um^2/min", "effective diffusivity across"),
    eps=epistemic(Beta(20.0, 30.0), "", "extracellular volume fraction"),
    **common,
)
space = Space(
    phi=epistemic(Beta(30.0, 20.0), "", "volume fraction of the tissue's cells"),
    P=epistemic(LogNormal(median=50.0, sigma=1.0), "um/min", "permeability of their membranes"),
    D_ext=epistemic(LogNormal(median=6000.0, sigma=0.3), "um^2/min", "diffusivity between them"),
    D_int=fixed(600.0, "um^2/min", "diffusivity in them"),
    **common,
)


class Tissue:
    """What depends on the grid and on where cells are.

    Args:
        grid: voxels along each side. cells: how many signal. seed: of their places. chance: one of `CHANCES`.
    """

    def __init__(self, grid: int, cells: int, seed: int = 0, chance: str = "jumps"):
        self.grid, self.cells, self.chance = grid, cells, chance
        # not at the wall, where a cell would be in the vessel
        self.places = np.random.default_rng(seed).uniform(0.5 * EDGE, (grid - 0.5) * EDGE, (cells, 2))

    @property
    def extent(self):
        return (self.grid * EDGE,) * 2

    # --- cells

    def resting(self, p, inputs):
        none = jnp.zeros(self.cells)
        return {"g": none, "m": none, "L": none, "b": none}

    def expression(self, t, y, p, inputs):
        """Rates of what does not jump."""
        rates = {
            "g": p["k_g"] * (activity(y["b"], p) - y["g"]),
            "m": p["k_tx"] * y["g"] - p["d_m"] * y["m"],
            "L": p["k_tl"] * y["m"],
            "b": -p["k_int"] * y["b"],
        }
        return {**rates, "g": 0.0, "m": 0.0} if self.chance == "jumps" else rates

    def at_random(self, t, h, y, p, inputs, key):
        """What chance does to genes and messengers in a window."""
        keys = jax.random.split(key, 3)
        if self.chance == "langevin":
            spread = jnp.sqrt(h * (p["k_tx"] * y["g"] + p["d_m"] * jnp.abs(y["m"])) + 1e-12)
            return {"m": spread * jax.random.normal(keys[0], (self.cells,))}
        on = activity(y["b"], p)
        on = on + (y["g"] - on) * jnp.exp(-p["k_g"] * h)
        g = (jax.random.uniform(keys[0], (self.cells,)) < on).astype(float)
        births = jax.random.poisson(keys[1], p["k_tx"] * h * (g + y["g"]) / 2).astype(float)
        deaths = jax.random.binomial(keys[2], y["m"], -jnp.expm1(-p["d_m"] * h))
        return {"g": g - y["g"], "m": births - deaths}

    def in_cells(self, y, p):
        return {"ligand": jnp.sum(y["L"]) + jnp.sum(y["b"])}

    def made_in_cells(self, t, y, p, inputs):
        return {"ligand": p["k_tl"] * jnp.sum(y["m"]) - p["k_int"] * jnp.sum(y["b"])}

    # --- tissue

    def empty(self, p, inputs):
        return {"c": jnp.zeros((self.grid, self.grid))}

    def spreading(self, t, y, p, inputs):
        """Finite volumes; the vessel is at the first row."""
        c = y["c"]
        along, across = p["Kx"] * jnp.diff(c, axis=1), p["Ky"] * jnp.diff(c, axis=0)
        into = jnp.pad(along, [(0, 0), (0, 1)]) - jnp.pad(along, [(0, 0), (1, 0)])
        into = into + jnp.pad(across, [(0, 1), (0, 0)]) - jnp.pad(across, [(1, 0), (0, 0)])
        return {"c": into / (p["eps"] * EDGE**2) - p["k_deg"] * c}

    def in_tissue(self, y, p):
        return {"ligand": p["eps"] * EDGE**2 * THICK * jnp.sum(y["c"])}

    def decayed(self, t, y, p, inputs):
        return {"ligand": -p["k_deg"] * self.in_tissue(y, p)["ligand"]}

    def seen_of_tissue(self, y, p):
        return {"c_cells": gather(y["c"], jnp.asarray(self.places), self.extent), "c_wall": y["c"][0]}

    def fastest(self, y, p):
        """Of the rates at which a voxel empties; no eigenvalue is larger than twice that (Gershgorin)."""
        return 4 * (p["Kx"] + p["Ky"]) / (p["eps"] * EDGE**2) + p["k_deg"]

    # --- vessel

    def fresh(self, p, inputs):
        return {"v": jnp.zeros(self.grid)}

    def flowing(self, t, y, p, inputs):
        upstream = jnp.concatenate([entering(t, p)[None], y["v"][:-1]])
        return {"v": p["u"] * (upstream - y["v"]) / EDGE}

    def in_vessel(self, y, p):
        return {"ligand": EDGE * BORE * THICK * jnp.sum(y["v"])}

    def carried(self, t, y, p, inputs):
        return {"ligand": p["u"] * BORE * THICK * (entering(t, p) - y["v"][-1])}

    # --- exchanges

    def around(self, amounts, y, p):
        """Amounts of cells over the tissue, by the kernel by which they see it."""
        return scatter(amounts, jnp.asarray(self.places), (self.grid, self.grid), self.extent)

    def at_wall(self, amounts, y, p):
        return jnp.zeros((self.grid, self.grid)).at[0].set(amounts)


def activity(b, p):
    """Of a gene with so many bound receptors."""
    return p["leak"] + (1 - p["leak"]) * b**2 / (b**2 + p["b_half"] ** 2)


def entering(t, p):
    """Concentration that comes with the blood; it ends within two minutes."""
    return p["inflow"] * jax.nn.sigmoid((DOSED - t) / 0.5)


def secretion(t, y, p, inputs):
    return p["k_sec"] * y["L"]


def binding(t, y, p, inputs):
    return p["k_on"] * (p["R"] - y["b"]) * y["c_cells"] - p["k_off"] * y["b"]


def through_wall(t, y, p, inputs):
    return p["P_w"] * EDGE * THICK * (y["c_wall"] - y["v"])


def observe(y, p):
    return {
        "c_mean": jnp.mean(y["c"]),
        "c_far": jnp.mean(y["c"][-1]),
        "v_out": y["v"][-1],
        "messenger": jnp.mean(y["m"]),
        "secreted": y["crossed_secretion"],
        "washed_out": y["crossed_wall"],
    }


UNITS = {
    "c_mean": "1/um^3", "c_far": "1/um^3", "v_out": "1/um^3", "messenger": "", "secreted": "", "washed_out": "",
}  # fmt: skip
SCHEDULE = Weak(WINDOW)
# In one of twenty runs from the prior some state, mostly one that has just begun to rise, differs by more than 5 % from
# that of half as long windows.
TOLERANCE = 0.1


def coupled(tissue: Tissue, schedule=SCHEDULE, tolerance=TOLERANCE) -> Coupled:
    """The three parts and what they exchange; without a tolerance, runs that may be inaccurate."""
    units = {"ligand": ""}
    parts = {
        "cells": Part(
            tissue.resting, tissue.expression, "c_cells", tissue.in_cells, units, tissue.made_in_cells,
            integrator="heun", leap=None if tissue.chance == "mean" else tissue.at_random,
        ),
        "tissue": Part(
            tissue.empty, tissue.spreading, (), tissue.in_tissue, units, tissue.decayed,
            integrator="chebyshev", shows=tissue.seen_of_tissue, radius=tissue.fastest,
        ),
        "vessel": Part(tissue.fresh, tissue.flowing, (), tissue.in_vessel, units, tissue.carried, "sdirk2", 0.25),
    }  # fmt: skip
    exchanges = {
        "secretion": Exchange("ligand", "1/min", "cells.L", "tissue.c", secretion, onto_target=tissue.around),
        "binding": Exchange("ligand", "1/min", "tissue.c", "cells.b", binding, onto_source=tissue.around),
        "wall": Exchange("ligand", "1/min", "tissue.c", "vessel.v", through_wall, onto_source=tissue.at_wall),
    }
    return Coupled(parts, exchanges, schedule, "min", tolerance)


def signalling(
    grid: int = 12, cells: int = 8, *, seed: int = 0, chance: str = "jumps", schedule=SCHEDULE, tolerance=TOLERANCE
) -> Model:
    """The coarse model, with K and eps as parameters of their own."""
    system = coupled(Tissue(grid, cells, seed, chance), schedule, tolerance)
    return Model(
        coarse_space, system, observe, UNITS, {"v_out": Normal("v_out", "cv*v_out + 0.001")},
        name=f"tissue_signalling ({chance})", time_unit="min", gradient="none" if chance == "jumps" else "exact",
    )  # fmt: skip


def elongated():
    """Distance to walls of the tissue's cells in a rectangle of two of them, edges of its voxels; lengths in um."""
    extent = (2 * CELL[0], CELL[1])
    shape = (round(2 * VOXELS * CELL[0] / CELL[1]), VOXELS)
    # a row is half a cell along from the next
    places = jnp.array([[0.0, 0.0], [CELL[0], CELL[1] / 2]])
    edges = tuple(length / count for length, count in zip(extent, shape, strict=True))
    return np.asarray(distance_to_walls(places, shape, extent)), edges


WALLS, EDGES = elongated()


def effective(p):
    """Kx, Ky and eps of the tissue's cells, and the code of the cell problem."""
    found = membrane_tensor(at_fraction(WALLS, p["phi"], spacing=EDGES), p["D_int"], p["D_ext"], p["P"], spacing=EDGES)
    return {"Kx": found.tensor[0, 0], "Ky": found.tensor[1, 1], "eps": 1 - p["phi"]}, found.result


def closed(coarse: Model, name: str) -> Model:
    """A coarse model with K and eps from the tissue's cells."""
    return coarse.closed_by(space, effective, results=SENTENCES, name=name)


model = closed(signalling(chance="mean"), "tissue_signalling")
random = closed(signalling(), "tissue_signalling of genes that jump")

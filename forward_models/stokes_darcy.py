"""A vessel over porous tissue: how fast the fluid slips along the wall that it soaks into, and what the tissue carries.

Under a pressure gradient G fluid of viscosity mu flows between the tissue, at y = 0, and a wall at y = h, and in the
tissue, of permeability k, with the velocity Q = k G/mu. On the tissue the slope of the velocity is alpha/sqrt(k) times
what the fluid there, at u_B, has ahead of Q (Beavers & Joseph 1967, doi:10.1017/S0022112067001375). With
s = h/sqrt(k)

    u = u_B + alpha/sqrt(k) (u_B - Q) y - G/(2 mu) y^2,    u_B = Q/2 (s^2 + 2 alpha s)/(1 + alpha s),

and the channel carries (1 + Phi) times what it does between tight walls, h^3 G/(12 mu), where
Phi = 3 (s + 2 alpha)/(s (1 + alpha s)).

`model` is this profile at some heights. G is the reading of a gauge times its gain: velocities in the channel, a
parabola that vanishes at the wall, tell mu/gain and one combination of alpha and k, about alpha/sqrt(k); the velocity
in the tissue tells k too, the stress on the wall the gain.

`plane` is the flow in two dimensions, of which fluid drains through the interface and the base of the tissue, so that
the flow in the channel declines on its way.
"""

import jax.numpy as jnp
import numpy as np

from uqbench import LogNormal, Model, Normal, Ode, Space, epistemic, fixed
from uqbench.interfaces import SENTENCES, Boundary, ChannelOverTissue, Rectangle, imbalance

# Heights of the measured velocities above the tissue, um.
HEIGHTS = (50, 200, 400, 600, 800, 950)
# Height of the channel, its length, and depth of the tissue, m.
HEIGHT, LENGTH, DEPTH = 1e-3, 4e-3, 1e-3

flow = {
    "k": epistemic(LogNormal(median=1e-9, sigma=1.0), "m^2", "permeability of the tissue"),
    "alpha": epistemic(LogNormal(median=0.1, sigma=0.7), "", "slip coefficient"),
    "mu": epistemic(LogNormal(median=1e-3, sigma=0.3), "Pa*s", "viscosity"),
}
space = Space(
    **flow,
    gain=fixed(1.0, "", "pressure gradient over the reading of the gauge"),
    h=fixed(HEIGHT, "m", "height of the channel"),
    cv=epistemic(LogNormal(median=0.03, sigma=0.3), "", "coefficient of variation of a measurement"),
)
plane_space = Space(
    **flow,
    G=fixed(100.0, "Pa/m", "pressure gradient"),
    drainage=epistemic(LogNormal(median=1e-5, sigma=0.5), "m/s", "velocity through the base of the tissue"),
)


def slip_velocity(k, alpha, mu, G, h):
    """u_B, the velocity of the fluid on the tissue."""
    s = h / jnp.sqrt(k)
    return k * G / (2 * mu) * (s**2 + 2 * alpha * s) / (1 + alpha * s)


def increase(k, alpha, h):
    """Phi, what the channel carries more than between tight walls, relative to that."""
    s = h / jnp.sqrt(k)
    return 3 * (s + 2 * alpha) / (s * (1 + alpha * s))


def velocity(y, k, alpha, mu, G, h):
    """u at a height."""
    slip = slip_velocity(k, alpha, mu, G, h)
    return slip + alpha / jnp.sqrt(k) * (slip - k * G / mu) * y - G / (2 * mu) * y**2


def initial(p, inputs):
    return {"x": inputs["reading"]}


def rhs(t, y, p, inputs):
    return {"x": 0.0 * y["x"]}


def observe(y, p):
    G, h = p["gain"] * y["x"], p["h"]
    flow = (p["k"], p["alpha"], p["mu"], G, h)
    tight = G * h**3 / (12 * p["mu"])
    slope = p["alpha"] / jnp.sqrt(p["k"]) * (slip_velocity(*flow) - p["k"] * G / p["mu"]) - G * h / p["mu"]
    return {
        **{name: velocity(1e-6 * height, *flow) for name, height in zip(profile, HEIGHTS, strict=True)},
        "darcy": p["k"] * G / p["mu"],
        "wall_stress": -p["mu"] * slope,
        "slip": slip_velocity(*flow),
        "Phi": increase(p["k"], p["alpha"], h) + 0.0 * y["x"],
        "carried": (1 + increase(p["k"], p["alpha"], h)) * tight,
    }


profile = tuple(f"u_{height}um" for height in HEIGHTS)
measured = {**dict.fromkeys((*profile, "darcy"), "m/s"), "wall_stress": "Pa"}
model = Model(
    space,
    Ode(initial, rhs),
    observe,
    {**measured, "slip": "m/s", "Phi": "", "carried": "m^2/s"},
    {name: Normal(name, f"cv*{name}") for name in measured},
    name="stokes_darcy",
    time_unit="s",
)

CELLS = {"along": 10, "channel": 12, "tissue": 8}
vessel = ChannelOverTissue(
    Rectangle((0.0, LENGTH), (0.0, HEIGHT), (CELLS["along"], CELLS["channel"]), "m"),
    Rectangle((0.0, LENGTH), (-DEPTH, 0.0), (CELLS["along"], CELLS["tissue"]), "m"),
)


def simulate(theta, design, key):
    drainage, fall = theta["drainage"], theta["G"] * LENGTH
    # the suction below an interface that the drained fluid passes evenly
    depths = jnp.concatenate([jnp.zeros(1), (jnp.arange(CELLS["tissue"]) + 0.5) * DEPTH / CELLS["tissue"]])
    suction = -drainage * theta["mu"] / theta["k"] * depths
    boundary = Boundary(
        inlet=-fall, tissue_inlet=fall + suction, tissue_outlet=suction, base=-drainage,
        inlet_v=-drainage * along_height(), outlet_v=-drainage * along_height(),
    )  # fmt: skip
    found = vessel.flow(
        permeability=theta["k"],
        slip=theta["alpha"],
        viscosity=theta["mu"],
        boundary=boundary,
        relative_to_pores=True,
    )
    outputs = {name: getattr(found, name) for name in plane_dims}
    # at 1e-12, which stands for rounding, unless the balance is not closed
    outputs |= {name: imbalance(outputs[name], 1.0) for name in ("normal_residual", "balance")}
    return outputs, found.result


def along_height():
    """The share of the drained velocity at each row of v, all of it at the tissue and none at the wall."""
    return 1 - jnp.arange(CELLS["channel"] + 1) / CELLS["channel"]


plane_dims = {
    "u": ("face", "row"),
    "v": ("column", "level"),
    "p": ("column", "row"),
    "slip": ("face",),
    "normal": ("column",),
    "pores": ("column", "depth"),
    "normal_residual": (),
    "traction_residual": (),
    "balance": (),
}
plane_units = {
    **dict.fromkeys(("u", "v", "slip", "normal"), "m/s"),
    **dict.fromkeys(("p", "pores"), "Pa"),
    **dict.fromkeys(("normal_residual", "traction_residual", "balance"), ""),
}


def middles(cells: int, length: float) -> list[float]:
    return ((np.arange(cells) + 0.5) * length / cells).tolist()


plane = Model.from_function(
    plane_space,
    simulate,
    units=plane_units,
    name="stokes_darcy in the plane",
    results=SENTENCES,
    dims=plane_dims,
    coords={
        "face": np.linspace(0.0, LENGTH, CELLS["along"] + 1).tolist(),
        "column": middles(CELLS["along"], LENGTH),
        "level": np.linspace(0.0, HEIGHT, CELLS["channel"] + 1).tolist(),
        "row": middles(CELLS["channel"], HEIGHT),
        "depth": middles(CELLS["tissue"], DEPTH),
    },
)

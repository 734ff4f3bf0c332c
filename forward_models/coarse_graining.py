"""A particle in a double well, x, that drags another one, y: what of the pair can be known from x alone.

V(x, y) = a (x^2 - 1)^2 + (k + s x^2) (y - x)^2 / 2 in units of kT. With y integrated out x has the potential of mean
force

    F(x) = a (x^2 - 1)^2 + ln(k + s x^2) / 2 + constant,

of which only differences have a meaning: k and s are known by their ratio alone. `barrier` is F(0) - F(1), `shoulder`
F(1/2) - F(1). On the basis x^2, x^4 the logarithm is missing, and force matching and relative entropy put different
coefficients in its place; the divergence from the true density says what each loses. `model` integrates by quadrature
and is exact with its gradients; `sampled` are averages over Langevin dynamics of the pair, whose gradients come from
reweighting and carry the error of sampling like the averages themselves.
"""

import jax
import jax.numpy as jnp
import numpy as np

from uqbench import LogNormal, Model, Normal, Space, epistemic, fixed
from uqbench.coarse_graining import (
    box,
    divergence,
    langevin,
    match_forces,
    minimise_relative_entropy,
    potential_of_mean_force,
    reweighted,
)

space = Space(
    a=epistemic(LogNormal(median=2.0, sigma=0.2), "", "height of the well's barrier over kT"),
    k=epistemic(LogNormal(median=1.0, sigma=0.3), "", "stiffness of the bond at x = 0, over kT"),
    s=epistemic(LogNormal(median=1.0, sigma=0.3), "", "how the stiffness grows with x^2, over kT"),
    sigma=fixed(0.05, "", "standard deviation of a measured difference of F"),
)
TERMS = ("x^2", "x^4")
PLACES = np.linspace(-1.5, 1.5, 31)
# Of x, and of y - x in the unit in which the stiffness of the bond at x = 1 is 1, so that stiff bonds and soft ones are
# integrated alike. At the faces densities have fallen below 1e-10 of their integrals, for all values in the prior.
COARSE, FINE = box([(-4.0, 4.0)], 201), box([(-24.0, 24.0)], 401)
CHAINS, DRAWS = 64, 200
# codes of the systems of this file
UNRESOLVED = 100


def energy(x, distance, p):
    return p["a"] * (x[0] ** 2 - 1) ** 2 + (p["k"] + p["s"] * x[0] ** 2) * distance[0] ** 2 / 2


def basis(x):
    return jnp.array([x[0] ** 2, x[0] ** 4])


def free_energy(places, p):
    unit = 1 / jnp.sqrt(p["k"] + p["s"])
    # in place of y; at each x the integral is the same but for one factor
    return potential_of_mean_force(lambda x, distance: energy(x, unit * distance, p), places, FINE)


def coarse_grained(theta, design, key):
    places = jnp.concatenate([jnp.array([0.0, 0.5, 1.0]), PLACES])[:, None]
    values = free_energy(places, theta).potential
    mean_force = free_energy(COARSE.places, theta)
    log_density = jnp.log(COARSE.volumes) - mean_force.potential
    density = jax.nn.softmax(log_density)
    matched = match_forces(basis, COARSE.places, mean_force.slope, density)
    closest = minimise_relative_entropy(basis, COARSE.places, COARSE, 1.0, density)
    outputs = {
        "barrier": values[0] - values[2],
        "shoulder": values[1] - values[2],
        "mean_force_potential": values[3:] - values[2],
        "force_matching": matched.coefficients,
        "relative_entropy": closest.coefficients,
        "divergence_of_force_matching": divergence(matched, basis, mean_force.potential, COARSE).value,
        "divergence_of_relative_entropy": divergence(closest, basis, mean_force.potential, COARSE).value,
    }
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(each)) for each in outputs.values()]))
    return outputs, jnp.where(finite, 0, UNRESOLVED)


def sampled_averages(theta, design, key):
    """Averages at the parameters, whose derivatives are those of the weights of the samples."""
    still = jax.lax.stop_gradient(theta)
    start = jnp.stack([jnp.tile(jnp.array([-1.0, 1.0]), CHAINS // 2), jnp.zeros(CHAINS)], axis=1)
    draws = langevin(lambda z: energy(z[:1], z[1:], still), start, key, step=0.12, draws=DRAWS, thin=5)
    places = jax.lax.stop_gradient(draws.places)

    def over(p):
        return jax.vmap(jax.vmap(lambda z: energy(z[:1], z[1:], p)))(places)

    # zero at every sample, and so is the change of no weight; its derivative is not
    change = over(theta) - over(still)
    squares = reweighted(places[..., 0] ** 2, change), reweighted(places[..., 1] ** 2, change)
    resolved = jnp.all(jnp.array([jnp.isfinite(each.error) for each in squares]))
    return {"x_square": squares[0].value, "distance_square": squares[1].value}, jnp.where(resolved, 0, UNRESOLVED)


RESULTS = {
    UNRESOLVED: "not resolved: densities reach the faces of the box, a fit has no minimum, or chains of Langevin "
    "dynamics disagree. Look at the values of the parameters: the pair may not be confined, or its barrier too high."
}
model = Model.from_function(
    space,
    coarse_grained,
    units=dict.fromkeys(
        (
            *("barrier", "shoulder", "mean_force_potential", "force_matching", "relative_entropy"),
            *("divergence_of_force_matching", "divergence_of_relative_entropy"),
        ),
        "",
    ),
    noise={"barrier": Normal("barrier", "sigma"), "shoulder": Normal("shoulder", "sigma")},
    name="coarse_graining",
    results=RESULTS,
    dims={
        "barrier": (),
        "shoulder": (),
        "mean_force_potential": ("x",),
        "force_matching": ("term",),
        "relative_entropy": ("term",),
        "divergence_of_force_matching": (),
        "divergence_of_relative_entropy": (),
    },
    coords={"x": PLACES, "term": TERMS},
)
sampled = Model.from_function(
    space,
    sampled_averages,
    units={"x_square": "", "distance_square": ""},
    stochastic=True,
    gradient="statistical",
    name="coarse_graining by sampling",
    results=RESULTS,
    dims={"x_square": (), "distance_square": ()},
)

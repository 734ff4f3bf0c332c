"""What leaving out the fast states saves, and what finding them costs, side by side in one process.

Run with `uv run --group bench pytest -m bench -n 0 tests/benchmarks/test_time_scales.py -s`.
"""

import statistics
import time
from dataclasses import replace

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix
import pytest

import uqbench as uq
from forward_models import michaelis_menten, receptor_tf
from uqbench.initial_value.odes import solve

pytestmark = pytest.mark.bench
MEMBERS = 100
PRIOR = uq.epistemic(uq.LogNormal(0.0, 0.2))


def ratio_of_times(slow, fast, repeats=31):
    """Median of the ratios of neighbouring runs, so that what else the machine does falls on both."""

    def seconds(function):
        start = time.perf_counter()
        jax.block_until_ready(function())
        return time.perf_counter() - start

    seconds(slow), seconds(fast)
    return statistics.median(seconds(slow) / seconds(fast) for _ in range(repeats))


def one_by_one(function, value):
    """`MEMBERS` solves in one call, each with its own value of one parameter, so that not the dispatch is timed."""
    values = value * (1 + 0.1 * jnp.linspace(0.0, 1.0, MEMBERS))
    run = jax.jit(lambda values: jax.lax.map(function, values))
    return lambda: run(values)


def solved(model, theta, design, method, varied):
    theta = {name: jnp.asarray(value, float) for name, value in theta.items()}
    system = replace(model.system, rtol=1e-8, atol=1e-10)
    return one_by_one(lambda value: solve(system, theta | {varied: value}, design, method=method).states, theta[varied])


@pytest.mark.parametrize("eps", [1e-2, 1e-4, 1e-6])
def test_reduced_against_full_receptor(eps):
    """The reduction needs no stiff solver; what is saved is mostly the dispatch of fewer and cheaper steps."""
    theta = {"eps": eps, "L": 2.0, "Kd": 1.0, "beta": 1.0, "delta": 0.5}
    design = uq.Design.linspace(0.5, 10.0, 20)
    full = solved(receptor_tf.model, theta, design, "implicit", "delta")
    ratio = ratio_of_times(full, solved(receptor_tf.reduced, theta, design, "explicit", "delta"))
    print(f"\nreceptor, eps {eps:g}: full / reduced {ratio:.2f}")
    assert ratio > 1


@pytest.mark.parametrize("mechanism, reduced", [("model", "standard"), ("total_mechanism", "total")])
def test_reduced_against_full_enzyme(mechanism, reduced):
    theta = {"kon": 1e3, "koff": 1e3, "kcat": 1e2, "E0": 1e-3}
    design = uq.Design.linspace(0.5, 10.0, 20, inputs={"S0": 1.0})
    full = solved(getattr(michaelis_menten, mechanism), theta, design, "implicit", "E0")
    ratio = ratio_of_times(full, solved(getattr(michaelis_menten, reduced), theta, design, "explicit", "E0"))
    print(f"\nenzyme, {reduced}: full / reduced {ratio:.2f}")
    assert ratio > 1


ENZYME = {"kon": 1e3, "koff": 1e3, "kcat": 1e2, "E0": 1e-3}
EVALUATED = {
    "receptor": (receptor_tf.model, receptor_tf.reduced, {"eps": 1e-2}, {}),
    "enzyme, standard": (michaelis_menten.model, michaelis_menten.standard, ENZYME, {"S0": 1.0}),
    "enzyme, total": (michaelis_menten.total_mechanism, michaelis_menten.total, ENZYME, {"S0": 1.0}),
}


@pytest.mark.parametrize("name", EVALUATED)
def test_a_reduced_model_is_never_slower_to_evaluate(name):
    """A whole call of `evaluate`, most of which is the way there and back; seen: 0.89 to 0.98."""
    full, reduced, theta, inputs = EVALUATED[name]
    design = uq.Design.linspace(0.5, 10.0, 20, inputs=inputs)
    given = {model: model.space.nominal() | theta for model in (full, reduced)}
    ratio = ratio_of_times(
        lambda: uq.evaluate(reduced, given[reduced], design).outputs,
        lambda: uq.evaluate(full, given[full], design).outputs,
        repeats=301,
    )
    print(f"\nevaluate, {name}: reduced / full {ratio:.2f}")
    assert ratio <= 1


def quintic_start(p, inputs):
    return {"x": jnp.zeros(()), "y": jnp.ones(())}


def quintic(t, y, p, inputs):
    return {"x": (y["y"] - y["x"] - y["x"] ** 5) / p["eps"], "y": -p["k"] * y["x"]}


def test_implicit_equilibrium_against_optimistix():
    """The same reduced system with its root found by optimistix's Newton in diffrax's Tsit5, equal tolerances.

    Both start at the fast state of the start. Ours also sees to it that the root is stable and ahead of the flow.
    """
    model = uq.Model(
        uq.Space(eps=PRIOR, k=PRIOR), uq.Ode(quintic_start, quintic), lambda y, p: y, {"x": "", "y": ""}, name="quintic"
    ).reduced(["x"])
    theta, times = {"eps": 1e-3, "k": 1.0}, np.linspace(0.1, 2.0, 20)
    ours = solved(model, theta, uq.Design(times), "explicit", "k")
    root = optimistix.Newton(rtol=1e-10, atol=1e-12)

    def field(t, y, k):
        x = optimistix.root_find(lambda x, y: y - x - x**5, root, jnp.zeros(()), y, throw=False).value
        return -k * x

    def diffrax_solve(k):
        return diffrax.diffeqsolve(
            diffrax.ODETerm(field), diffrax.Tsit5(), 0.0, 2.0, None, jnp.ones(()), k,
            saveat=diffrax.SaveAt(ts=jnp.asarray(times)), stepsize_controller=diffrax.PIDController(1e-8, 1e-10),
        ).ys  # fmt: skip

    theirs = one_by_one(diffrax_solve, 1.0)
    np.testing.assert_allclose(ours()["y"], theirs(), atol=1e-7)
    ratio = ratio_of_times(theirs, ours)
    print(f"\nimplicit quasi-steady state: diffrax with optimistix / ours {ratio:.2f}")
    # as fast, with more to see to; what it costs is Newton's steps, which are the same
    assert ratio > 0.8

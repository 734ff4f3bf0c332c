"""States that are arrays: heat on a line and on a square against its eigenmodes, and what is said of wrong shapes.

The Laplacian of a line of N cells, h apart and at zero beyond its ends, has the eigenvectors sin(pi k x) with the
eigenvalues -4 / h^2 sin(pi k h / 2)^2, so that each mode decays by an exponential of its own.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from uqbench.dynamics.steady_state import steady_state
from uqbench.identifiability import structural_identifiability
from uqbench.symbols import read

CELLS = 6
H = 1 / (CELLS + 1)
X = np.arange(1, CELLS + 1) * H
THETA = {"A": 2.0, "D": 0.1}
TIMES = np.array([0.2, 0.5, 1.0])
SPACE = uq.Space(
    A=uq.epistemic(uq.LogNormal(median=2.0, sigma=0.2)), D=uq.epistemic(uq.LogNormal(median=0.1, sigma=0.2))
)
NAMES = tuple(f"u_{k}" for k in range(CELLS))


def decay(k=1):
    return 4 / H**2 * np.sin(np.pi * k * H / 2) ** 2


def laplacian(u):
    u = jnp.pad(u, 1)
    return (u[2:] - 2 * u[1:-1] + u[:-2]) / H**2


def initial(p, inputs):
    return {"u": p["A"] * jnp.sin(jnp.pi * X), "lost": 0.0}


def rhs(t, y, p, inputs):
    return {"u": p["D"] * laplacian(y["u"]), "lost": p["D"] / H * (y["u"][0] + y["u"][-1])}


def observe(y, p):
    return {"middle": y["u"][2], "lost": y["lost"]}


def heat(outputs=("middle", "lost"), observe=observe, initial=initial, rhs=rhs, **settings):
    return uq.Model(SPACE, uq.Ode(initial, rhs, **settings), observe, dict.fromkeys(outputs, ""), name="heat")


def middle(theta, t):
    return theta["A"] * np.exp(-decay() * theta["D"] * t) * np.sin(np.pi * X[2])


def total(theta, t):
    return theta["A"] * np.sum(np.sin(np.pi * X)) * np.exp(-decay() * theta["D"] * t)


@pytest.mark.parametrize("method", ["auto", "explicit", "implicit"])
def test_heat_on_a_line_decays_as_its_eigenmode(method):
    run = uq.evaluate(heat(method=method), THETA, uq.Design(TIMES))
    np.testing.assert_allclose(run.outputs["middle"], middle(THETA, TIMES), rtol=1e-6)
    # what is lost at the ends is missing inside
    np.testing.assert_allclose(run.outputs["lost"], H * (total(THETA, 0) - total(THETA, TIMES)), rtol=1e-6)


@pytest.mark.parametrize("mode", ["forward", "reverse"])
def test_gradients_are_those_of_the_closed_form(mode):
    def last(theta):
        return uq.evaluate(heat(), theta, uq.Design(TIMES), mode=mode).outputs["middle"][-1]

    found = jax.grad(last)({name: jnp.asarray(value) for name, value in THETA.items()})
    value = middle(THETA, TIMES[-1])
    assert float(found["A"]) == pytest.approx(value / THETA["A"], rel=1e-6)
    assert float(found["D"]) == pytest.approx(-decay() * TIMES[-1] * value, rel=1e-6)


def test_two_axes():
    wave = np.sin(np.pi * X)

    def start(p, inputs):
        return {"u": p["A"] * wave[:, None] * wave}

    def rates(t, y, p, inputs):
        return {"u": p["D"] * (jax.vmap(laplacian)(y["u"]) + jax.vmap(laplacian, 1, 1)(y["u"]))}

    def corner(y, p):
        return {"corner": y["u"][0, 1]}

    model = heat(["corner"], corner, start, rates)
    assert read(model).states[:2] == ("u_0_0", "u_0_1")
    run = uq.evaluate(model, THETA, uq.Design(TIMES))
    expected = 2.0 * np.exp(-2 * decay() * 0.1 * TIMES) * wave[0] * wave[1]
    np.testing.assert_allclose(run.outputs["corner"], expected, rtol=1e-6)


def test_what_has_no_kernel_is_solved_in_jax():
    def rates(t, y, p, inputs):
        # the number of passes depends on the values
        counted = jax.lax.while_loop(lambda k: k < 10.0 * p["D"], lambda k: k + 1.0, 0.0)
        return {"u": p["D"] * laplacian(y["u"]) * counted, "lost": 0.0}

    model = heat(rhs=rates)
    assert model.dynamics.solver(model, uq.Design(TIMES))[0].startswith("JAX")
    run = uq.evaluate(model, THETA, uq.Design(TIMES))
    np.testing.assert_allclose(run.outputs["middle"], middle(THETA, TIMES), rtol=1e-6)


def test_a_dose_into_an_array_adds_a_mode():
    second = np.sin(2 * np.pi * X)

    def doses(p, inputs):
        return {"u": (jnp.array([0.1, 0.3]), jnp.stack([p["A"] * second, -second]))}

    run = uq.evaluate(heat(doses=doses), THETA, uq.Design(TIMES))
    expected = middle(THETA, TIMES) + second[2] * sum(
        np.where(start < TIMES, amount * np.exp(-decay(2) * 0.1 * (TIMES - start)), 0.0)
        for start, amount in ((0.1, 2.0), (0.3, -1.0))
    )
    np.testing.assert_allclose(run.outputs["middle"], expected, rtol=1e-6)


def test_an_event_changes_an_array():
    def falls(t, y, p, inputs):
        return y["u"].sum() - 1.0

    def refilled(t, y, p, inputs):
        return {"u": y["u"] + jnp.sin(jnp.pi * X), "lost": 0.0}

    event = uq.Event(falls, refilled, "falling")
    time = np.log(total(THETA, 0)) / (decay() * 0.1)
    times = time + np.array([-0.1, 0.3])
    run = uq.evaluate(heat(events=[event]), THETA, uq.Design(times))
    part = np.sin(np.pi * X[2]) * np.exp(-decay() * 0.03)
    expected = [middle(THETA, times[0]), middle(THETA, times[1]) + part]
    np.testing.assert_allclose(run.outputs["middle"], expected, rtol=1e-6)

    def emptied(t, y, p, inputs):
        return {"u": 0.0}

    run = uq.evaluate(heat(events=[replace(event, change=emptied)]), THETA, uq.Design(times))
    np.testing.assert_allclose(run.outputs["middle"], [middle(THETA, times[0]), 0.0], rtol=1e-6, atol=1e-12)


def test_a_delay_sees_the_whole_array():
    def rates(t, y, p, inputs):
        return {"u": -p["D"] * y["before"], "lost": 0.0}

    def history(t, p, inputs):
        return p["A"] * jnp.sin(jnp.pi * X)

    model = heat(rhs=rates, delays={"before": uq.Delay("u", 1.0, history)})
    run = uq.evaluate(model, THETA, uq.Design([0.5, 1.0, 2.0]))
    # linear while the past is constant, then a parabola
    expected = 2.0 * np.sin(np.pi * X[2]) * np.array([0.95, 0.9, 0.9 - 0.1 + 0.1**2 / 2])
    np.testing.assert_allclose(run.outputs["middle"], expected, rtol=1e-7)


def fed(t, y, p, inputs):
    """Heat with a source everywhere: at rest a parabola, which differences of second order give exactly."""
    return {"u": p["D"] * laplacian(y["u"]) + p["A"], "lost": -y["lost"]}


def test_steady_state():
    model, rest = heat(rhs=fed), 2.0 / (2 * 0.1) * X * (1 - X)
    run = uq.evaluate(model, THETA, uq.Design([np.inf]))
    np.testing.assert_allclose(run.outputs["middle"], rest[2], rtol=1e-7)
    # of the system as the model has it, and as it was written
    for system in (model.system, uq.Ode(initial, fed)):
        found = steady_state(system, THETA, {})
        np.testing.assert_allclose([found.states[name] for name in NAMES], rest, rtol=1e-7)


def three_cells(observe):
    """A line of three, in whole numbers, so that the structure is decided exactly."""

    def start(p, inputs):
        return {"u": p["A"] * jnp.arange(1.0, 4.0)}

    def rates(t, y, p, inputs):
        u = jnp.pad(y["u"], 1)
        return {"u": p["D"] * (u[2:] - 2 * u[1:-1] + u[:-2])}

    return heat(["seen"], observe, start, rates)


@pytest.mark.parametrize(
    "observe, verdicts",
    [
        (lambda y, p: {"seen": y["u"][1]}, {"A": "global", "D": "global"}),
        (lambda y, p: {"seen": y["u"][1] / y["u"].sum()}, {"A": "none", "D": "global"}),
    ],
)
def test_identify_a_line_of_cells(observe, verdicts):
    """A share is the same at every amplitude."""
    found = structural_identifiability(three_cells(observe))
    assert dict(zip(found.parameter.values, found.verdict.values, strict=True)) == verdicts


def test_check_model_and_symbols():
    found = uq.check_model(heat())
    assert found.solver == "native engine"
    assert found.gradient_error < 1e-6 and found.symbol_error < 1e-13
    assert read(heat()).states == (*NAMES, "lost")


def test_tolerances_are_those_of_the_whole_array():
    assert heat(atol={"u": 1e-3, "lost": 1e-6}).system.atol == dict.fromkeys(NAMES, 1e-3) | {"lost": 1e-6}


def test_another_observe_sees_the_arrays_too():
    model = replace(heat(), observe=lambda y, p, t: {"middle": y["u"].mean() * t, "lost": y["lost"]})
    run = uq.evaluate(model, THETA, uq.Design(TIMES))
    np.testing.assert_allclose(run.outputs["middle"], total(THETA, TIMES) / CELLS * TIMES, rtol=1e-6)


def wrong_rate(t, y, p, inputs):
    return {"u": y["u"][1:], "lost": 0.0}


def wrong_doses(p, inputs):
    return {"u": (jnp.array([0.1, 0.2]), jnp.array([1.0, 2.0]))}


def wrong_change(t, y, p, inputs):
    return {"u": jnp.zeros(3)}


def root(t, y, p, inputs):
    return y["u"]


def shape_of_an_input(p, inputs):
    return {"u": inputs["profile"], "lost": 0.0}


def wrong_history(t, p, inputs):
    return jnp.zeros(2)


@pytest.mark.parametrize(
    "settings, sentences",
    [
        ({"rhs": wrong_rate}, ["`rhs` returns the shape (5,) for 'u', whose state has the shape (6,)."]),
        ({"doses": wrong_doses}, ["times (2,) and amounts (2,); give one row of times, and for each an array of the "
                                  "shape (6,), that of the state."]),
        ({"events": [uq.Event(root, wrong_change)]},
         ["`root` has shape (6,); it must be a scalar.",
          "`change`: state 'u' has shape (3,); it must be a scalar or have the shape (6,)."]),
        ({"delays": {"before": uq.Delay("u", 1.0, wrong_history)}},
         ["the history of 'before' has shape (2,); the state 'u' has the shape (6,)."]),
        ({"initial": shape_of_an_input},
         ["the state 'u' has the shape (6,) with this design, which cannot be known without it; let `initial` say"]),
    ],
)  # fmt: skip
def test_wrong_shapes_are_said_at_once(settings, sentences):
    with pytest.raises(uq.InputError) as error:
        uq.evaluate(heat(**settings), THETA, uq.Design(TIMES, {"profile": X}))
    for sentence in sentences:
        assert sentence in str(error.value)


def test_names_of_entries_are_taken_by_no_other_state():
    with pytest.raises(uq.InputError, match=r"an entry of the array 'u' is solved under the name 'u_1', which 'u_1' "):
        heat(initial=lambda p, inputs: {"u": jnp.zeros(2), "u_1": 0.0})


def test_the_shape_may_be_said_of_an_input():
    def start(p, inputs):
        return {"u": jnp.broadcast_to(inputs["profile"], (CELLS,)), "lost": 0.0}

    run = uq.evaluate(heat(initial=start), THETA, uq.Design(TIMES, {"profile": 2.0 * np.sin(np.pi * X)}))
    np.testing.assert_allclose(run.outputs["middle"], middle(THETA, TIMES), rtol=1e-6)

"""Signalling through a tissue: balance to rounding, closed forms, derivatives, and limits in windows and grid."""

import functools
import pickle
from dataclasses import replace
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from forward_models import tissue_signalling as signalling
from forward_models.tissue_signalling import CHANCES, model, random
from uqbench.balance import is_rounding
from uqbench.coupling import Strong, Weak
from uqbench.coupling.balance import account_names
from uqbench.model.digest import digest

DESIGN = uq.Design(np.array([10.0, 30.0, 60.0]))


@functools.cache
def small(chance="mean", schedule=signalling.SCHEDULE, cells=3, grid=4):
    return signalling.signalling(grid, cells, chance=chance, schedule=schedule)


def nominal(of) -> dict[str, float]:
    return {name: float(value) for name, value in of.space.nominal().items()}


def counting(of):
    """The same model with its accounts among the outputs."""
    names = account_names(of.dynamics.parts, of.dynamics.exchanges)

    def observe(y, p):
        return {**signalling.observe(y, p), **{name: y[name] for name in names}}

    return replace(of, observe=observe, units={**signalling.UNITS, **dict.fromkeys(names, "")}, noise={})


EARLY, CELLS = uq.Design(np.array([10.0, 20.0, 30.0, 60.0])), 32


@pytest.fixture(scope="module")
def jumping():
    """Outputs `(64, times)` of runs that differ by chance alone."""
    many, keys = counting(small("jumps", cells=CELLS)), jax.random.split(jax.random.key(0), 64)
    thetas = {name: np.full(len(keys), nominal(many)[name]) for name in many.space.free}
    runs = uq.evaluate_many(many, thetas, EARLY, keys)
    assert not np.any(runs.result)
    return runs.outputs


@pytest.fixture(scope="module")
def mean():
    """Outputs `(1, times)` without chance."""
    of = counting(small(cells=CELLS))
    run = uq.evaluate(of, nominal(of), EARLY)
    assert int(run.result) == 0
    return {name: np.asarray(values)[None] for name, values in run.outputs.items()}


@pytest.mark.parametrize("chance", [pytest.param("jumping", marks=pytest.mark.slow), "mean"])
def test_the_ligand_is_conserved_to_rounding(chance, request):
    """Over 240 windows, in each part and in all, whatever genes do."""
    outputs = request.getfixturevalue(chance)
    for part in ("cells_", "tissue_", "vessel_", ""):
        content, supplied = (np.asarray(outputs[f"{what}_{part}ligand"]) for what in ("content", "supplied"))
        crossed = [np.abs(outputs[f"crossed_{each}"]).max(axis=-1) for each in ("secretion", "binding", "wall")]
        sizes = np.max([np.abs(content).max(axis=-1), np.abs(supplied).max(axis=-1), *crossed], axis=0)
        residuals = np.abs(outputs[f"residual_{part}ligand"]).max(axis=-1)
        assert all(is_rounding(float(residual), float(size)) for residual, size in zip(residuals, sizes, strict=True))
        # something has been made, and is where it is said to be
        assert np.all(content[:, 0] > 0) and np.all(np.abs(supplied[:, 0]) > 0)
    parts = sum(np.asarray(outputs[f"content_{part}_ligand"]) for part in ("cells", "tissue", "vessel"))
    np.testing.assert_allclose(outputs["content_ligand"], parts, rtol=1e-13)


@pytest.mark.slow
def test_many_jumping_cells_are_on_average_what_the_mean_says(jumping, mean):
    """Rates are linear in genes, messengers and proteins; what bends, h(b) and the binding, does so over the spread of
    b between cells, which is small where the ligand is mostly the vessel's: after the dose has begun, not yet after."""
    dosed = np.asarray(EARLY.times) <= signalling.DOSED
    for name in ("messenger", "secreted", "c_mean"):
        values = np.asarray(jumping[name])[:, dosed]
        error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
        expected = mean[name][0, dosed]
        # of what bends, half a percent is left
        assert np.all(np.abs(values.mean(axis=0) - expected) < 4 * error + 0.005 * np.abs(expected))


def final(of, mode, key=None):
    def c_mean(logs):
        theta = nominal(of) | dict(zip(NAMES, jnp.exp(logs), strict=True))
        return uq.evaluate(of, theta, DESIGN, key, mode=mode).outputs["c_mean"][-1]

    return c_mean


NAMES = ("Kx", "eps", "k_tx", "b_half", "P_w")


# rates of the mean are among those with normal noise
@pytest.mark.slow
@pytest.mark.parametrize("chance", ["mean", "langevin"])
def test_gradients_against_finite_differences_and_in_both_modes(chance):
    of, key = small(chance), None if chance == "mean" else jax.random.key(3)
    logs = jnp.log(jnp.array([nominal(of)[name] for name in NAMES]))
    gradient = jax.jit(jax.jacfwd(final(of, "forward", key)))(logs)
    # one program for what differences need too
    reverse = jax.jit(jax.value_and_grad(final(of, "reverse", key)))
    value, reversed_gradient = reverse(logs)
    step = 1e-3
    for place in range(len(NAMES)):
        ends = [reverse(logs.at[place].add(shift * step))[0] for shift in (2, 1, -1, -2)]
        # of fourth order
        difference = (-ends[0] + 8 * ends[1] - 8 * ends[2] + ends[3]) / (12 * step)
        assert float(gradient[place]) == pytest.approx(float(difference), rel=1e-6, abs=1e-9 * float(value))
    np.testing.assert_allclose(reversed_gradient, gradient, rtol=1e-9, atol=1e-12)


# four programs; orders of every schedule are tested in tests/coupling/test_schedules.py
@pytest.mark.slow
def test_windows_of_every_schedule_have_one_limit():
    """Weak coupling of first order in the window; strong is there with longer windows."""

    def last(schedule):
        return float(uq.evaluate(small(schedule=schedule), nominal(small()), uq.Design([20.0])).outputs["c_mean"][0])

    weak = [last(Weak(step)) for step in (0.4, 0.2, 0.1)]
    assert (weak[0] - weak[1]) / (weak[1] - weak[2]) == pytest.approx(2.0, rel=0.2)
    limit = weak[2] + (weak[2] - weak[1])
    assert last(Strong(0.1)) == pytest.approx(limit, rel=5e-3)


def test_the_tissue_is_of_second_order_in_its_voxels(monkeypatch):
    """A cosine across a tissue 160 um wide decays at the rate of its wave number: only voxels are between."""
    errors = []
    for grid in (8, 16, 32):
        monkeypatch.setattr(signalling, "EDGE", 160.0 / grid)
        p = {"Kx": 2500.0, "Ky": 1500.0, "eps": 0.4, "k_deg": 0.02}
        c = np.cos(np.pi * (np.arange(grid) + 0.5) / grid)[:, None] * np.ones(grid)
        rate = np.asarray(signalling.Tissue(grid, 1).spreading(0.0, {"c": jnp.asarray(c)}, p, {})["c"])
        exact = p["Ky"] / p["eps"] * (np.pi / 160.0) ** 2 + p["k_deg"]
        np.testing.assert_allclose(rate / c, (rate / c)[0, 0], rtol=1e-9)
        errors.append(abs(-float(rate[0, 0] / c[0, 0]) / exact - 1))
    assert [np.log2(a / b) for a, b in pairwise(errors)] == pytest.approx([2.0, 2.0], abs=0.05)


@pytest.mark.slow
def test_without_cells_and_vessel_it_decays():
    """A homogeneous concentration spreads nowhere."""
    of = signalling.signalling(4, 1, chance="mean")
    theta = nominal(of) | {"P_w": 1e-12, "k_on": 0.0, "k_off": 0.0, "k_tx": 1e-12}
    part = of.dynamics.parts["tissue"]
    system = uq.Coupled(
        {**of.dynamics.parts, "tissue": replace(part, initial=filled)}, of.dynamics.exchanges, Weak(0.5), "min"
    )
    run = uq.evaluate(replace(of, system=system), theta, DESIGN)
    expected = np.exp(-theta["k_deg"] * np.asarray(DESIGN.times))
    np.testing.assert_allclose(run.outputs["c_mean"], expected, rtol=1e-5)
    np.testing.assert_allclose(run.outputs["c_far"], run.outputs["c_mean"], rtol=1e-9)


def filled(p, inputs):
    return {"c": jnp.ones((4, 4))}


@pytest.mark.slow
def test_each_model_has_its_digest_and_can_be_pickled():
    models = [signalling.signalling(4, 3, chance=chance) for chance in CHANCES]
    models += [signalling.signalling(5, 3), signalling.signalling(4, 2), signalling.signalling(4, 3, seed=1)]
    models += [signalling.signalling(4, 3, schedule=Weak(1.0)), model, random]
    digests = [digest(each, DESIGN) for each in models]
    assert len(set(digests)) == len(models)
    for each, known in zip(models, digests, strict=True):
        assert digest(pickle.loads(pickle.dumps(each)), DESIGN) == known

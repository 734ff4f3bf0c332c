"""One output that cannot be analysed leaves the others what they are alone, in every engine, and says why it is NaN."""

import numpy as np
import pytest
import xarray as xr

import uqbench as uq
from uqbench.decomposition import (
    nested_variance,
    polynomial_chaos,
    pushforward,
    salib_analysis,
    salib_sample,
    shapley_effects,
    total_variance,
)
from uqbench.decomposition.salib.methods import METHODS

SPACE = uq.Space(a=uq.epistemic(uq.Uniform(0.0, 1.0)), b=uq.epistemic(uq.Uniform(0.0, 1.0)))
NAMES = ["whole", "event", "constant", "never", "infinite", "failed", "again"]
REASONS = {"constant": "same value", "never": "same value", "infinite": "infinite", "failed": "failed"}


def outputs(y):
    """Of runs `(n, ...)`: those with a variance, an event among them, and others; by name along the last axis."""
    infinite, failed = y.copy(), y.copy()
    infinite.flat[-1] = np.inf
    failed[: len(y) // 2] = np.nan
    values = [y, y > 0.9, np.full_like(y, 2.0), y > 100.0, infinite, failed, 3.0 * y]
    dims = [*(f"axis{k}" for k in range(y.ndim)), "quantity"]
    return xr.DataArray(
        np.stack(np.broadcast_arrays(*values), axis=-1).astype(float), dims=dims, coords={"quantity": NAMES}
    )


def drawn(n=64):
    return np.random.default_rng(1).uniform(size=(n, 2))


def linear(x):
    return x @ [1.0, 0.5]


def nested(y):
    return nested_variance(y, ["parameters", "units"], resamples=100)


def total(y):
    return total_variance(y, resamples=100)


def effects(y):
    return shapley_effects(drawn(), y)


def chaos(y):
    return polynomial_chaos(SPACE, drawn(), y, resamples=100, max_degree=3)


def distribution(y):
    return pushforward(y, points=64, resamples=100)


def salib(method):
    return lambda y: salib_analysis(SPACE, method, designed(method), y, resamples=40)


def designed(method):
    return salib_sample(SPACE, method, {"morris": 20, "fast": 65}.get(method, 300))


REPLICATED = linear(drawn())[:, None] + np.random.default_rng(2).normal(size=(64, 3))
ENGINES = {
    "nested_variance": (nested, REPLICATED),
    "total_variance": (total, REPLICATED),
    "shapley_effects": (effects, linear(drawn())),
    "polynomial_chaos": (chaos, linear(drawn())),
    "pushforward": (distribution, linear(drawn())),
    **{f"salib {method}": (salib(method), linear(designed(method))) for method in METHODS if method != "hdmr"},
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ("salib fast", "salib rbd_fast"))) for n in ENGINES]
)
def test_each_output_by_itself(name):
    engine, y = ENGINES[name]
    y = outputs(y)
    if name == "salib fast":
        # which reads its runs as one signal, and refuses failed ones
        y = y.drop_sel(quantity="failed")
    found = engine(y)
    reasons = found["left_out" if name == "polynomial_chaos" else "reason"]
    reasons = reasons.isel(parameter=0) if "parameter" in reasons.dims else reasons
    said = dict(zip(found["quantity"].values.tolist(), reasons.values.tolist(), strict=True))
    for quantity, word in REASONS.items():
        assert quantity not in said or word in said.pop(quantity), quantity
    numbers = [each for each in found.data_vars if found[each].dtype.kind == "f" and "quantity" in found[each].dims]
    numbers = [each for each in numbers if each not in ("n_valid", "n_effective")]
    assert len(numbers) > 1
    for quantity in y.quantity.values:
        alone = found[numbers].sel(quantity=quantity)
        if quantity in REASONS:
            assert all(np.isnan(alone[each]).all() for each in numbers)
        elif quantity == "whole":
            assert all(word not in said[quantity] for word in REASONS.values())
            single = engine(y.sel(quantity=["whole"]))
            for each in set(numbers) & {"variance", "total", "S1", "mu_star", "median", "mean", "delta", "shapley"}:
                np.testing.assert_allclose(alone[each], single[each].sel(quantity="whole"), rtol=1e-9)


@pytest.mark.parametrize("name", ENGINES)
def test_where_no_output_is_left_it_is_an_error(name):
    engine, y = ENGINES[name]
    with pytest.raises(uq.InputError, match="same value"):
        engine(outputs(y).sel(quantity=["constant", "never"]))

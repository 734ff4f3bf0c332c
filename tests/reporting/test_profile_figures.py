"""The figure of profiles: what it draws, not how it looks."""

import numpy as np
import pytest
import xarray as xr

from uqbench import InputError
from uqbench.reporting.profile_figures import profiles
from uqbench.reporting.svg import inline

THRESHOLD = 1.92


def profile(dim="parameter"):
    """k is bounded, V open above, the fall of each a parabola of what is drawn on its axis."""
    away = np.linspace(0.0, 1.0, 5)
    path = np.stack([[2.0 - away, 2.0 + away], [np.exp(-away), np.exp(10 * away)]])
    fall = THRESHOLD * np.stack([[away**2, away**2], [away**2, 0.0 * away]])
    path[1, 1, -1] = fall[1, 1, -1] = np.nan
    sides = (dim, "side", "point")
    return xr.Dataset(
        {
            "value": (dim, [2.0, 1.0]),
            "lower": (dim, [1.0, np.exp(-1.0)]),
            "upper": (dim, [3.0, np.nan]),
            "verdict_lower": (dim, ["bounded", "bounded"]),
            "verdict_upper": (dim, ["bounded", "flat"]),
            "path_value": (sides, path),
            "path_log_density": (sides, -7.0 - fall),
        },
        {dim: ["k", "V"], "side": ["lower", "upper"]},
        {"log_density": -7.0, "threshold": THRESHOLD, "level": 0.95},
    )


def shown(figure):
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.get_visible()]


def test_each_parameter_has_its_curve_its_ends_and_its_best_value():
    figure = profiles(profile(), units={"k": "1/h"})
    first, second = shown(figure)
    assert [axis.get_title(loc="left") for axis in (first, second)] == ["k [1/h]", "V"]
    lines = {line.get_label(): line for line in first.lines}
    grid, curve = lines["profile"].get_data()
    np.testing.assert_allclose(curve, THRESHOLD * (grid - 2.0) ** 2, atol=1e-9)
    ends = [collection.get_segments()[0][:, 0] for collection in first.collections]
    np.testing.assert_allclose(np.array(ends)[:, 0], [1.0, 3.0])
    assert [0.0] in [list(line.get_ydata()) for line in first.lines if list(line.get_xdata()) == [2.0]]
    assert not first.texts


def test_an_open_side_has_an_arrow_and_its_verdict_and_no_end():
    _, axis = shown(profiles(profile()))
    assert len(axis.collections) == 1
    assert "flat" in [text.get_text() for text in axis.texts]
    assert any(getattr(text, "arrow_patch", None) is not None for text in axis.texts)
    assert axis.get_xscale() == "log" and axis.get_xlim()[1] < np.exp(10.0)


def test_quantities_have_their_own_units():
    dataset = profile("quantity").assign(unit=("quantity", ["mg", ""]))
    assert [axis.get_title(loc="left") for axis in shown(profiles(dataset))] == ["k [mg]", "V"]


def test_it_becomes_an_element_of_the_page():
    svg = str(inline(profiles(profile()), "profiles", "p"))
    assert svg.startswith("<svg") and "flat" in svg and "var(--accent)" in svg


def test_a_profile_that_never_began_is_drawn_without_a_curve():
    dataset = profile().isel(point=[0]).assign(lower=("parameter", [np.nan, np.nan]), upper=("parameter", [np.nan] * 2))
    dataset["verdict_lower"][:] = dataset["verdict_upper"][:] = "stopped"
    for axis in shown(profiles(dataset)):
        assert "profile" not in [line.get_label() for line in axis.lines]
        assert np.isfinite(axis.get_xlim()).all()


def test_what_is_missing_is_said():
    dataset = profile().drop_vars(["path_value", "lower"])
    del dataset.attrs["threshold"]
    with pytest.raises(InputError) as caught:
        profiles(dataset)
    assert all(name in str(caught.value) for name in ("'path_value'", "'lower'", "'threshold'"))

"""The figures of indices and distributions: what they draw, not how they look."""

import sys

import matplotlib
import numpy as np
import pytest
import xarray as xr

from uqbench import InputError
from uqbench.reporting import sensitivity_figures as figures
from uqbench.reporting.density_figures import density

NAMES = ["k", "volume", "rate"]
TIME = np.linspace(0.0, 4.0, 9)


def shown(figure):
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.get_visible()]


def with_interval(name, values, dims, width=0.1):
    values = np.asarray(values, float)
    return {name: (dims, values), f"{name}_lower": (dims, values - width), f"{name}_upper": (dims, values + width)}


def indices(total=(0.3, 0.001, 0.7), names=NAMES, width=0.1):
    total = np.asarray(total)
    columns = with_interval("ST", total, "parameter", width) | with_interval("S1", 0.8 * total, "parameter", width)
    return xr.Dataset(columns, {"parameter": list(names)})


def over_time():
    total = np.outer([0.2, 0.1, 0.6], 1 + 0.1 * TIME)
    dims = ("parameter", "time")
    columns = with_interval("ST", total, dims) | with_interval("S1", 0.5 * total, dims)
    return xr.Dataset(columns, {"parameter": NAMES, "time": TIME})


def pairs(count=3):
    value = np.full((count, count), 0.02)
    value[2, 0] = value[0, 2] = 0.4
    np.fill_diagonal(value, np.nan)
    names = [f"p{k}" for k in range(count)]
    columns = with_interval("S2", value, ("parameter", "other_parameter"))
    return xr.Dataset(columns, {"parameter": names, "other_parameter": names})


def parts():
    columns = {}
    for name, share in (("epistemic", 0.2), ("aleatory", 0.5), ("measurement", 0.3)):
        columns |= with_interval(f"{name}_share", np.full(TIME.size, share), ("time",))
        columns |= with_interval(name, np.full(TIME.size, 4 * share), ("time",))
    return xr.Dataset(columns, {"time": TIME})


def distribution():
    """A triangle on 0 to 2, and a count."""
    y = np.linspace(0.0, 2.0, 101)
    height = np.stack([1 - np.abs(y - 1), np.full(101, np.nan)], axis=1)
    mass = np.array([[np.nan, 0.25], [np.nan, 0.75]])
    columns = with_interval("density", height, ("point", "which"), 0.05)
    columns |= with_interval("probability_mass", mass, ("value", "which"), 0.05)
    columns["quantile"] = (("probability", "which"), [[0.3, 0.0], [1.0, 1.0], [1.7, 1.0]])
    coords = {"y": (("point", "which"), np.stack([y, y], axis=1)), "value": [0.0, 1.0], "which": ["mass", "cells"]}
    return xr.Dataset(columns, coords | {"probability": [0.05, 0.5, 0.95]})


def labels(axis):
    return [label.get_text() for label in axis.get_yticklabels()]


# bars -----------------------------------------------------------------------------------------------------------------


def test_bars_are_the_indices_the_strongest_first():
    axis = shown(figures.index_bars(indices()))[0]
    assert labels(axis) == ["rate", "k", "volume"]
    widths = [patch.get_width() for patch in axis.patches]
    assert widths == pytest.approx([0.7, 0.3, 0.001, 0.56, 0.24, 0.0008])
    ends = np.concatenate([line.get_segments() for line in axis.collections])[:, :, 0]
    np.testing.assert_allclose(ends[:2], [[0.6, 0.8], [0.2, 0.4]])


def test_an_index_that_rounds_to_nothing_is_distinguished_from_none():
    axis = shown(figures.index_bars(indices(total=(0.3, 0.001, 0.0))))[0]
    assert [text.get_text() for text in axis.texts] == ["0.30", "<0.01", "0.00"]


def test_every_output_has_its_panel():
    both = xr.concat([indices(), indices((0.1, 0.8, 0.2))], xr.Variable("output", ["AUC", "peak"]))
    axes = shown(figures.index_bars(both.transpose("parameter", "output")))
    assert [axis.get_title(loc="left") for axis in axes] == ["AUC", "peak"]
    assert labels(axes[0]) == ["volume", "rate", "k"]
    assert axes[1].patches[0].get_width() == pytest.approx(0.8)
    unnamed = shown(figures.index_bars(both.drop_vars("output")))
    assert [axis.get_title(loc="left") for axis in unnamed] == ["output 0", "output 1"]


def test_an_interval_without_end_is_drawn_to_the_edge():
    dataset = indices()
    dataset["ST_upper"][0] = np.inf
    dataset["S1_lower"][0] = -np.inf
    axis = shown(figures.index_bars(dataset))[0]
    ends = np.concatenate([line.get_segments() for line in axis.collections])[:, :, 0]
    assert np.isfinite(ends).all() and ends.max() == pytest.approx(figures.MOST)


def test_forty_long_names_stay_different_and_short():
    names = [f"a_parameter_with_a_long_name_{k:02d}_of_a_large_network" for k in range(40)]
    figure = figures.index_bars(indices(np.linspace(0.9, 0.0, 40), names))
    axis = shown(figure)[0]
    texts = labels(axis)
    assert len(set(texts)) == 40 and max(map(len, texts)) <= figures.LONGEST
    height = axis.get_window_extent().height / figure.dpi * 72
    assert height / 40 > 12  # points for a line of 8


def test_names_are_shortened_in_their_middle_or_where_they_agree():
    assert figures.short_names(["k", "x" * 20 + "middle" + "y" * 20]) == ["k", "x" * 13 + "…" + "y" * 12]
    alike = [f"{'x' * 30}{k}{'y' * 30}" for k in "ab"]
    assert figures.short_names(alike) == ["…a" + "y" * 23 + "…", "…b" + "y" * 23 + "…"]


# pairs ----------------------------------------------------------------------------------------------------------------


def test_the_map_has_each_pair_once_with_its_number_and_its_mark():
    axis = shown(figures.second_order_map(pairs()))[0]
    assert sorted(text.get_text() for text in axis.texts) == [".02", ".02", ".40"]
    picture = np.ma.filled(axis.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(np.isfinite(picture), np.tri(3, k=-1, dtype=bool))
    assert np.nanmax(picture) == 0.4
    assert len(axis.lines[0].get_xdata()) == 2
    assert [label.get_text() for label in axis.get_xticklabels()] == ["p0", "p2"]
    assert labels(axis) == ["p2", "p1"]


def test_a_negative_index_is_written_and_shaded_as_none():
    dataset = pairs()
    dataset["S2"][1, 0] = dataset["S2"][0, 1] = -0.03
    axis = shown(figures.second_order_map(dataset))[0]
    assert "−.03" in [text.get_text() for text in axis.texts]
    assert np.ma.filled(axis.images[0].get_array(), np.nan)[2, 0] == 0.0


def test_a_large_map_keeps_marks_and_drops_numbers():
    axis = shown(figures.second_order_map(pairs(40)))[0]
    assert not axis.texts
    assert len(axis.lines[0].get_xdata()) == 40 * 39 / 2 - 1


# over time and over n -------------------------------------------------------------------------------------------------


def test_curves_and_bands_over_time():
    figure = figures.indices_over_time(over_time(), unit="h")
    axes = shown(figure)
    assert [axis.get_title(loc="left") for axis in axes] == ["rate", "k", "volume"]
    curves = {line.get_label(): line for line in axes[0].lines}
    np.testing.assert_allclose(curves["ST"].get_ydata(), 0.6 * (1 + 0.1 * TIME))
    np.testing.assert_allclose(curves["S1"].get_ydata(), 0.3 * (1 + 0.1 * TIME))
    band = axes[0].collections[1].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (pytest.approx(0.2), pytest.approx(0.3 * 1.4 + 0.1))
    assert figure.get_supxlabel() == "time [h]"


def test_panels_that_are_not_drawn_are_counted():
    figure = figures.indices_over_time(over_time(), most=1)
    assert len(shown(figure)) == 1
    assert figure.get_supxlabel().endswith("2 more parameters are not drawn, their total indices at most 0.3")


def test_convergence_has_every_size():
    small, large = indices(width=0.3), indices((0.4, 0.001, 0.6), width=0.05).isel(parameter=[2, 0, 1])
    axes = shown(figures.index_convergence({1024: large, 64: small}))
    assert [axis.get_title(loc="left") for axis in axes] == ["rate", "k", "volume"]
    curves = {line.get_label(): line for line in axes[1].lines}
    np.testing.assert_allclose(curves["ST"].get_ydata(), [0.3, 0.4])
    whiskers = axes[1].collections[0].get_segments()
    np.testing.assert_allclose([segment[:, 1] for segment in whiskers], [[0.0, 0.6], [0.35, 0.45]], atol=1e-12)
    assert axes[1].get_xscale() == "log"


def test_labels_of_sizes_keep_apart():
    assert figures._apart([64, 66, 68, 1024]) == [68, 1024]
    assert figures._apart([64, 128, 256, 512]) == [64, 128, 256, 512]


def test_the_stack_over_time_is_that_of_the_report():
    figure = figures.variance_stack_over_time(parts(), output="C")
    axis = shown(figure)[0]
    assert len(axis.collections) == 3
    assert axis.get_ylabel() == "variance of C"
    tops = [collection.get_paths()[0].vertices[:, 1].max() for collection in axis.collections]
    assert tops == pytest.approx([0.2, 0.7, 1.0])


# distributions --------------------------------------------------------------------------------------------------------


def test_a_density_with_its_band_and_quantiles_beside_a_count():
    axes = shown(density(distribution(), unit="mg"))
    assert [axis.get_title(loc="left") for axis in axes] == ["mass", "cells"]
    curve, median = axes[0].lines
    assert curve.get_ydata().max() == 1.0
    assert median.get_xdata() == 1.0
    band, spread = axes[0].collections
    assert band.get_paths()[0].vertices[:, 1].max() == pytest.approx(1.05)
    np.testing.assert_allclose(spread.get_segments()[0][:, 0], [0.3, 1.7])
    assert [patch.get_height() for patch in axes[1].patches] == [0.25, 0.75]
    np.testing.assert_allclose(axes[1].collections[0].get_segments()[1][:, 1], [0.7, 0.8])


def test_a_density_from_a_map_needs_no_interval():
    y = np.linspace(-1.0, 1.0, 201)
    with np.errstate(divide="ignore"):
        height = 1 / (np.pi * np.sqrt(1 - y**2))
    axis = shown(density(xr.Dataset({"density": ("y", height)}, {"y": y})))[0]
    assert not axis.collections
    assert [text.get_text() for text in axis.texts] == ["up to ∞"]
    assert np.isfinite(axis.get_ylim()).all()


# what cannot be drawn -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "draw, dataset, messages",
    [
        (figures.index_bars, indices().drop_vars(["S1_lower", "ST"]), ["'S1_lower' is missing", "'ST' is missing"]),
        (figures.index_bars, over_time().expand_dims(output=2), ["besides", "isel"]),
        (figures.second_order_map, indices(), ["'S2' is missing"]),
        (figures.second_order_map, pairs().expand_dims(output=2), ["'output' besides"]),
        (figures.indices_over_time, indices(), ["it needs 'time'"]),
        (figures.variance_stack_over_time, parts().isel(time=0), ["it needs 'time'"]),
        (figures.variance_stack_over_time, indices(), ["'epistemic_share' is missing"]),
        (figures.index_convergence, {64: indices()}, ["at least two"]),
        (figures.index_convergence, {64: indices(), 128: over_time()}, ["n = 128", "'time' besides"]),
        (figures.index_convergence, {64: indices(), 128: indices(names="abc")}, ["other parameters"]),
        (density, indices(), ["neither"]),
        (density, distribution().drop_vars("y"), ["no coordinate `y`"]),
        (density, distribution().expand_dims(more=2), ["select one"]),
    ],
)
def test_what_is_missing_is_said(draw, dataset, messages):
    with pytest.raises(InputError) as caught:
        draw(dataset)
    assert all(message in str(caught.value) for message in messages), str(caught.value)


def test_nothing_is_changed_outside_the_figures():
    before, loaded = dict(matplotlib.rcParams), "matplotlib.pyplot" in sys.modules
    dataset, kept = indices(), indices()
    figures.index_bars(dataset)
    figures.second_order_map(pairs())
    density(distribution())
    xr.testing.assert_identical(dataset, kept)
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded

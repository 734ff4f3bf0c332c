"""The figures: what they draw, not how they look."""

import sys

import matplotlib
import numpy as np
import pytest

from uqbench import InputError
from uqbench.reporting import drawing, figures

from .conftest import EPISTEMIC, RUNS, TIMES, build


def shown(figure):
    figure.canvas.draw()
    return [axis for axis in figure.axes if axis.get_visible()]


def test_every_run_has_its_panel_and_only_its_own_data(tree):
    axes = shown(figures.predictive_band(tree, "concentration"))
    assert len(axes) == len(RUNS)
    values = tree["observed_data"]["concentration"].values.reshape(len(RUNS), -1)
    for axis, mine in zip(axes, values, strict=True):
        dots = axis.lines[-1]
        np.testing.assert_array_equal(dots.get_xdata(), TIMES)
        np.testing.assert_array_equal(dots.get_ydata(), mine)


def test_panels_are_titled_by_what_tells_them_apart(tree, groups):
    assert figures.run_labels(tree) == ["subject a, low", "subject b, low", "subject a, high"]
    groups["posterior_band"]["unit"] = ("run", ["a", "b", "c"])
    assert figures.run_labels(build(groups)) == ["subject a", "subject b", "subject c"]
    groups["posterior_band"]["unit"] = groups["posterior_band"]["experiment"]
    assert figures.run_labels(build(groups)) == ["low", "low", "high"]


def test_axes_are_shared_and_have_units(tree):
    figure = figures.predictive_band(tree, "concentration")
    axes = shown(figure)
    assert len({axis.get_ylim() for axis in axes}) == 1
    assert figure.get_supylabel() == "concentration [mg/L]"
    assert figure.get_supxlabel() == "time [h]"


def test_densities_are_densities(tree):
    axes = shown(figures.densities(tree))
    assert [axis.get_title(loc="left").split(" ")[0] for axis in axes] == [*EPISTEMIC]
    for axis in axes:
        posterior = next(line for line in axis.lines if line.get_label() == "posterior")
        assert np.trapezoid(posterior.get_ydata(), posterior.get_xdata()) == pytest.approx(1, abs=0.01)


def test_a_density_does_not_fall_where_its_support_ends():
    draws = np.random.default_rng(0).uniform(0, 1, 4000)
    density = drawing.kernel_density(draws, np.linspace(0.0, 1.0, 50), (0.0, 1.0))
    np.testing.assert_allclose(density, 1.0, atol=0.15)


def test_variance_stack_fills_the_whole_bar(tree):
    axis = shown(figures.variance_stack(tree))[0]
    widths = [patch.get_width() for patch in axis.patches]
    assert widths == pytest.approx([0.08, 0.92, 0.45, 0.55])


def test_a_negative_share_is_drawn_as_none(groups):
    groups["variance"]["epistemic_share"][0] = -0.01
    axis = shown(figures.variance_stack(build(groups)))[0]
    assert axis.patches[0].get_width() == 0


def test_variance_over_time_covers_all_times(tree):
    axis = shown(figures.variance_over_time(tree, "concentration"))[0]
    assert len(axis.collections) == 3
    assert axis.get_xlim() == (TIMES.min(), TIMES.max())


def test_sobol_bars_show_every_input_of_every_quantity(tree):
    axes = shown(figures.sobol_bars(tree))
    assert [axis.get_title(loc="left") for axis in axes] == ["AUC", "Cmax"]
    assert [label.get_text() for label in axes[0].get_yticklabels()] == ["parameter uncertainty", "ka", "CL"]
    assert [patch.get_width() for patch in axes[0].patches[:3]] == pytest.approx([0.15, 0.01, 0.85])


@pytest.mark.parametrize("draw", [figures.densities, figures.variance_stack, figures.sobol_bars])
def test_a_figure_without_its_group_says_so(draw, groups):
    with pytest.raises(InputError, match="is missing"):
        draw(build({"structure": groups["structure"]}))


def test_an_unknown_output_is_named(tree):
    with pytest.raises(InputError, match="'pressure'"):
        figures.predictive_band(tree, "pressure")


def test_no_global_state_is_touched(tree):
    before = dict(matplotlib.rcParams)
    loaded = "matplotlib.pyplot" in sys.modules
    figures.sobol_bars(tree)
    assert dict(matplotlib.rcParams) == before
    assert ("matplotlib.pyplot" in sys.modules) == loaded

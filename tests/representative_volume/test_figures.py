"""The picture of an REV analysis: that it draws what the analysis says, not how it looks."""

import numpy as np
import pytest

from uqbench.reporting.drawing import NARROW, WIDTH
from uqbench.representative_volume import rev_analysis
from uqbench.representative_volume.figures import rev_figure

GIVEN = {"voxel_size": 2.0, "unit": "um"}


def noise(side=256):
    return (np.random.default_rng(0).random((side, side)) < 0.4).astype(int)


def drawn(figure):
    """Both panels, and their artists by label."""
    figure.canvas.draw()
    return [{artist.get_label(): artist for artist in (*axis.lines, *axis.patches, *axis.collections)}
            for axis in figure.axes]  # fmt: skip


@pytest.mark.parametrize("width", [WIDTH, NARROW])
def test_curves_are_those_of_the_analysis(width):
    analysis = rev_analysis(noise(), boundary_layer=100.0, **GIVEN)
    figure = rev_figure(analysis, width=width)
    left, right = drawn(figure)
    np.testing.assert_allclose(left["mean"].get_data(), [analysis.window, analysis.mean])
    spread = right["relative standard deviation"].get_data()
    known = np.isfinite(analysis.relative_sd)
    np.testing.assert_allclose(spread, [analysis.window[known], analysis.relative_sd[known]])
    band = left["spread between windows"].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx((analysis.mean * (1 + analysis.relative_sd))[known].max())
    # sizes with enough windows, and without
    few = ~np.isfinite(analysis.upper)
    for part in (left, right):
        np.testing.assert_allclose(part["resolved"].get_xdata(), analysis.window[~few])
        np.testing.assert_allclose(part["too few windows"].get_xdata(), analysis.window[few])
        assert list(part["boundary layer"].get_xdata()) == [100.0, 100.0]
    # of independent voxels the line is where the curve is
    line = right["independent voxels"].get_ydata()
    np.testing.assert_allclose(line[:4], analysis.relative_sd[:4], rtol=0.1)


def test_tolerance_and_interval_are_marked():
    analysis = rev_analysis(noise(), tolerance=0.1, **GIVEN)
    left, right = drawn(rev_figure(analysis))
    low, high = analysis.interval
    for part in (left, right):
        box = part["REV"].get_bbox()
        # half a step beyond the sizes at most, none of which is taken in
        assert low / 2 < box.x0 < low and high < box.x1 < 2 * high
    assert list(right["tolerance"].get_ydata()) == [0.1, 0.1]
    reference = analysis.mean[np.isfinite(analysis.upper)][-1]
    heights = sorted(float(line.get_ydata()[0]) for name, line in left.items() if name.startswith("_child"))
    np.testing.assert_allclose(heights, reference * np.array([0.9, 1.1]))


def test_without_an_rev_nothing_is_shaded_and_the_findings_are_read():
    sample = np.random.default_rng(1).random((128, 128)) < np.linspace(0.2, 0.8, 128)[:, None]
    analysis = rev_analysis(sample, **GIVEN)
    figure = rev_figure(analysis)
    assert all("REV" not in part for part in drawn(figure))
    text = " ".join(figure.get_supxlabel().split())
    for finding in analysis.findings:
        assert " ".join(finding.split()) in text
    assert text.startswith("no REV of the porosity") and f"size^-{analysis.decay:.2f}" in text


def test_what_is_not_resolved_or_does_not_vary_is_drawn_too(tmp_path):
    for sample in (noise(8), np.ones((16, 16))):
        figure = rev_figure(rev_analysis(sample, **GIVEN))
        left, _ = drawn(figure)
        assert left["mean"].get_xdata().size > 1
        figure.savefig(tmp_path / "rev.png")
        assert (tmp_path / "rev.png").stat().st_size > 1000

"""REV analysis of samples that have one, that have none, and of what is no sample; and the closed forms."""

import jax
import numpy as np
import pytest

import uqbench as uq
from uqbench.representative_volume import rev_analysis, trend_bias, variance_ratio

GIVEN = {"voxel_size": 2.0, "unit": "um"}


def noise(shape, seed=0):
    """Independent voxels, 40 % pores: the standard deviation of a window of n voxels is sqrt(.24 / n)."""
    return (np.random.default_rng(seed).random(shape) < 0.4).astype(int)


# SYSTEMS.md, section B
@pytest.mark.parametrize(
    "ratio, d, expected",
    [(1.0, 1, 0.7357588823), (2.5, 1, 0.5062671996), (5.0, 1, 0.3205390358), (10.0, 1, 0.1800009079),
     (5.0, 3, 0.0329338709)],
)  # fmt: skip
def test_fluctuations_of_windows(ratio, d, expected):
    assert float(variance_ratio(ratio, d)) == pytest.approx(expected, abs=1e-10)


def test_small_windows_keep_their_digits():
    """The series and the closed form meet, also in their slopes; a point has all of the variance."""
    assert float(variance_ratio(0.0)) == 1.0
    for function in (variance_ratio, jax.grad(variance_ratio)):
        low, high = function(0.05 * (1 - 1e-9)), function(0.05)
        assert float(low) == pytest.approx(float(high), rel=1e-8)


def test_bias_of_a_parabola():
    x = (np.arange(1000) + 0.5) / 1000 - 0.5
    mean = np.mean(1 + x**2 / (2 * 5.0**2))
    assert float(trend_bias(1.0, 5.0)) == pytest.approx(mean - 1, rel=1e-5)


def test_independent_voxels_have_a_representative_window():
    found = rev_analysis(noise((256, 256)), **GIVEN)
    lower, upper = found.interval
    # sqrt(.24) / (.4 n) is 8 % for windows of 16 voxels, 3.8 % of 32
    assert lower == 64.0 and upper >= 64.0
    assert found.decay == pytest.approx(2.0, abs=0.3)
    assert found.findings == ()
    small = found.window < 64.0
    np.testing.assert_allclose(found.relative_sd[small], np.sqrt(0.6 / 0.4) / (found.window[small] / 2), rtol=0.15)


def test_a_trend_is_no_representative_window():
    place = np.linspace(0.2, 0.8, 128)
    sample = np.random.default_rng(1).random((128, 128)) < place[:, None]
    found = rev_analysis(sample, **GIVEN)
    assert found.interval is None
    assert "no REV" in str(found)
    assert found.trend[0] == pytest.approx(1.2, rel=0.15) and abs(found.trend[1]) < 0.1
    assert any("along x" in finding for finding in found.findings)
    assert not any("along y" in finding for finding in found.findings)
    assert any("long range" in finding for finding in found.findings)


def test_the_effective_coefficient_of_windows():
    """Layers one voxel thick: the mean of the harmonic and the arithmetic mean in every window."""
    layers = np.where(np.arange(16)[:, None] % 2 == 0, 1.0, 10.0) * np.ones((16, 16))
    found = rev_analysis(layers, property="effective coefficient", windows=[2, 4], **GIVEN)
    np.testing.assert_allclose(found.mean, (20 / 11 + 5.5) / 2, rtol=1e-8)
    assert found.interval == (4.0, 8.0)


def test_a_sample_in_space():
    found = rev_analysis(noise((32, 32, 32)), windows=[4, 8, 16], **GIVEN)
    assert found.count.tolist() == [512, 64, 8]
    np.testing.assert_allclose(found.relative_sd[:2], np.sqrt(1.5 / np.array([64.0, 512.0])), rtol=0.25)


def test_few_windows_are_not_resolved():
    found = rev_analysis(noise((8, 8)), windows=[4], **GIVEN)
    assert found.interval is None
    assert "too small to tell" in found.findings[0]


def test_thin_boundary_layers_are_flagged():
    found = rev_analysis(noise((256, 256)), boundary_layer=100.0, **GIVEN)
    assert "boundary layer of 100 um" in found.findings[-1]
    assert not rev_analysis(noise((256, 256)), boundary_layer=400.0, **GIVEN).findings


def test_files_are_what_they_hold(tmp_path):
    from PIL import Image

    sample = noise((32, 32)).astype(np.uint8)
    np.save(tmp_path / "a.npy", sample)
    Image.fromarray(sample).save(tmp_path / "a.tif")
    stack = [Image.fromarray(layer) for layer in noise((4, 8, 8)).astype(np.uint8)]
    stack[0].save(tmp_path / "stack.tif", save_all=True, append_images=stack[1:])
    expected = rev_analysis(sample, **GIVEN).mean
    for name in ("a.npy", "a.tif"):
        np.testing.assert_allclose(rev_analysis(tmp_path / name, **GIVEN).mean, expected)
    assert rev_analysis(str(tmp_path / "stack.tif"), windows=[2], **GIVEN).count[0] == 32


def test_all_findings_at_once():
    sample = np.ones((4, 4))
    sample[0, 0] = np.nan
    with pytest.raises(uq.InputError) as caught:
        rev_analysis(sample, property="colour", tolerance=2.0, windows=[8])
    found = caught.value.findings
    assert len(found) == 6
    for finding, text in zip(found, ("no voxel size", "no unit", "colour", "tolerance", "not finite", "larger than"),
                             strict=True):  # fmt: skip
        assert text in finding


@pytest.mark.parametrize(
    "sample, settings, text",
    [
        ("nothing.npy", {}, "no file"),
        (np.ones(5), {}, "two or three axes"),
        (np.array([["a"]]), {}, "real numbers"),
        (np.arange(16.0).reshape(4, 4), {}, "more than two values"),
        (
            np.eye(4),
            {"property": "effective coefficient"},
            "12 of 16 voxels do not conduct.* small positive coefficient",
        ),
        (-np.ones((4, 4)), {"property": "effective coefficient"}, "16 of 16 voxels"),
        (np.zeros((4, 4)), {}, "there are no pores"),
        (np.indices((4, 4))[0] - 1.5, {"property": "mean"}, "mean of the sample is zero"),
        (np.ones((8, 8, 3)), {"windows": [4]}, "colours"),
        (np.ones((4, 4)), {"tolerance": "5%"}, "tolerance is '5%'"),
        (np.ones((4, 4)), {"boundary_layer": "thin"}, "boundary_layer is 'thin'"),
        (np.ones((4, 4)), {"voxel_size": [1.0, 2.0]}, "the same along all axes"),
        (np.ones((4, 4)), {"windows": [1.5]}, "whole voxels"),
        (np.ones((4, 4)), {"boundary_layer": -1.0}, "boundary_layer is -1.0"),
        (np.ones((4, 4)), {"voxel_size": 0.0}, "positive length"),
        (np.ones((4, 4)), {"unit": "smoot2x"}, "does not parse"),
    ],
)
def test_what_is_refused(sample, settings, text):
    with pytest.raises(uq.InputError, match=text):
        rev_analysis(sample, **(GIVEN | settings))


@pytest.mark.parametrize("name", ["a.npy", "a.tif"])
def test_files_that_are_something_else(tmp_path, name):
    (tmp_path / name).write_text("no image")
    with pytest.raises(uq.InputError) as caught:
        rev_analysis(tmp_path / name, tolerance=-1.0, **GIVEN)
    first, second = caught.value.findings
    assert "does not hold" in first and "tolerance" in second

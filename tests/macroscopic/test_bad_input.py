"""What is refused, with every finding; and the codes of what is found only while solving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import uqbench as uq
from tests.homogenisation.media import two_phases
from uqbench.homogenisation import Ending as CellEnding
from uqbench.macroscopic import (
    SENTENCES,
    Ending,
    corrected_field,
    errors_in_epsilon,
    homogenisation_error,
    homogenised_profile,
    nonlocal_diffusivity,
    nonlocal_kernel,
    nonlocal_profile,
    resolved_problem,
    wall_law,
)

CELL = np.ones((4, 4))


def findings(function, *given, **settings):
    with pytest.raises(uq.InputError) as caught:
        function(*given, **settings)
    return caught.value.findings


def test_every_finding_of_a_slab_at_once():
    found = findings(resolved_problem, -CELL, cells=2.5, consumption=-1.0, walls=(1.0, np.nan), spacing=(1.0, 0.0))
    assert len(found) == 5
    for part in ("voxels are negative", "spacing", "cells is 2.5", "consumption is -1", "walls has 1 values"):
        assert sum(part in finding for finding in found) == 1, part


@pytest.mark.parametrize("source", [np.ones(7), np.ones((9, 3)), np.full(9, np.inf), "much"])
def test_sources_are_at_the_nodes(source):
    assert "source" in findings(resolved_problem, CELL, source, cells=2)[0]


@pytest.mark.parametrize("cells", [0, 1.0, True, "two", -3])
def test_slabs_are_made_of_whole_cells(cells):
    assert "epsilon is one over their number" in findings(resolved_problem, CELL, cells=cells)[0]


@pytest.mark.parametrize("cells, part", [(1, "at least 2"), (5, "even number")])
def test_strips_have_half_for_each_wall(cells, part):
    assert part in findings(wall_law, CELL, cells=cells)[0]


def test_every_finding_of_the_homogenised_problem_at_once():
    found = findings(
        homogenised_profile, 0.0, np.ones(2), length=-1.0, consumption=np.inf, walls=(1.0,), shifts=("a", "b")
    )
    assert len(found) == 6


def test_every_finding_of_errors_in_epsilon_at_once():
    found = findings(errors_in_epsilon, CELL, jnp.sin, cells=(4, 6, 2), consumption=-2.0)
    assert len(found) == 3 and "multiple of 4" in found[0]


def test_wave_numbers_end_with_the_grid():
    found = findings(nonlocal_diffusivity, CELL, [0.0, 2.0, 4.0], consumption=-1.0, spacing=(2.0, 1.0))
    assert "2 of 3 wave numbers are beyond pi / 2" in found[0] and len(found) == 2
    assert "list of numbers" in findings(nonlocal_diffusivity, CELL, 1.0)[0]
    assert "cells" in findings(nonlocal_kernel, CELL, cells=0)[0]


def test_what_enters_has_to_leave():
    kernel = nonlocal_kernel(CELL, cells=2)
    assert "what enters stays" in findings(nonlocal_profile, kernel, np.ones(8))[0]
    assert "shape" in findings(nonlocal_profile, kernel, np.ones(9))[0]
    assert np.all(np.isnan(jax.jit(nonlocal_profile)(kernel, jnp.ones(8))))


def test_estimates_need_a_decay_length_and_fields_whole_cells():
    law = wall_law(CELL)
    assert "decay_length is 0" in findings(homogenisation_error, law, 0.0)[0]
    profile = homogenised_profile(1.0, np.ones(8), length=7.0)
    assert "n * 4 + 1" in findings(corrected_field, profile, law)[0]


def test_traced_values_have_codes():
    def of_slab(scale, rate):
        return resolved_problem(scale * jnp.asarray(CELL), 1.0, cells=2, consumption=rate)

    bad, negative = jax.jit(of_slab)(-1.0, 0.0), jax.jit(of_slab)(1.0, -1.0)
    assert int(bad.result) == CellEnding.BAD_COEFFICIENT and int(negative.result) == Ending.BAD_PARAMETER
    assert np.all(np.isnan(bad.concentration)) and np.all(np.isnan(negative.concentration))
    waves = jax.jit(lambda rate: nonlocal_diffusivity(CELL, jnp.ones(2), consumption=rate))(-1.0)
    assert np.all(waves.result == Ending.BAD_PARAMETER) and np.all(np.isnan(waves.diffusivity))
    assert {int(bad.result), int(negative.result)} <= set(SENTENCES)


def test_too_few_iterations_have_a_code():
    cell = two_phases(3, (8, 8), 100.0)
    for found in (
        resolved_problem(cell, 1.0, cells=2, max_iterations=2),
        wall_law(cell, max_iterations=2),
        nonlocal_kernel(cell, cells=1, max_iterations=2),
    ):
        assert int(found.result) == CellEnding.ITERATIONS
        assert np.all(np.isnan(found[0]))


def test_layers_that_meet_have_a_code():
    """A cell eight times as wide as long, whose layers are as deep as it is wide."""
    cell = np.where(np.arange(16) < 8, 1.0, 50.0) * np.ones((2, 16))
    cell[0, :4] = 50.0
    assert int(wall_law(cell, cells=2).result) == Ending.BOUNDARY_LAYERS
    assert int(wall_law(cell).result) == Ending.SUCCESS

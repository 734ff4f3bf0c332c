"""Effective tensors: time against a sparse direct solver and an iterative one, memory, and the bounds of random media.

The direct solver is scipy's SuperLU on the same equations of bilinear elements, for one direction. Times are of the
processor, and the fastest of three.
"""

import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import splu

from uqbench.homogenisation import effective_bounds, effective_tensor
from uqbench.homogenisation.elements import EXACT, extended, stiffness

from ..homogenisation.media import checkerboard, two_phases

pytestmark = pytest.mark.bench


def fastest(function, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return min(times)


def element_matrix():
    """`(4, 4)` of a bilinear element with coefficient 1, from the operator on a cell of 3 x 3 with one such voxel."""
    one = jnp.zeros((3, 3)).at[0, 0].set(1.0)
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    columns = [
        stiffness(extended(one, 2, before=True), jnp.zeros((3, 3)).at[corner].set(1.0), (1.0, 1.0), EXACT)
        for corner in corners
    ]
    return np.array([[float(column[corner]) for column in columns] for corner in corners])


def direct(cell):
    """Time of one direction by SuperLU, and the entry of the tensor, by the energy of its field."""
    n, element = cell.shape[0], element_matrix()
    index = np.arange(n * n).reshape(n, n)
    corners = np.stack([np.roll(index, (-i, -j), (0, 1)).ravel() for i in (0, 1) for j in (0, 1)])
    values = cell.ravel() * element[:, :, None]
    rows, columns = np.broadcast_to(corners[:, None], values.shape), np.broadcast_to(corners[None], values.shape)
    matrix = sparse.csc_array(sparse.coo_array((values.ravel(), (rows.ravel(), columns.ravel()))))
    # the load of a uniform gradient: its potential is the first coordinate of the corners
    uniform = np.array([0.0, 0.0, 1.0, 1.0])
    load = np.zeros(n * n)
    np.add.at(load, corners, -cell.ravel() * (element @ uniform)[:, None])

    def solve():
        return splu(matrix[1:, 1:]).solve(load[1:])

    start = time.process_time()
    field = np.concatenate([[0.0], solve()])
    seconds = time.process_time() - start
    local = field[corners] + uniform[:, None]
    return seconds, np.sum(cell.ravel() * np.einsum("an,ab,bn->n", local, element, local)) / n**2


def test_two_directions_at_1024_against_a_direct_solver_at_256():
    """Scaled by unknowns, in favour of the direct solver, whose work grows faster than they do.

    The tolerance of 1e-8 is far below the error of the grid, 2e-5, and that of the direct solver's, 1e-2.
    """
    seconds, entry = direct(checkerboard(256, 10.0))
    cell = jnp.asarray(checkerboard(1024, 10.0))

    def solve():
        return jax.block_until_ready(effective_tensor(cell, tolerance=1e-8))

    found = float(solve().tensor[0, 0])
    own = fastest(solve)
    scaled = 2 * 16 * seconds
    print(f"\n1024^2, two directions: {own:.2f} s; SuperLU at 256^2, one: {seconds:.2f} s, scaled {scaled:.1f} s,")
    print(f"ratio 1/{scaled / own:.0f}; errors {found / np.sqrt(10) - 1:.1e} and {entry / np.sqrt(10) - 1:.1e}")
    assert own < scaled / 20
    assert abs(found / np.sqrt(10) - 1) < 1e-4 < abs(entry / np.sqrt(10) - 1)


def test_random_media_are_inside_their_bounds():
    """100 of 100, against the estimate and bounds at four times the resolution, which are nested in them."""
    widths, inside = [], 0
    for seed in range(100):
        contrast = [10.0, 100.0, 1000.0][seed % 3]
        cell = two_phases(seed, (32, 32), contrast)
        bracket, finer = (effective_bounds(cell, refine=refine, corner_degree=0) for refine in (1, 4))
        gaps = [finer.estimate - bracket.lower, bracket.upper - finer.estimate]
        inside += all(np.linalg.eigvalsh(np.asarray(gap)).min() > 0 for gap in gaps)
        distance = abs(float(bracket.estimate[0, 0] / finer.estimate[0, 0]) - 1)
        widths.append((contrast, float(jnp.max(bracket.width)), float(jnp.max(finer.width)), distance))
    rows = np.array(widths)
    print(f"\ninside: {inside} of 100")
    for contrast in np.unique(rows[:, 0]):
        width, finer, distance = np.median(rows[rows[:, 0] == contrast, 1:], axis=0)
        print(
            f"contrast {contrast:g}: median width {width:.1%}, 4 times finer {finer:.1%}, estimate off {distance:.1e}"
        )
    assert inside == 100


@pytest.mark.parametrize("contrast", [10.0, 100.0, 1000.0])
def test_widths_on_the_checkerboard(contrast):
    truth = np.sqrt(contrast)
    print(f"\ncheckerboard, contrast {contrast:g}: n, lower, discrete, upper, estimate relative to the truth")
    for n in (64, 256, 1024):
        cell = checkerboard(n, contrast)
        bracket, found = effective_bounds(cell, corner_degree=0), effective_tensor(cell)
        entries = [each[0, 0] / truth - 1 for each in (bracket.lower, found.tensor, bracket.upper, bracket.estimate)]
        print(n, " ".join(f"{float(entry):+.2e}" for entry in entries))
        assert entries[0] < 0 < entries[2]


def cell_of_corners(contrast):
    """Two phases on 32 x 32 voxels, with hundreds of corners."""
    return two_phases(0, (32, 32), contrast)


@pytest.mark.parametrize("contrast", [10.0, 100.0, 1000.0])
@pytest.mark.parametrize("medium, n", [(lambda contrast: checkerboard(2, contrast), 512), (cell_of_corners, 32)])
def test_narrow_bounds_against_a_fine_uniform_grid(medium, n, contrast):
    """Elements for corners, one to a voxel, against bilinear ones on 1024 x 1024."""
    cell = medium(contrast)

    def narrow():
        return jax.block_until_ready(effective_bounds(cell))

    def wide():
        return jax.block_until_ready(effective_bounds(cell, refine=n, corner_degree=0))

    found, plain = narrow(), wide()
    own, other = fastest(narrow), fastest(wide, 1)
    print(f"\n{len(cell)}^2 voxels, contrast {contrast:g}: width {float(jnp.max(found.width)):.1e} in {own:.2f} s;")
    print(
        f"1024^2 bilinear: {float(jnp.max(plain.width)):.1e} in {other:.2f} s, which is {other / own:.1f} times as long"
    )
    for inner, outer in [(found.upper, plain.upper), (plain.lower, found.lower)]:
        assert np.linalg.eigvalsh(np.asarray(outer - inner)).min() > 0
    assert np.all(found.width < 1e-4) and own < other


MEMORY = """
import resource, jax, numpy as np
from uqbench.homogenisation import effective_tensor
cell = np.where(np.random.default_rng(0).random((128, 128, 128)) < 0.5, 1.0, 10.0)
found = jax.block_until_ready(effective_tensor(cell))
print(int(found.result), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def test_memory_at_128_cubed():
    root = Path(__file__).parents[2]
    out = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True, cwd=root)
    result, gigabytes = out.stdout.split()
    print(f"\n128^3: {float(gigabytes):.2f} GiB at most, with Python and JAX")
    assert result == "0" and float(gigabytes) < 4.0

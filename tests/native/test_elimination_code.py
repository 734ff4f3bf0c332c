"""Eliminations written out as straight lines: to the bits of those by lists of positions."""

import ctypes

import numpy as np
import pytest

from uqbench.kernels.code import module
from uqbench.kernels.elimination_code import MOST_OPERATIONS, elimination_kernels
from uqbench.native.engine.elimination import eliminate
from uqbench.native.engine.records import Model
from uqbench.native.engine.sparse import factorize, substitute
from uqbench.native.language import WIDTH, Vector, native, record_fields
from uqbench.native.library import compile_library, compile_module, pack


@native
def solve(model: Model, w: Vector, x: Vector) -> None:
    factorize(model, w)
    substitute(model, w, x)


def by_lists(elimination, w: np.ndarray, x: np.ndarray) -> None:
    names = ("order", "lower_starts", "lower_rows", "lower_sources", "upper_rows", "upper_sources")
    known = {name: getattr(elimination, name) for name in (*names, "update_starts", "updates")}
    known |= {name: getattr(elimination, name) for name in ("update_lower", "update_upper")}
    counts = {"states": len(x), "lower_count": len(elimination.lower_rows), "upper_count": len(elimination.upper_rows)}
    record = pack(Model, **(dict.fromkeys(record_fields(Model), 0) | known | counts))
    address = compile_library([solve], "test").address("solve")
    ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(address)(record.address, w.ctypes.data, x.ctypes.data)


@pytest.mark.parametrize("n, entries", [(1, 1), (3, 7), (8, 20), (20, 80)])
def test_straight_lines_have_the_bits_of_lists(n, entries, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    rng = np.random.default_rng(n)
    chosen = np.sort(rng.choice(n * n, entries, replace=False))
    elimination = eliminate(n, [(int(k) // n, int(k) % n) for k in chosen])
    places = [elimination.places[int(k) // n, int(k) % n] for k in chosen]
    kernels = elimination_kernels(elimination, places)
    engine = compile_module(module(kernels))
    call = {
        kernel.name: ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(engine.get_function_address(kernel.name))
        for kernel in kernels
    }
    row = rng.normal(size=(1 + n + entries, WIDTH))
    row[0] = 3.0
    factors, right = np.zeros((elimination.size, WIDTH)), rng.normal(size=(n, WIDTH))
    solution = right.copy()
    call["factors"](row.ctypes.data, factors.ctypes.data, 0)
    call["substitution"](factors.ctypes.data, solution.ctypes.data, 0)
    for lane in range(WIDTH):
        w, x = np.zeros(elimination.size), right[:, lane].copy()
        w[:n] = row[0, lane]
        w[places] -= row[1 + n :, lane]
        by_lists(elimination, w, x)
        np.testing.assert_array_equal(factors[:, lane], w)
        np.testing.assert_array_equal(solution[:, lane], x)
        matrix = row[0, lane] * np.eye(n)
        matrix[chosen // n, chosen % n] -= row[1 + n :, lane]
        np.testing.assert_allclose(matrix @ x, right[:, lane], rtol=1e-8, atol=1e-8)


def test_long_eliminations_are_left_to_lists():
    n = 40
    elimination = eliminate(n, [(i, j) for i in range(n) for j in range(n)])
    assert len(elimination.updates) > MOST_OPERATIONS
    assert elimination_kernels(elimination, []) == []

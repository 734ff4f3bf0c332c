"""What a calibration costs beside other packages: hare and lynx, from data to draws, compilation included.

The figure is processor time per effective draw, the smallest bulk ESS of the parameters. Each package runs in a process
of its own with empty caches of compiled code (`hare_lynx_samplers`). Where a package has several methods the best of
those counts.
"""

import json
import os
import subprocess
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.bench
ROOT = Path(__file__).parents[2]
# package -> its routes, and how many times the processor time per effective draw of ours each takes at least
OTHERS = {
    "pymc": (("pymc scan nutpie", "pymc scan pymc", "pymc scipy"), 3),
    "pints": (("pints adaptive", "pints dream"), 1),
    "numpyro": (("numpyro",), 1),
}


@cache
def measured(route: str, empty: Path) -> dict:
    """What `hare_lynx_samplers` prints of a route, and its seconds per effective draw."""
    caches = {name: str(empty / name) for name in ("JAX_COMPILATION_CACHE_DIR", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR")}
    caches["PYTENSOR_FLAGS"] = f"base_compiledir={empty / 'pytensor'}"
    command = [sys.executable, "-m", "tests.benchmarks.hare_lynx_samplers", route]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | caches, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    return found | {"each": found["seconds"] / found["ess"]}


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return measured("uqbench", tmp_path_factory.mktemp("uqbench"))


@pytest.mark.parametrize("package", OTHERS)
def test_an_effective_draw_costs_less_than_with_other_packages(package, ours, tmp_path_factory, capsys):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed; it is in the group `bench`")
    routes, times = OTHERS[package]
    found = {route: measured(route, tmp_path_factory.mktemp(package)) for route in routes}
    with capsys.disabled():
        for route, each in {"uqbench": ours, **found}.items():
            print(f"\n{route}: {1e3 * each['each']:.0f} ms per effective draw ({each['ess']:.0f} of them)", end="")
    cheapest = min(found.values(), key=lambda each: each["each"])
    assert times * ours["each"] < cheapest["each"]
    # all sample one posterior, as far as they do
    assert cheapest["means"]["alpha"] == pytest.approx(ours["means"]["alpha"], abs=0.03)

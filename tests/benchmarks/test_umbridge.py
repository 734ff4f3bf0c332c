"""What a request costs: our client and server beside those of the package `umbridge`, in one process each.

Run with `uv run --group bench pytest -m bench -n 0 tests/benchmarks/test_umbridge.py -s`.
"""

import socket
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
import umbridge

import uqbench as uq
from uqbench.umbridge import foreign_function

pytestmark = pytest.mark.bench
ROOT = Path(__file__).parents[2]
REQUESTS, REPEATS = 200, 7
POINT = [2.0, 5.0]

OURS = "from uqbench.umbridge import serve\nserve(model, port=int(sys.argv[1])).serve_forever()"
PACKAGE = "import umbridge\numbridge.serve_models([Product()], int(sys.argv[1]), max_workers=4)"


class Product(umbridge.Model):
    """f(x, y) = x y."""

    def __init__(self):
        super().__init__("product")

    def get_input_sizes(self, config):
        return [2]

    def get_output_sizes(self, config):
        return [1]

    def __call__(self, parameters, config):
        return [[parameters[0][0] * parameters[0][1]]]

    def gradient(self, out_wrt, in_wrt, parameters, sens, config):
        return [sens[0] * parameters[0][1], sens[0] * parameters[0][0]]

    def supports_evaluate(self):
        return True

    def supports_gradient(self):
        return True


def product(theta, design, key):
    return {"f": theta["x"] * theta["y"]}


space = uq.Space(x=uq.epistemic(uq.Normal(2.0, 1.0)), y=uq.epistemic(uq.Normal(3.0, 1.0)))
model = uq.Model.from_function(space, product, {"f": ""}, name="product", dims={"f": ()})


@contextmanager
def server(code):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    whole = f"import sys\nfrom tests.benchmarks.test_umbridge import *\n{code}"
    process = subprocess.Popen([sys.executable, "-c", whole, str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                foreign_function(url)
                break
            except uq.InputError:
                assert time.monotonic() < end and process.poll() is None
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait()


def compared(mine, theirs):
    """Requests of each by second, and the median of the ratios of neighbouring measurements."""

    def rate(many):
        begin = time.perf_counter()
        many()
        return REQUESTS / (time.perf_counter() - begin)

    rate(mine), rate(theirs)
    pairs = [(rate(mine), rate(theirs)) for _ in range(REPEATS)]
    return *(statistics.median(each) for each in zip(*pairs, strict=True)), statistics.median(a / b for a, b in pairs)


@pytest.mark.parametrize("code", [OURS, PACKAGE], ids=["our server", "server of umbridge"])
def test_our_client_against_that_of_the_package(code):
    with server(code) as url:
        theirs, foreign = umbridge.HTTPModel(url, "product"), foreign_function(url, connections=4)
        one = jax.jit(lambda x: foreign(x)[0])
        slope = jax.jit(jax.value_and_grad(lambda x: foreign(x)[0][0]))
        many, points = jax.jit(jax.vmap(one)), np.linspace(1.0, 2.0, 2 * REQUESTS).reshape(-1, 2)
        assert float(one(np.array(POINT))[0]) == theirs([POINT])[0][0] == 10.0
        rows = {
            "one after another": (
                lambda: [jax.block_until_ready(one(np.array(POINT))) for _ in range(REQUESTS)],
                lambda: [theirs([POINT]) for _ in range(REQUESTS)],
            ),
            "a batch": (
                lambda: jax.block_until_ready(many(points)),
                lambda: [theirs([point]) for point in points.tolist()],
            ),
            "value and gradient": (
                lambda: [jax.block_until_ready(slope(np.array(POINT))) for _ in range(REQUESTS)],
                lambda: [(theirs([POINT]), theirs.gradient(0, 0, [POINT], [1.0])) for _ in range(REQUESTS)],
            ),
        }
        for name, pair in rows.items():
            mine, other, ratio = compared(*pair)
            print(f"\n{name}: ours {mine:.0f} a second, umbridge {other:.0f}, ratio {ratio:.2f}")
            # neither new connections nor JAX around the request may cost as much as the request
            assert ratio > 0.7


def test_our_server_against_that_of_the_package():
    with server(OURS) as ours, server(PACKAGE) as package:
        mine, theirs = (foreign_function(url).server for url in (ours, package))
        rate, other, ratio = compared(
            lambda: [mine.evaluate([POINT], {}, [1]) for _ in range(REQUESTS)],
            lambda: [theirs.evaluate([POINT], {}, [1]) for _ in range(REQUESTS)],
        )
    # ours runs a compiled model with all its checks, that of the package one product in Python
    print(f"\nserver: ours {rate:.0f} a second, umbridge {other:.0f}, ratio {ratio:.2f}")
    assert ratio > 0.1

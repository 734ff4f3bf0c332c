"""Servers that die, answer late or answer nonsense: a code with a sentence, and never a run that does not end."""

import socket
import threading
import time

import jax
import numpy as np
import pytest

import uqbench as uq
from uqbench.umbridge import foreign_model, recent_failures

from .foreign_server import foreign_server, seconds, stop
from .models import DESIGN, THETA, decay, space

GONE, LATE, ERROR = uq.Result.SERVER_GONE, uq.Result.SERVER_LATE, uq.Result.SERVER_ERROR


@pytest.mark.parametrize(
    "fault, expected, words",
    [
        ("late", "SERVER_LATE", "no answer within 0.5 s"),
        ("trickle", "SERVER_LATE", "no answer within 0.5 s"),
        ("trickle head", "SERVER_LATE", "no answer within 0.5 s"),
        ("closed", "SERVER_GONE", ""),
        ("cut off", "SERVER_GONE", "IncompleteRead"),
        ("no HTTP", "SERVER_GONE", "BadStatusLine"),
        ("error", "SERVER_ERROR", "InvalidState: the mesh is inverted"),
        ("crash", "SERVER_ERROR", "status 500: Traceback: segmentation fault"),
        ("no JSON", "BAD_ANSWER", "<html>welcome"),
        ("no object", "BAD_ANSWER", "no JSON object"),
        ("no output", "BAD_ANSWER", "output vectors have the sizes None, not [4, 1]"),
        ("flat", "BAD_ANSWER", "[1.0, 2.0, 3.0, 4.0, 5.0], not [4, 1]"),
        ("short", "BAD_ANSWER", "the sizes [2, 1], not [4, 1]"),
        ("vector missing", "BAD_ANSWER", "the sizes [4], not [4, 1]"),
        ("text", "BAD_ANSWER", "where 4 numbers belong"),
        ("null", "BAD_ANSWER", "where 4 numbers belong"),
        ("nested", "BAD_ANSWER", "where 4 numbers belong"),
    ],
)
def test_a_request_that_fails_is_a_run_with_a_code(fault, expected, words):
    expected = uq.Result[expected]
    with foreign_server(fault=fault) as running:
        model = decay(running.url, timeout=0.5)
        run = uq.evaluate(model, THETA, DESIGN)
        assert int(run.result) == expected
        assert all(np.all(np.isnan(values)) for values in run.outputs.values())
        assert model.dynamics.sentence(int(run.result)) == expected.sentence
        last = recent_failures()[-1]
        assert words in last.words and (last.url, last.result) == (running.url, expected)
        assert last.inputs == [[2.0, 0.5]]


@pytest.mark.parametrize("fault, lost", [("NaN", [True, True]), ("nan", [False, True])])
def test_what_is_no_number_is_said_of_the_output(fault, lost):
    with foreign_server(fault=fault) as running:
        run = uq.evaluate(decay(running.url), THETA, uq.Design([1.0, 2.0]))
        assert int(run.result) == uq.Result.OUTPUT_NOT_FINITE
        # the second and third of nan, 1, -inf, 2
        assert np.isnan(run.outputs["C"]).tolist() == lost
        assert float(run.outputs["area"]) == 1.0


def test_one_run_of_a_batch_fails_alone():
    with foreign_server(fault=lambda numbers: "error" if numbers[0] == 3.0 else None) as running:
        run = uq.evaluate_many(decay(running.url), {**THETA, "x0": np.array([1.0, 3.0, 2.0])}, DESIGN)
        assert run.result.tolist() == [0, ERROR, 0]
        np.testing.assert_allclose(run.outputs["area"], [2.0, np.nan, 4.0])


def test_a_late_server_is_not_waited_for_by_every_run_of_a_batch():
    with foreign_server(fault=lambda numbers: "late" if numbers[0] > 1.0 else None) as running:
        model = decay(running.url, timeout=0.3)
        thetas = {**THETA, "x0": np.linspace(0.5, 8.5, 64)}
        uq.evaluate_many(model, {**THETA, "x0": np.full(64, 0.5)}, DESIGN)  # compiled
        took = seconds(lambda: np.asarray(uq.evaluate_many(model, thetas, DESIGN).result))
        run = uq.evaluate_many(model, thetas, DESIGN)
        assert took < 60 * 0.3
        assert sorted({*run.result.tolist()}) == [0, LATE] and run.result[0] == 0
        assert running.counts["Evaluate"] < 20


def test_a_server_that_dies_is_a_code_and_comes_back():
    with foreign_server() as running:
        model = decay(running.url)
        assert int(uq.evaluate(model, THETA, DESIGN).result) == 0
        port = running.server_address[1]
        stop(running)
        run = uq.evaluate_many(model, {**THETA, "x0": np.linspace(1.0, 2.0, 64)}, DESIGN)
        assert {*run.result.tolist()} == {GONE}
    with pytest.raises(uq.InputError, match="could not be reached"):
        decay(f"http://127.0.0.1:{port}")


def test_derivatives_that_fail_are_a_code_of_the_run():
    with foreign_server() as running:
        model = decay(running.url, timeout=5.0)

        def outputs(k):
            run = uq.evaluate(model, {**THETA, "k": k}, DESIGN)
            return run.outputs["area"], run.result

        def broken(self, asked):
            self.send({"error": {"type": "Singular", "message": "no adjoint"}})

        handler = running.RequestHandlerClass
        running.RequestHandlerClass = type("Broken", (handler,), {"Gradient": broken, "ApplyJacobian": broken})
        _, code = jax.jit(jax.jacfwd(outputs, has_aux=True))(0.5)
        assert int(code) == ERROR
        assert "no adjoint" in recent_failures()[-1].words


def test_a_host_that_swallows_what_it_gets_is_given_up():
    # it accepts and never answers, not even what is asked at first
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        begin = time.monotonic()
        with pytest.raises(uq.InputError, match="had not answered within the `timeout`"):
            foreign_model(url, space=space, outputs=["C"], units={"C": ""}, timeout=0.3)
        assert time.monotonic() - begin < 10.0


def test_a_server_that_dies_while_it_computes():
    begun, first = threading.Event(), threading.Lock()

    def fault(numbers):
        with first:
            begun.set()
        return "closed"

    with foreign_server(fault=fault) as running:
        model = decay(running.url, timeout=10.0)
        threading.Thread(target=lambda: begun.wait(20.0) and running.server_close(), daemon=True).start()
        run = uq.evaluate(model, THETA, DESIGN)
        assert int(run.result) == GONE


def test_a_server_of_something_else():
    from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

    class Files(SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    other = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    try:
        with pytest.raises(uq.InputError, match="status 404"):
            decay(f"http://127.0.0.1:{other.server_address[1]}")
    finally:
        other.shutdown()
        other.server_close()


def test_runs_of_a_study_that_fail_are_left_out_and_counted():
    # one of eleven fails
    with foreign_server(fault=lambda numbers: "error" if numbers[1] > 0.75 else None) as running:
        study = uq.Study("foreign", decay(running.url), {"one": DESIGN}, quantities={"area": area})
        found = uq.decompose(study, n=64, runs=256)
        asked = running.counts["Evaluate"]
    variance = found["variance"].sel(quantity="area")
    assert 0.7 * 256 < float(variance.n_runs) <= asked and float(variance.n_valid) < 128
    assert 0.0 < float(variance.total) < np.inf


def area(outputs, design):
    return outputs["area"]

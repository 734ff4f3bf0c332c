"""Our models behind the protocol, asked by the package `umbridge`, which is not ours; and its server asked by us."""

import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import jax
import numpy as np
import pytest
import requests
import umbridge

import uqbench as uq
from uqbench.calibration import log_likelihood
from uqbench.umbridge import design_config, foreign_model, serve

from ..conftest import decay_initial, decay_observe, decay_space

ROOT = Path(__file__).parents[2]
K, SIGMA = 0.4, 0.2


@contextmanager
def listening(given):
    with serve(given, port=0) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield server.url
        server.shutdown()


@pytest.fixture(scope="module")
def url(decay_study):
    with listening(decay_study) as found:
        yield found


def test_each_experiment_is_a_model_of_its_name(url):
    assert umbridge.supported_models(url) == ["low", "high"]
    model = umbridge.HTTPModel(url, "high")
    # the free parameters; C at 1, 3 and 5
    assert model.get_input_sizes() == [2] and model.get_output_sizes() == [3]
    assert model.supports_evaluate() and model.supports_gradient() and model.supports_apply_jacobian()
    assert not model.supports_apply_hessian()


def test_values_and_derivatives_are_those_of_the_closed_form(url):
    model, t = umbridge.HTTPModel(url, "high"), np.array([1.0, 3.0, 5.0])
    curve = 4.0 * np.exp(-K * t)
    np.testing.assert_allclose(model([[K, SIGMA]])[0], curve, rtol=1e-6)
    sens, vec = np.array([1.0, -2.0, 0.5]), [3.0, 7.0]
    gradient = model.gradient(0, 0, [[K, SIGMA]], sens.tolist())
    np.testing.assert_allclose(gradient, [sens @ (-t * curve), 0.0], rtol=1e-5)
    np.testing.assert_allclose(model.apply_jacobian(0, 0, [[K, SIGMA]], vec), -3.0 * t * curve, rtol=1e-5)


def test_the_config_changes_the_design(url):
    model = umbridge.HTTPModel(url, "low")
    config = {"times": [0.25], "inputs": {"dose": 8.0}}
    assert model.get_output_sizes(config) == [1]
    np.testing.assert_allclose(model([[K, SIGMA]], config)[0], 8.0 * np.exp(-0.1), rtol=1e-6)


@pytest.mark.parametrize(
    "parameters, config, words",
    [
        ([[K]], {}, "must be 2 finite numbers"),
        ([[K, SIGMA], [1.0]], {}, "a list of one vector"),
        ([[K, "x"]], {}, "must be 2 finite numbers"),
        ([[K, SIGMA]], {"tmies": [1.0]}, "config has 'tmies'; known are 'times', 'inputs', 'seed'"),
        ([[K, SIGMA]], {"times": [2.0, 1.0]}, "times are not sorted"),
        ([[K, SIGMA]], {"times": "soon"}, "not numbers"),
        ([[K, SIGMA]], {"inputs": 3}, "give a dict"),
        ([[K, SIGMA]], {"seed": 0.5}, "must be an integer"),
    ],
)
def test_a_mistake_is_an_error_of_the_protocol(url, parameters, config, words):
    with pytest.raises(Exception, match=r"InvalidInput: [\s\S]*" + words):
        umbridge.HTTPModel(url, "low")(parameters, config)


@pytest.mark.parametrize(
    "path, body, status, kind",
    [
        ("Evaluate", "{", 400, "InvalidInput"),
        ("Evaluate", "[]", 400, "InvalidInput"),
        ("Evaluate", '{"name": "mid", "input": [[1, 1]]}', 400, "ModelNotFound"),
        ("Evaluate", '{"name": "low"}', 400, "InvalidInput"),
        ("Evaluate", '{"name": "low", "input": [[NaN, 1]]}', 400, "InvalidInput"),
        ("Gradient", '{"name": "low", "input": [[1, 1]], "outWrt": 1, "inWrt": 0, "sens": [1]}', 400, "InvalidInput"),
        ("Gradient", '{"name": "low", "input": [[1, 1]], "outWrt": 0, "inWrt": 0, "sens": [1]}', 400, "InvalidInput"),
        ("ApplyHessian", '{"name": "low"}', 400, "UnsupportedFeature"),
        ("Evalaute", "{}", 404, "NotFound"),
    ],
)
def test_what_cannot_be_answered_is_refused(url, path, body, status, kind):
    answer = requests.post(f"{url}/{path}", data=body, timeout=30)
    assert (answer.status_code, answer.json()["error"]["type"]) == (status, kind)


def growth(t, y, p, inputs):
    return {"C": p["k"] * y["C"] ** 2}


def test_a_run_that_fails_is_an_error_with_its_sentence():
    exploding = uq.Model(decay_space(), uq.Ode(decay_initial, growth), decay_observe, units={"C": ""}, name="growth")
    with listening(exploding) as url:
        model = umbridge.HTTPModel(url, "growth")
        with pytest.raises(Exception, match="give them as"):
            model([[1.0, 1.0]])
        config = {"times": [2.0], "inputs": {"dose": 1.0}}
        for ask in (lambda: model([[1.0, 1.0]], config), lambda: model.gradient(0, 0, [[1.0, 1.0]], [1.0], config)):
            with pytest.raises(Exception, match="RunFailed: the solution left the finite numbers"):
                ask()


def noisy(theta, design, key):
    return {"C": theta["k"] + jax.random.normal(key)}


def test_a_stochastic_model_has_a_seed():
    random = uq.Model.from_function(decay_space(), noisy, {"C": ""}, stochastic=True, gradient="none", dims={"C": ()})
    with listening(random) as url:
        model = umbridge.HTTPModel(url, "model")
        assert not model.supports_gradient()
        asked = {"name": "model", "input": [[1.0, 1.0]], "outWrt": 0, "inWrt": 0, "sens": [1.0]}
        refused = requests.post(f"{url}/Gradient", json=asked, timeout=30).json()
        assert refused["error"]["type"] == "UnsupportedFeature"
        first, again, other = (model([[1.0, 1.0]], {"seed": seed}) for seed in (3, 3, 4))
        assert first == again != other


def test_there_and_back_a_model_is_itself(decay, decay_study, url):
    again = foreign_model(
        url, "low", space=decay.space, outputs=["C"], units=decay.units, noise=decay.noise, config=design_config
    )
    design = uq.Design([0.5, 2.0], inputs={"dose": 3.0})
    theta = {"k": K, "sigma": SIGMA}
    found, expected = (uq.evaluate(each, theta, design).outputs["C"] for each in (again, decay))
    np.testing.assert_array_equal(found, expected)
    slope, exact = (
        jax.jacfwd(lambda k, each=each: uq.evaluate(each, {**theta, "k": k}, design, mode="forward").outputs["C"])(K)
        for each in (again, decay)
    )
    np.testing.assert_allclose(slope, exact, rtol=1e-12)
    study = uq.Study("again", again, decay_study.experiments, decay_study.data)
    np.testing.assert_allclose(log_likelihood(study)(theta), log_likelihood(decay_study)(theta), rtol=1e-12)


class Package(umbridge.Model):
    """A model of the package, whose function may fail in its own ways."""

    def __init__(self):
        super().__init__("package")

    def get_input_sizes(self, config):
        return [2]

    def get_output_sizes(self, config):
        return [1]

    def __call__(self, parameters, config):
        x, y = parameters[0]
        if x < 0:
            raise ValueError("negative")
        return [[float("nan") if y < 0 else config.get("scale", 1.0) * x * y**2]]

    def gradient(self, out_wrt, in_wrt, parameters, sens, config):
        x, y = parameters[0]
        scale = config.get("scale", 1.0) * sens[0]
        return [scale * y**2, scale * 2 * x * y]

    def supports_evaluate(self):
        return True

    def supports_gradient(self):
        return True


@contextmanager
def package(port):
    code = (
        "import sys, umbridge\nfrom tests.umbridge.test_server import Package\n"
        "umbridge.serve_models([Package()], int(sys.argv[1]))"
    )
    server = subprocess.Popen([sys.executable, "-c", code, str(port)], cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_a_server_of_the_package_is_a_model_also_when_it_has_been_away():
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    space = uq.Space(x=uq.epistemic(uq.Normal(2.0, 1.0)), y=uq.epistemic(uq.Normal(3.0, 1.0)))
    design, url = uq.Design([0.0]), f"http://127.0.0.1:{port}"

    def connect():
        return foreign_model(url, space=space, outputs=["f"], units={"f": ""}, config={"scale": 2.0})

    with package(port):
        model = when_listening(connect)
        run = uq.evaluate_many(model, {"x": [2.0, -1.0, 2.0], "y": [3.0, 3.0, -3.0]}, design)
        # an exception of the model is a page of the server's with the status 500, and its NaN is no JSON
        assert run.result.tolist() == [0, uq.Result.SERVER_ERROR, uq.Result.OUTPUT_NOT_FINITE]
        assert float(run.outputs["f"][0]) == 36.0
        slope = jax.grad(lambda y: uq.evaluate(model, {"x": 2.0, "y": y}, design).outputs["f"])(3.0)
        assert float(slope) == 24.0
    # connections that were kept open are not open any more
    assert int(uq.evaluate(model, {"x": 2.0, "y": 4.0}, design).result) == uq.Result.SERVER_GONE
    with package(port):
        when_listening(connect)
        assert float(uq.evaluate(model, {"x": 2.0, "y": 4.0}, design).outputs["f"]) == 64.0


def when_listening(connect, patience=60.0):
    end = time.monotonic() + patience
    while True:
        try:
            return connect()
        except uq.InputError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


def command(*arguments):
    code = "from uqbench.cli import main; import sys; sys.argv[0] = 'uqbench'; main()"
    return [sys.executable, "-c", code, *arguments]


def test_it_starts_with_one_command():
    given = ["forward_models/secretion.py:steady", "--port", "0"]
    server = subprocess.Popen(command("serve", *given), stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        said = server.stdout.readline().split()
        assert said[:-2] == ["serving", "secretion", "at", "steady", "state"]
        model = umbridge.HTTPModel(said[-1], "secretion at steady state")
        # s q / k
        assert model([[2.0, 5.0]]) == [[20.0]]
        assert model.gradient(0, 0, [[2.0, 5.0]], [1.0]) == [10.0, 4.0]
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 143


@pytest.mark.slow
def test_a_mistake_of_the_command_is_a_message(stopped):
    for given, words in (
        (["nothing.py"], "no such file"),
        (["forward_models/secretion.py:space"], "exports no `space`"),
        (["secretion", "--port", "99999999"], "nothing can listen"),
    ):
        code, said = stopped("serve", *given)
        assert code == 2 and words in said and "Traceback" not in said


def test_a_port_that_is_taken(decay):
    with serve(decay, port=0) as first, pytest.raises(uq.InputError, match=r"nothing can listen at 127\.0\.0\.1"):
        serve(decay, port=first.server_address[1])

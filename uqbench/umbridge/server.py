"""Our models behind the protocol of UM-Bridge, with Python's own HTTP server.

A run that fails is answered with an error that carries its sentence, never with NaN, which JSON has no word for.
"""

import json
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np

from ..errors import InputError, nearest
from ..model import Model
from ..study import Study
from .protocol import APPLY_HESSIAN, APPLY_JACOBIAN, EVALUATE, GRADIENT, VERSION
from .served import RunFailed, Served, served

# Seconds after which a connection that says nothing is closed.
SILENCE = 600.0


class Refused(Exception):
    """A request that is answered with an error of the protocol."""

    def __init__(self, kind: str, message: str, status: int = 400):
        super().__init__(message)
        self.kind, self.message, self.status = kind, message, status


class ModelServer(ThreadingHTTPServer):
    """A server that is listening; `serve_forever` answers, from another thread `shutdown` ends that."""

    daemon_threads = True
    # as many may wait as clients send at the same time
    request_queue_size = 128

    def __init__(self, models: Mapping[str, Served], host: str, port: int):
        self.models = models
        super().__init__((host, port), _Handler)

    @property
    def url(self) -> str:
        host, port = self.server_address[:2]
        return f"http://{host if isinstance(host, str) else host.decode()}:{port}"


def serve(given: Study | Model, *, host: str = "127.0.0.1", port: int = 4242) -> ModelServer:
    """A server of UM-Bridge for the experiments of a study, or for a model; `serve_forever()` of it answers requests.

    Each experiment is a model of its name, with one input vector, the free parameters in the order of the space, and a
    vector for each output over its design. The config of a request may change `times` and `inputs` of the design, and
    give the `seed` of a stochastic model. Models with exact derivatives have Gradient and ApplyJacobian.

    Args:
        host: the address to listen at; "0.0.0.0" lets other machines in.
        port: 0 for one that is free, then in `url` of what is returned.

    Raises:
        InputError: the port is taken.

    Example:
        >>> from forward_models.secretion import steady
        >>> with serve(steady, port=0) as server:
        ...     sorted(server.models)
        ['secretion at steady state']
    """
    try:
        return ModelServer({each.name: each for each in served(given)}, host, port)
    except (OSError, OverflowError) as error:
        raise InputError("serve", [f"nothing can listen at {host}:{port}: {error}."]) from error


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer
    # connections stay open for the next request
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = SILENCE
    # head and body of an answer in one piece
    wbufsize = -1

    def do_GET(self) -> None:
        if self.path.rstrip("/") == "/Info":
            self._answer(200, {"protocolVersion": VERSION, "models": [*self.server.models]})
        else:
            self._refuse(Refused("NotFound", f"there is nothing at {self.path}.", 404))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = _answered(self.server.models, self.path.strip("/"), body)
        except Refused as refused:
            self._refuse(refused)
        except InputError as error:
            self._refuse(Refused("InvalidInput", str(error)))
        except RunFailed as error:
            self._refuse(Refused("RunFailed", str(error), 500))
        except Exception as error:
            self._refuse(Refused("InternalError", f"{type(error).__name__}: {error}", 500))
        else:
            self._answer(200, answer)

    def _refuse(self, refused: Refused) -> None:
        self._answer(refused.status, {"error": {"type": refused.kind, "message": refused.message}})

    def _answer(self, status: int, answer: Mapping) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def log_message(self, format, *args) -> None:
        """Thousands of requests are no news."""


def _answered(models: Mapping[str, Served], path: str, body: bytes) -> Mapping[str, Any]:
    ask = _ANSWERS.get(path)
    if ask is None:
        raise Refused("NotFound", f"there is nothing at /{path}; {nearest(path, [*_ANSWERS])}", 404)
    try:
        asked = json.loads(body)
    except ValueError as error:
        raise Refused("InvalidInput", f"the request is no JSON: {error}") from error
    if not isinstance(asked, dict) or not isinstance(asked.get("config") or {}, dict):
        raise Refused("InvalidInput", "the request must be a JSON object, and its config too.")
    name = str(asked.get("name"))
    if name not in models:
        raise Refused("ModelNotFound", f"there is no model {name!r}; {nearest(name, [*models])}")
    return ask(models[name], asked, asked.get("config") or {})


def _support(model: Served, asked: Mapping, config: Mapping) -> Mapping:
    slopes = model.differentiable
    return {"support": {EVALUATE: True, GRADIENT: slopes, APPLY_JACOBIAN: slopes, APPLY_HESSIAN: False}}


def _input_sizes(model: Served, asked: Mapping, config: Mapping) -> Mapping:
    return {"inputSizes": [model.input_size]}


def _output_sizes(model: Served, asked: Mapping, config: Mapping) -> Mapping:
    return {"outputSizes": model.output_sizes(config)}


def _evaluate(model: Served, asked: Mapping, config: Mapping) -> Mapping:
    return {"output": model.evaluate(_parameters(model, asked), config)}


def _gradient(model: Served, asked: Mapping, config: Mapping) -> Mapping:
    block = _block(model, asked, config)
    return {"output": (_vector(asked, "sens", block.shape[0]) @ block).tolist()}


def _apply_jacobian(model: Served, asked: Mapping, config: Mapping) -> Mapping:
    block = _block(model, asked, config)
    return {"output": (block @ _vector(asked, "vec", block.shape[1])).tolist()}


def _unsupported(model: Served, asked: Mapping, config: Mapping) -> Mapping:
    raise Refused("UnsupportedFeature", "there are no second derivatives.")


_ANSWERS: dict[str, Callable[[Served, Mapping, Mapping], Mapping]] = {
    "ModelInfo": _support,
    "InputSizes": _input_sizes,
    "OutputSizes": _output_sizes,
    EVALUATE: _evaluate,
    GRADIENT: _gradient,
    APPLY_JACOBIAN: _apply_jacobian,
    APPLY_HESSIAN: _unsupported,
}


def _block(model: Served, asked: Mapping, config: Mapping) -> np.ndarray:
    """Derivatives `(entries, parameters)` of one output vector."""
    if not model.differentiable:
        raise Refused("UnsupportedFeature", f"the model {model.name!r} has no derivatives.")
    for key, count in (("outWrt", len(model.model.outputs)), ("inWrt", 1)):
        if type(asked.get(key)) is not int or not 0 <= asked[key] < count:
            raise Refused("InvalidInput", f"{key} is {asked.get(key)!r}; it must be an integer from 0 to {count - 1}.")
    return model.jacobian(_parameters(model, asked), config)[model.model.outputs[asked["outWrt"]]]


def _parameters(model: Served, asked: Mapping) -> list[float]:
    vectors = asked.get("input")
    if not isinstance(vectors, list) or len(vectors) != 1:
        raise Refused("InvalidInput", "input must be a list of one vector, the free parameters in their order.")
    return _numbers("the input vector", vectors[0], model.input_size).tolist()


def _vector(asked: Mapping, key: str, size: int) -> np.ndarray:
    return _numbers(key, asked.get(key), size)


def _numbers(what: str, given, size: int) -> np.ndarray:
    try:
        found = np.asarray(given, float)
    except (TypeError, ValueError):
        found = np.zeros(0)
    if not isinstance(given, list) or found.shape != (size,) or not np.all(np.isfinite(found)):
        raise Refused("InvalidInput", f"{what} must be {size} finite numbers; given are {str(given)[:80]}.")
    return found

"""A function on a server, as a function in JAX: compiled, batched, and differentiated by what the server gives."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float, Int

from ..errors import InputError, nearest
from .batches import Call, Column, jacobians, values
from .http import Address
from .protocol import APPLY_JACOBIAN, EVALUATE, FEATURES, GRADIENT, Config, Failed, Server

# features of which either gives the Jacobian
DERIVATIVES = frozenset({GRADIENT, APPLY_JACOBIAN})


@dataclass(frozen=True, eq=False)
class ForeignFunction:
    """What `foreign_function` makes: a model on a server, callable inside JAX.

    Args:
        server: where it is, and how it is asked.
        input_sizes, output_sizes: of its vectors.
        features: what it has of Evaluate, Gradient, ApplyJacobian and ApplyHessian.
    """

    server: Server
    input_sizes: tuple[int, ...]
    output_sizes: tuple[int, ...]
    features: frozenset[str]

    @property
    def differentiable(self) -> bool:
        """Whether the server gives derivatives."""
        return bool(self.features & DERIVATIVES)

    def __call__(self, *inputs) -> list[Float[Array, " _"]]:
        """The output vectors, NaN where a request failed.

        Args:
            inputs: each input vector, an array or a sequence of numbers.
        """
        return self.with_code(*inputs)[0]

    def with_code(self, *inputs) -> tuple[list[Float[Array, " _"]], Int[Array, ""]]:
        """The same, and the code of `RESULTS`."""
        call = Call(self.server, self.input_sizes, self.output_sizes, self.features)
        pieces = [each if isinstance(each, Sequence) else (each,) for each in inputs]
        return called(call, pieces, jnp.zeros(0))


def foreign_function(
    url: str,
    name: str | None = None,
    *,
    config: Config | None = None,
    timeout: float = 60.0,
    connections: int = 1,
) -> ForeignFunction:
    """A model on an UM-Bridge server as a function of its input vectors, to be called in any JAX code.

    It can be compiled, batched and, where the server has Gradient or ApplyJacobian, differentiated in both modes; each
    derivative asks for the Jacobian by what moves. A request that fails gives NaN, and a code by
    `ForeignFunction.with_code`; equal inputs of a batch are asked for once. Every request has an end: after `timeout`
    it has failed, and what is left of a batch is given up after three late answers in a row.

    Args:
        url: of the server. name: of one of its models; may be left out where there is one.
        config: sent with each request.
        timeout: seconds within which an answer must be there.
        connections: requests that are sent at the same time, in a batch or for a Jacobian.

    Raises:
        InputError: no server there, no such model, no evaluation, or what was passed is not what it should be.

    Example:
        >>> import threading
        >>> from uqbench.umbridge import serve
        >>> from forward_models.secretion import steady
        >>> server = serve(steady, port=0)  # as any other code might
        >>> threading.Thread(target=server.serve_forever, daemon=True).start()
        >>> foreign = foreign_function(server.url, "secretion at steady state")
        >>> float(jax.grad(lambda s: foreign([s, 5.0])[0][0])(2.0))
        10.0
        >>> server.shutdown(), server.server_close()
        (None, None)
    """
    server, features = connected(url, name, {} if config is None else config, timeout, connections)
    sizes = asked(server, lambda: server.sizes({} if config is None else config))
    return ForeignFunction(server, *sizes, features)


def connected(url: str, name: str | None, config, timeout, connections) -> tuple[Server, frozenset[str]]:
    """A server that is there and has the model, and what the model can do."""
    subject, findings = f"UM-Bridge server {url!r}", []
    if Address.of(url) is None:
        findings.append(f"the url is {url!r}; write it as in 'http://localhost:4242'.")
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not 0 < timeout < float("inf"):
        findings.append(f"timeout is {timeout!r}; give the seconds that an answer may take, positive and finite.")
    if type(connections) is not int or connections < 1:
        findings.append(f"connections is {connections!r}; it must be a positive integer.")
    if not callable(config):
        findings += _config_findings(config)
    if findings:
        raise InputError(subject, findings)
    server = Server(url, name or "", config, float(timeout), connections)
    known = asked(server, server.models)
    if name is None and len(known) == 1:
        name = known[0]
    if name not in known:
        said = "there are several models" if name is None else f"there is no model {name!r}"
        raise InputError(subject, [f"{said}; {nearest(name or '', known)}"])
    server = Server(url, name, config, float(timeout), connections)
    features = asked(server, server.features)
    if EVALUATE not in features:
        has = ", ".join(each for each in FEATURES if each in features) or "nothing"
        raise InputError(subject, [f"the model {name!r} cannot be evaluated; it supports {has}."])
    return server, features


def asked[T](server: Server, question: Callable[[], T]) -> T:
    """An answer that is needed before anything can run.

    Raises:
        InputError: there is none.
    """
    try:
        return question()
    except Failed as failed:
        raise InputError(f"UM-Bridge server {server.url!r}", [f"{failed.result.sentence} ({failed.words})"]) from failed


def _config_findings(config) -> list[str]:
    import json

    try:
        given = json.loads(json.dumps(config))
    except (TypeError, ValueError) as error:
        return [f"config cannot be sent as JSON ({error}); give numbers, text, lists and dicts of these."]
    return [] if isinstance(given, dict) else [f"config is {config!r}; give a dict."]


def called(call: Call, vectors: Sequence[Sequence], given) -> tuple[list[Array], Array]:
    """Output vectors and code of one run.

    Args:
        vectors: pieces of each input vector, numbers or arrays, which follow one another in it.
        given: times and inputs of the design, flat, where the config is made from them.

    Raises:
        InputError: vectors of other sizes than those of the server.
    """
    arrays = [[jnp.ravel(jnp.asarray(piece, float)) for piece in pieces] for pieces in vectors]
    sizes = [sum(piece.size for piece in pieces) for pieces in arrays]
    if sizes != [*call.input_sizes]:
        raise InputError(
            f"UM-Bridge model {call.server.name!r}",
            [f"input vectors of the sizes {sizes} are given; it takes the sizes {[*call.input_sizes]}."],
        )
    flat, code = _run(call, tuple(piece for pieces in arrays for piece in pieces), given)
    ends = np.cumsum(call.output_sizes).tolist()
    return [flat[end - size : end] for size, end in zip(call.output_sizes, ends, strict=True)], code


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _run(call: Call, pieces: tuple[Array, ...], given: Array) -> tuple[Array, Array]:
    shapes = (jax.ShapeDtypeStruct((sum(call.output_sizes),), float), jax.ShapeDtypeStruct((), int))
    return _on_host(_Host(partial(values, call), repr(call.server)), shapes, pieces, given)


@partial(_run.defjvp, symbolic_zeros=True)
def _(call: Call, primals, tangents):
    (pieces, given), (moves, fixed) = primals, tangents
    subject = f"UM-Bridge model {call.server.name!r}"
    if given.size and not isinstance(fixed, SymbolicZero):
        raise InputError(subject, ["there are no derivatives by what the config is made from (times, inputs)."])
    if not call.features & DERIVATIVES:
        raise InputError(
            subject,
            [
                "the server gives no derivatives (neither Gradient nor ApplyJacobian); use what needs none, such as "
                "`decompose`."
            ],
        )
    places = [Column(vector, entry) for vector, size in enumerate(call.input_sizes) for entry in range(size)]
    columns, moving, start = [], [], 0
    for move, piece in zip(moves, pieces, strict=True):
        if not isinstance(move, SymbolicZero):
            columns += places[start : start + piece.size]
            moving.append(move)
        start += piece.size
    outputs, code = _run(call, pieces, given)
    shapes = (jax.ShapeDtypeStruct((outputs.size, len(columns)), float), jax.ShapeDtypeStruct((), int))
    host = _Host(partial(jacobians, call, tuple(columns)), f"{call.server!r} {columns}")
    slopes, lost = _on_host(host, shapes, pieces, given)
    code = jnp.where(code == 0, lost, code)
    outputs = jnp.where(code == 0, outputs, jnp.nan)
    change = slopes @ jnp.concatenate(moving)
    return (outputs, code), (change, np.zeros((), jax.dtypes.float0))


@dataclass(frozen=True)
class _Host:
    """What is called back with rows of numbers; a digest of a model reads its `content` for what that computes."""

    function: Callable
    content: str

    def __repr__(self) -> str:
        return self.content


def _on_host(host: _Host, shapes, pieces: tuple[Array, ...], given: Array):
    """`host` of the inputs of a run, for whole batches at once."""

    def on_host(row):
        rows = np.asarray(row, float)
        found = host.function(rows.reshape(-1, rows.shape[-1]))
        return tuple(each.reshape(rows.shape[:-1] + each.shape[1:]) for each in found)

    row = jnp.concatenate([*pieces, given])
    return jax.pure_callback(on_host, shapes, row, vmap_method="broadcast_all")

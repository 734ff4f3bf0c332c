"""What a coupled model is made of: parts with states and rates of their own, and exchanges of what is conserved."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ..annotations import Values
from ..errors import InputError
from ..system import Ode
from .integrators import CHEBYSHEV, INTEGRATORS

KINDS = ("amount", "momentum", "energy")
Onto = Callable[[Array, Values, Values], Array]
PLACE = re.compile(r"(\w+)\.(\w+)(?:\[(-?\d+)\])?")


class Place(NamedTuple):
    """A state of a part, or one entry of it."""

    part: str
    state: str
    entry: int | None

    def __str__(self) -> str:
        return f"{self.part}.{self.state}" + ("" if self.entry is None else f"[{self.entry}]")

    def of(self, array) -> Array:
        return array if self.entry is None else array[self.entry]

    def added(self, array, amount) -> Array:
        return array + amount if self.entry is None else array.at[self.entry].add(amount)


@dataclass(frozen=True, eq=False)
class Part:
    """One part of a coupled model: states, their own rates, and how they are stepped.

    All functions belong at module level and are in JAX. States have names of their own in the whole coupled model.

    Args:
        initial: `initial(p, inputs)`: state -> scalar or array, at the start.
        rhs: `rhs(t, y, p, inputs)`: state -> rate of change, without what is exchanged. `y` holds the states of the
            part and those that it `reads`.
        reads: names of states of other parts that the rates depend on, with nothing given or taken by that.
        content: `content(y, p)`: conserved quantity -> how much of it is in the part; linear in the states that are
            exchanged, which enter and leave by its derivative (a volume, a mass, a heat capacity).
        units: conserved quantity -> unit of the content.
        sources: `sources(t, y, p, inputs)`: conserved quantity -> net rate at which `rhs` makes it, negative for a
            loss. What is not declared here shows in the balance.
        integrator: one of `INTEGRATORS`. All but "chebyshev" and the explicit ones solve with dense matrices, for some
            hundred states; "chebyshev" is for many states that diffuse.
        step: longest step, in the unit of time; default the window of the schedule.
        shows: `shows(y, p)`: name -> what other parts may read and exchanges may use beside the states, such as a
            field where cells are. What is read of a part of many states should be shown, for iterations are over all
            that parts see of one another.
        leap: `leap(t, h, y, p, inputs, key)`: state -> what chance changes it by at the start of a window of the
            length h; the same in every solve of the window. Of states that no content depends on.
        radius: `radius(y, p)`: a bound of the absolute eigenvalues of the derivative of the rates, for "chebyshev";
            default an estimate, which costs as much as 40 of its stages.

    Raises:
        InputError: an unknown integrator, a step that is not positive, content without units, sources without content,
            a radius that nothing uses.

    Example:
        >>> def initial(p, inputs): return {"A": 1.0}
        >>> def rhs(t, y, p, inputs): return {"A": 0.0}
        >>> def content(y, p): return {"drug": p["V"] * y["A"]}
        >>> Part(initial, rhs, content=content, units={"drug": "mg"}).integrator
        'implicit_euler'
    """

    initial: Callable[[Values, Values], Values]
    rhs: Callable[[Array, Values, Values, Values], Values]
    reads: Sequence[str] = ()
    content: Callable[[Values, Values], Values] | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    sources: Callable[[Array, Values, Values, Values], Values] | None = None
    integrator: str = "implicit_euler"
    step: float | None = None
    shows: Callable[[Values, Values], Values] | None = None
    leap: Callable[..., Values] | None = None
    radius: Callable[[Values, Values], Array] | None = None

    def __post_init__(self):
        findings = step_findings("step", self.step) if self.step is not None else []
        if self.radius is not None and self.integrator != CHEBYSHEV:
            findings.append(f"`radius` is for the integrator {CHEBYSHEV!r}; this one is {self.integrator!r}.")
        if self.integrator not in INTEGRATORS:
            findings.append(f"integrator {self.integrator!r}; known are {', '.join(INTEGRATORS)}.")
        if bool(self.units) != (self.content is not None):
            findings.append("give `content` and the `units` of what it returns together.")
        if self.sources is not None and self.content is None:
            findings.append("`sources` of what? Give `content`, of which they are the rates.")
        if findings:
            raise InputError("Part", findings)
        object.__setattr__(self, "reads", (self.reads,) if isinstance(self.reads, str) else tuple(self.reads))

    @classmethod
    def from_ode(cls, ode: Ode, **settings) -> "Part":
        """The initial state and the rates of an `Ode`; settings as of a `Part`.

        Raises:
            InputError: an `Ode` with more than these, which a part has no place for.
        """
        more = ("switches", "doses", "algebraic", "events", "start", "delays")
        findings = [f"`{name}` of an Ode has no place in a part." for name in more if getattr(ode, name)]
        if findings:
            raise InputError("Part.from_ode", findings)
        return cls(ode.initial, ode.rhs, **settings)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Part":
        """The same part with each function `f` as `translate(f, place of theta)`."""
        return replace(
            self,
            initial=translate(self.initial, 0),
            rhs=translate(self.rhs, 2),
            content=self.content and translate(self.content, 1),
            sources=self.sources and translate(self.sources, 2),
            shows=self.shows and translate(self.shows, 1),
            leap=self.leap and translate(self.leap, 3),
            radius=self.radius and translate(self.radius, 1),
        )

    def steps(self, length: float) -> int:
        """How many steps it takes over a time of at most `length`."""
        # a quotient of 10.000000000000002 is ten steps
        return 1 if self.step is None else max(1, -int(-(length / self.step - 1e-9) // 1))

    def visible(self, y: Values, p: Values) -> dict[str, Any]:
        """The states, and what the part shows beside them."""
        return dict(y) if self.shows is None else {**y, **self.shows(y, p)}

    def capacity(self, quantity: str, place: Place, y: Values, p: Values) -> Array:
        """How much the content grows with the state at a place."""
        content = self.content
        assert content is not None
        slope = jax.grad(lambda value: content({**y, place.state: value}, p)[quantity])
        return place.of(slope(jnp.asarray(y[place.state], float)))


@dataclass(frozen=True, eq=False)
class Exchange:
    """What leaves one part and enters another, at one rate for both.

    Args:
        quantity: what is conserved, by its name in the `content` of both parts.
        unit: of the rate: that of the content by that of time.
        source, target: the states that it leaves and enters, "part.state" or "part.state[entry]". What the state
            changes by is the amount by the derivative of the content.
        rate: `rate(t, y, p, inputs)`: amount by time, negative where it flows back; `y` holds the states of both parts.
            One number, or an array of the shape of the states at both places.
        kind: "amount", "momentum" or "energy".
        onto_source, onto_target: `onto(amounts, y, p)`: amounts of the shape of the rate, spread over the state there,
            with the same sum; linear in the amounts. `y` is what that part has and shows. For places on grids of
            their own, see `Scattered`.

    Raises:
        InputError: an unknown kind, places that cannot be read, a source that is its own target.

    Example:
        >>> def rate(t, y, p, inputs): return p["P"] * (y["A"] - y["C"])
        >>> Exchange("drug", "mg/h", "blood.A", "tissue.C", rate).target.part
        'tissue'
    """

    quantity: str
    unit: str
    source: Place
    target: Place
    rate: Callable[[Array, Values, Values, Values], Array]
    kind: str = "amount"
    onto_source: Onto | None = None
    onto_target: Onto | None = None

    def __init__(
        self,
        quantity: str,
        unit: str,
        source: str,
        target: str,
        rate: Callable,
        kind: str = "amount",
        *,
        onto_source: Onto | None = None,
        onto_target: Onto | None = None,
    ):
        findings, places = [], []
        for role, given in (("source", source), ("target", target)):
            match = PLACE.fullmatch(given) if isinstance(given, str) else None
            if match is None:
                findings.append(f"{role} {given!r}; write 'part.state', or 'part.state[0]' for one entry of an array.")
            else:
                part, state, entry = match.groups()
                places.append(Place(part, state, None if entry is None else int(entry)))
        if len(places) == 2 and places[0].part == places[1].part:
            findings.append(f"it leaves the part {places[0].part!r} and enters it again; that belongs into its `rhs`.")
        if kind not in KINDS:
            findings.append(f"kind {kind!r}; known are {', '.join(KINDS)}.")
        if findings:
            raise InputError(f"Exchange of {quantity!r}", findings)
        own = {"quantity": quantity, "unit": unit, "source": places[0], "target": places[1], "rate": rate, "kind": kind}
        for name, value in (own | {"onto_source": onto_source, "onto_target": onto_target}).items():
            object.__setattr__(self, name, value)

    def translated(self, translate: Callable[[Callable, int], Callable]) -> "Exchange":
        """The same exchange with each function `f` as `translate(f, place of theta)`."""
        source, target = map(str, (self.source, self.target))
        onto = {
            "onto_source": self.onto_source and translate(self.onto_source, 2),
            "onto_target": self.onto_target and translate(self.onto_target, 2),
        }
        return Exchange(self.quantity, self.unit, source, target, translate(self.rate, 2), self.kind, **onto)

    @property
    def parts(self) -> tuple[str, str]:
        return self.source.part, self.target.part

    def sign(self, part: str) -> float:
        """-1 for the part that it leaves, 1 for the part that it enters."""
        return -1.0 if part == self.source.part else 1.0

    def place(self, part: str) -> Place:
        return self.source if part == self.source.part else self.target

    def spread(self, amounts, part: str, y: Values, p: Values) -> Array:
        """Amounts of the shape of the rate, as they lie over the state of a part."""
        onto = self.onto_source if part == self.source.part else self.onto_target
        return amounts if onto is None else onto(amounts, y, p)


@dataclass(frozen=True)
class Permeation:
    """The rate P (C_source - C_target / K) through a membrane with the permeability-surface product P.

    At equilibrium concentrations differ by the partition coefficient K: it is the flux that is continuous, not the
    state.

    Args:
        source, target: names of the states. conductance, partition: names of parameters, or numbers.

    Example:
        >>> rate = Permeation("A", "C", conductance="P", partition=2.0)
        >>> float(rate(0.0, {"A": 1.0, "C": 2.0}, {"P": 3.0}, {}))
        0.0
    """

    source: str
    target: str
    conductance: str | float
    partition: str | float = 1.0

    def __call__(self, t, y: Values, p: Values, inputs: Values) -> Array:
        def value(given):
            return p[given] if isinstance(given, str) else given

        return value(self.conductance) * (y[self.source] - y[self.target] / value(self.partition))


def step_findings(name: str, value) -> list[str]:
    sound = isinstance(value, int | float) and 0 < value < float("inf")
    return [] if sound else [f"{name} is {value!r}; it must be positive and finite."]

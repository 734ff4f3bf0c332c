"""A reaction network: which reactions there are, what they change, and how probable each is per unit of time."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from ...annotations import Values, ValuesOrShapes
from ...design import Design
from ...errors import InputError, nearest
from ...names import variable_findings
from ...settings import is_number
from ...system import Frozen, Inputs, State

# Counts at which is looked whether propensities vanish where too few molecules are left.
LOOKED = (0, 1, 2, 3, 7)


@dataclass(frozen=True)
class Network:
    """A reaction network; `Reactions` is the same with its views.

    Args:
        species, stoichiometry, propensities, initial: see there.
    """

    species: Mapping[str, float | str] | Sequence[str]
    stoichiometry: Mapping[str, Mapping[str, int]]
    propensities: Callable
    initial: Callable | None = None

    def __post_init__(self):
        names = [self.species] if isinstance(self.species, str) else list(self.species)
        starts = {**self.starts} if isinstance(self.species, Mapping) else dict.fromkeys(names, 0)
        changes = {str(name): Frozen(change) for name, change in dict(self.stoichiometry).items()}
        findings = _findings(starts, changes, self.propensities, self.initial)
        if findings:
            raise InputError("Reactions", findings)
        object.__setattr__(self, "species", Frozen(starts))
        object.__setattr__(self, "stoichiometry", Frozen(changes))

    # --- what the views are made from

    @property
    def starts(self) -> Mapping[str, float | str]:
        """Species -> copy number at the start, as it was given."""
        return cast(Mapping[str, float | str], self.species)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the species."""
        return tuple(self.species)

    @property
    def reactions(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.stoichiometry)

    @property
    def changes(self) -> Int[np.ndarray, "reactions species"]:
        """By how many molecules each reaction changes each species."""
        return np.array([[int(row.get(name, 0)) for name in self.names] for row in self.stoichiometry.values()])

    def start(self, p: Values, inputs: Inputs) -> State:
        """Copy numbers at the start."""
        starts = {name: _number(at, p, inputs) for name, at in self.starts.items()}
        return starts if self.initial is None else {**starts, **self.initial(p, inputs)}

    def rates(self, t, y: State, p: Values, inputs: Inputs) -> dict[str, Array]:
        """Propensities in the order of the reactions."""
        given = self.written(t, y, p, inputs)
        return {name: jnp.asarray(given[name], float) for name in self.reactions}

    def written(self, t, y: State, p: Values, inputs: Inputs) -> Mapping[str, Array]:
        """Propensities as the author's function returns them."""
        return self.propensities(t, y, p, inputs) if self.timed else self.propensities(y, p, inputs)

    def rates_from(self, p: Values, design: Design) -> Callable[..., tuple[Array, ...]]:
        """`(t, counts)` -> propensities, both tuples in the order of the network; t counts from the start."""

        def rates(t, counts):
            y = dict(zip(self.names, counts, strict=True))
            return tuple(self.rates(design.start + t, y, p, design.inputs).values())

        return rates

    @property
    def timed(self) -> bool:
        """Whether the propensities are functions of time, too."""
        return _arguments(self.propensities) == 4

    def driven(self, rates: Mapping[str, Array]) -> dict[str, Array]:
        """What reactions of these rates change of each species per time unit."""
        moved = {}
        for name in self.names:
            terms = [
                rates[reaction] if row[name] == 1 else row[name] * rates[reaction]
                for reaction, row in self.stoichiometry.items()
                if row.get(name, 0)
            ]
            moved[name] = sum(terms[1:], start=terms[0]) if terms else jnp.zeros(())
        return moved

    # --- what is wrong with it

    def shape_findings(self, theta: ValuesOrShapes, design: Design) -> list[str]:
        """What does not fit the reactions and species, from shapes alone."""
        try:
            start = jax.eval_shape(lambda theta: self.start(theta, design.inputs), theta)
        except KeyError as missing:
            known = [*theta, *design.inputs]
            return [f"the start is {missing.args[0]!r}, neither a parameter nor an input; known are {known}."]
        findings = [f"`initial` gives {name!r}, which is no species." for name in start if name not in self.names]
        findings += [
            f"the start of {name!r} has the shape {value.shape}; a copy number is one number."
            for name, value in start.items()
            if value.shape != ()
        ]
        if findings:
            return findings

        def rates(theta, start):
            return self.written(design.start, start, theta, design.inputs)

        given = jax.eval_shape(rates, theta, start)
        if not isinstance(given, Mapping):
            return ["`propensities` must return a dict, reaction -> rate."]
        findings += [f"`propensities` has no rate for {name!r}." for name in self.reactions if name not in given]
        findings += [
            f"`propensities` has a rate for {name!r}, which has no stoichiometry; {nearest(name, self.reactions)}"
            for name in given
            if name not in self.reactions
        ]
        return findings + [
            f"the propensity of {name!r} has the shape {value.shape}; it must be one number."
            for name, value in given.items()
            if value.shape != ()
        ]

    def count_findings(self, p: Values, design: Design) -> list[str]:
        """What cannot be of single molecules, at these parameters: starts that are no copy numbers, and reactions that
        go on where the molecules that they take are missing."""
        findings = []
        with jax.ensure_compile_time_eval():
            start = {name: float(np.asarray(value)) for name, value in self.start(p, design.inputs).items()}
            for name, value in start.items():
                if not np.isfinite(value) or value < 0 or value != np.round(value):
                    findings.append(f"{name!r} starts at {value:g}; a copy number is a whole number from 0 on.")
            taken = {
                reaction: {name: -change for name, change in row.items() if change < 0}
                for reaction, row in self.stoichiometry.items()
            }
            for reaction, row in taken.items():
                for name, count in row.items():
                    findings += self._missing_findings(reaction, name, count, p, design)
        return findings

    def _missing_findings(self, reaction: str, name: str, count: int, p: Values, design: Design) -> list[str]:
        for left in (each for each in LOOKED if each < count):
            y = {each: jnp.asarray(float(left if each == name else LOOKED[-1])) for each in self.names}
            rate = float(self.rates(design.start, y, p, design.inputs)[reaction])
            if rate != 0.0:
                factors = " * ".join([f"y[{name!r}]", *(f"(y[{name!r}] - {k})" for k in range(1, count))])
                return [
                    f"{reaction!r} takes {count} {name!r}, but goes on at the rate {rate:g} where {left} are left; its "
                    f"propensity must vanish there, as {factors} does."
                ]
        return []


def _arguments(function: Callable) -> int:
    return len(inspect.signature(function).parameters)


def _number(at: float | str, p: Values, inputs: Inputs):
    if isinstance(at, str):
        return jnp.asarray((p if at in p else inputs)[at], float)
    return jnp.asarray(at, float)


def _findings(starts, changes, propensities, initial) -> list[str]:
    findings = variable_findings("a species", starts, ()) + variable_findings("a reaction", changes, ())
    findings += [] if starts else ["there are no species."]
    findings += [] if changes else ["there are no reactions."]
    for name, at in starts.items():
        if not isinstance(at, str) and not (is_number(at) and at >= 0 and at == np.round(at)):
            findings.append(f"{name!r} starts at {at!r}; give a whole number from 0 on, or the name of a parameter.")
    for reaction, row in changes.items():
        for name, change in row.items():
            if name not in starts:
                findings.append(f"{reaction!r} changes {name!r}, which is no species; {nearest(name, [*starts])}")
            elif not is_number(change) or change != np.round(change):
                findings.append(f"{reaction!r} changes {name!r} by {change!r}; molecules come in whole numbers.")
        if not any(row.values()):
            findings.append(f"{reaction!r} changes nothing.")
    for what, function, known in (("propensities", propensities, (3, 4)), ("initial", initial, (2,))):
        if function is None and what == "initial":
            continue
        if not callable(function) or _arguments(function) not in known:
            form = "(y, p, inputs) or (t, y, p, inputs)" if what == "propensities" else "(p, inputs)"
            findings.append(f"`{what}` must be a function of {form}.")
    return findings

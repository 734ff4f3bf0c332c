"""What a group of the tree may contain, and what is wrong with one that does not fit.

The groups themselves are described in `groups`. A verb's group that does not fit is a mistake in the program, never the
user's, and the error says everything that is wrong with it at once. Groups with other names are the user's own.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import EllipsisType

import numpy as np
import xarray as xr

# What a variable holds -> the kinds of NumPy's dtypes in which it may. Counts are numbers with a fraction where an
# outer join has left gaps; a label is what the user names things by.
DTYPES = {"number": "fiu", "int": "iu", "bool": "b", "text": "OUT", "label": "OUTiu"}
TYPES = {
    "number": (int, float, np.integer, np.floating),
    "int": (int, np.integer),
    "bool": (bool, np.bool_),
    "text": (str,),
    "json": (str,),
    "list": (list, tuple),
}


class SchemaError(Exception):
    """A verb attaches what the schema does not describe; `findings` says everything that differs."""

    def __init__(self, findings: Sequence[str]):
        self.findings = tuple(findings)
        super().__init__(self.findings)

    def __str__(self) -> str:
        return "\n".join(["results do not fit their schema:", *(f"  - {finding}" for finding in self.findings)])


@dataclass(frozen=True)
class Variable:
    """A variable or coordinate of a group.

    Args:
        dims: its dimensions in any order; `...` stands for further ones that the study names, as in xarray.
        kind: a key of `DTYPES`.
        meaning: what it is, with its unit.
        optional: whether it may be missing.
    """

    dims: tuple[str | EllipsisType, ...]
    kind: str
    meaning: str
    optional: bool = False

    def findings(self, name: str, given: xr.DataArray) -> list[str]:
        """What is wrong with a variable that should be this one."""
        wanted, have = {dim for dim in self.dims if dim is not ...}, set(given.dims)
        out = []
        if not wanted <= have or (have - wanted and ... not in self.dims):
            out.append(f"{name!r} has dimensions {given.dims}, not {self.written_dims}.")
        # the dtype of an empty list is nobody's choice
        if given.size and given.dtype.kind not in DTYPES[self.kind]:
            out.append(f"{name!r} has dtype {given.dtype}, not {self.kind}.")
        return out

    @property
    def written_dims(self) -> str:
        """(chain, draw, ...)"""
        return f"({', '.join('...' if dim is ... else str(dim) for dim in self.dims)})"


@dataclass(frozen=True)
class Attribute:
    """An attribute of a group.

    Args:
        kind: a key of `TYPES`.
        meaning: what it is.
        optional: whether it may be missing.
    """

    kind: str
    meaning: str
    optional: bool = False

    def findings(self, name: str, given) -> list[str]:
        """What is wrong with a value that should be this one."""
        # a bool is an int to Python
        fits = isinstance(given, TYPES[self.kind]) and (self.kind == "bool" or not isinstance(given, bool))
        if not fits:
            return [f"attribute {name!r} is {given!r}, not {self.kind}."]
        if self.kind == "json":
            try:
                json.loads(given)
            except ValueError:
                return [f"attribute {name!r} is no JSON: {given!r}."]
        return []

    def decoded(self, given):
        """The value for whoever reads it: JSON as what it stands for."""
        return json.loads(given) if self.kind == "json" else given


# What `attach` notes on every group, and `start` on the tree.
ORIGIN = {
    "verb": Attribute("text", "what made the group"),
    "settings": Attribute("json", "its settings by name"),
    "seed": Attribute("int", "the seed of all that was random"),
    "seconds": Attribute("number", "wall time of the verb, in seconds"),
    "partial": Attribute("text", "what there is, where the verb was stopped before it was done", True),
}
ROOT = {
    "study": Attribute("text", "name of the study"),
    "model": Attribute("text", "name of the model"),
    "model_digest": Attribute("text", "changes with the model"),
    "data_digest": Attribute("text", "changes with the data and the experiments"),
    "gradient": Attribute("text", "which derivatives the model has: exact, statistical, surrogate or none"),
    "versions": Attribute("json", "versions of the packages by name"),
}


@dataclass(frozen=True)
class Group:
    """A group of the tree.

    Args:
        meaning: what it tells.
        verbs: who may attach it; the first is the one to run where it is missing.
        variables: by name.
        coordinates: by name.
        attributes: by name, besides `ORIGIN`.
        each: what every variable is where the study gives their names; further coordinates are allowed then.
        foreign: whose attributes may stand there besides; empty if nobody's.
    """

    meaning: str
    verbs: tuple[str, ...]
    variables: Mapping[str, Variable] = field(default_factory=dict)
    coordinates: Mapping[str, Variable] = field(default_factory=dict)
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    each: Variable | None = None
    foreign: str = ""

    def findings(self, dataset: xr.Dataset, verb: str) -> list[str]:
        """Everything in which a dataset from `verb` differs from this description."""
        out = [] if verb in self.verbs else [f"it is attached by {verb!r}, not by {' or '.join(self.verbs)}."]
        attributes = {**ORIGIN, **self.attributes}
        for kind, given, described, more_allowed in (
            ("variable", dataset.data_vars, self.variables, False),
            ("coordinate", dataset.coords, self.coordinates, self.each is not None),
            ("attribute", dataset.attrs, attributes, bool(self.foreign)),
        ):
            out += [
                f"the {kind} {name!r} is missing."
                for name, entry in described.items()
                if name not in given and not entry.optional
            ]
            for name, value in given.items():
                entry = described.get(str(name), self.each if kind == "variable" else None)
                if entry is not None:
                    out += entry.findings(str(name), value)
                elif not more_allowed:
                    out.append(f"the {kind} {name!r} is not in the schema.")
        return out

"""Finished chains on disk, so that a long calibration that was stopped goes on where it was.

Each chain is one store in a folder, written beside its place and renamed, so that it is whole or not there. A chain is
made by its own seed from nothing but what `made_from` says; one that is found there is the one that would be made.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import xarray as xr

from .. import results
from ..errors import InputError
from ..study import Study

# The attribute of a store with what its chain is made from.
MADE_FROM = "made_from"
# Another version of one of these may make other draws of the same seed.
VERSIONS = ("uqbench", "jax", "pymc", "nutpie", "numpy")


def made_from(study: Study, settings: Mapping, *, plan: bool = False) -> dict[str, str]:
    """All that draws depend on: name -> what it is, as text; with `plan` whatever the values of the data."""
    return {
        "study": study.name,
        "model": study.model_digest,
        "data": study.plan_digest if plan else study.data_digest,
        **{name: json.dumps(value) for name, value in settings.items()},
        "versions": json.dumps({name: version(name) for name in VERSIONS}),
    }


@dataclass(frozen=True)
class ChainFiles:
    """The finished chains of one calibration.

    Args:
        folder: of the stores; None keeps none.
        made_from: what chains are made from, as `made_from` gives it.
    """

    folder: Path | None
    made_from: Mapping[str, str]

    def check(self) -> None:
        """Raises where a chain in the folder is of another calibration.

        Raises:
            InputError: naming everything in which it differs.
        """
        if self.folder is None:
            return
        for place in sorted(self.folder.glob("*.zarr")):
            found = json.loads(results.load(place).attrs.get(MADE_FROM, "{}"))
            if differ := [name for name, value in self.made_from.items() if found.get(name) != value]:
                findings = [
                    f"chains in {str(self.folder)!r} are of {name} {found.get(name)}, not {self.made_from[name]}."
                    for name in differ
                ]
                findings.append("give what they were made from, or start again without `resume`.")
                raise InputError("resume", findings)

    def load(self, attempt: int, chain: int) -> xr.DataTree | None:
        """A finished chain, or None where there is none."""
        if self.folder is None:
            return None
        place = _place(self.folder, attempt, chain)
        return results.load(place) if place.is_dir() else None

    def save(self, attempt: int, chain: int, tree: xr.DataTree) -> None:
        """Writes a finished chain.

        Raises:
            InputError: where it cannot be written, such as on a full disk; the chains before it stay.
        """
        if self.folder is None:
            return
        origin = xr.Dataset(attrs={MADE_FROM: json.dumps(dict(self.made_from))})
        noted = xr.DataTree.from_dict(tree.to_dict() | {"/": origin})
        try:
            results.save(noted, _place(self.folder, attempt, chain))
        except (OSError, InputError) as error:
            findings = list(error.findings) if isinstance(error, InputError) else [f"{error.strerror or error}."]
            findings.append(f"chain {chain} is lost, those before it are kept; make room, and go on with `resume`.")
            raise InputError("results", findings) from error


def _place(folder: Path, attempt: int, chain: int) -> Path:
    return folder / f"attempt_{attempt}_chain_{chain}.zarr"

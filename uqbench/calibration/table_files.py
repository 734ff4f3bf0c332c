"""Finished tables of simulation-based calibration on disk, so that one that was stopped goes on where it was.

Each table is a small file of its own, written beside its place and renamed, so that it is whole or not there. What
comes of a table depends on its number and on what `made_from` says, not on how many there are: more of them later with
the same settings are added to those that are there.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError
from .rank_statistics import Outcome, Ranked

ORIGIN = "made_from.json"


@dataclass(frozen=True)
class TableFiles:
    """What has come of tables.

    Args:
        folder: of the files; None keeps none.
        made_from: all that they depend on beside their number: name -> what it is, as text.
    """

    folder: Path | None
    made_from: Mapping[str, str]

    def check(self) -> None:
        """Makes the folder.

        Raises:
            InputError: where tables in it are of other settings, naming each; where it cannot be written.
        """
        if self.folder is None:
            return
        origin = self.folder / ORIGIN
        found = json.loads(origin.read_text()) if origin.is_file() else dict(self.made_from)
        if differ := [name for name, value in self.made_from.items() if found.get(name) != value]:
            findings = [
                f"tables in {str(self.folder)!r} are of {name} {found.get(name)}, not {self.made_from[name]}."
                for name in differ
            ]
            raise InputError("resume", [*findings, "give what they were made from, or start again without `resume`."])
        self._write(origin, dict(self.made_from))

    def load(self, number: int) -> Outcome | None:
        """What has come of a table, or None where it has not been sampled."""
        if self.folder is None or not (place := self._place(number)).is_file():
            return None
        found = json.loads(place.read_text())
        return Ranked.from_lists(found) if isinstance(found, dict) else found

    def save(self, number: int, outcome: Outcome) -> None:
        """Writes what has come of a table.

        Raises:
            InputError: where it cannot be written, such as on a full disk; the tables before it stay.
        """
        if self.folder is not None:
            self._write(self._place(number), outcome.lists() if isinstance(outcome, Ranked) else outcome)

    def _place(self, number: int) -> Path:
        assert self.folder is not None
        return self.folder / f"table_{number}.json"

    def _write(self, place: Path, content) -> None:
        beside = place.with_suffix(".part")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            beside.write_text(json.dumps(content))
            os.replace(beside, place)
        except OSError as error:
            findings = [f"{str(place)!r} cannot be written: {error.strerror}.", "make room, and go on with `resume`."]
            raise InputError("results", findings) from error

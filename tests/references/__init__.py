"""Facts that tests compare with, each with its source: closed forms, quadratures and published results."""

import json
from functools import cache
from pathlib import Path


@cache
def reference(name: str) -> dict:
    """The table `name`.json beside this file."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())

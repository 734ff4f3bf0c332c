"""Where the results came from: model, data, versions, and every call that was made."""

import json
from collections.abc import Iterator

import xarray as xr

from .blocks import Table
from .tables import MISSING, rounded

GRADIENTS = {
    "exact": "exact, by differentiating the solver",
    "statistical": "statistical, estimated from random runs",
    "surrogate": "of a surrogate, not of the model itself",
    "none": "none, the model is evaluated only",
}


def provenance(tree: xr.DataTree) -> Table:
    """Which verb made each group, with which settings and seed, in how many seconds; groups of one call share a row."""
    calls: dict[tuple, list[str]] = {}
    for name, child in tree.children.items():
        origin = tuple(child.attrs.get(key) for key in ("verb", "settings", "seed", "seconds", "partial"))
        calls.setdefault(origin, []).append(f"/{name}")
    rows = [
        [
            f"{verb or MISSING}{', partial' if partial else ''}",
            ", ".join(sorted(names)),
            _settings(settings),
            MISSING if seed is None else str(seed),
            MISSING if seconds is None else rounded(float(seconds)),
        ]
        for (verb, settings, seed, seconds, partial), names in calls.items()
    ]
    return Table(["verb", "groups", "settings", "seed", "seconds"], rows, ["verb", "groups", "settings"])


def head(tree: xr.DataTree) -> Iterator[tuple[str, str]]:
    """What identifies these results: model, gradient, digests, versions, date where one is kept."""
    attributes = tree.attrs
    if "model" in attributes:
        yield "model", str(attributes["model"])
    if "gradient" in attributes:
        yield "gradients", GRADIENTS.get(attributes["gradient"], str(attributes["gradient"]))
    dates = sorted(
        {str(child.attrs["created_at"])[:10] for child in tree.children.values() if "created_at" in child.attrs}
    )
    if dates:
        yield "sampled", dates[-1]
    for key in ("model_digest", "data_digest"):
        if key in attributes:
            yield key.replace("_", " "), str(attributes[key])
    if "versions" in attributes:
        yield "versions", ", ".join(f"{name} {number}" for name, number in json.loads(attributes["versions"]).items())


def _settings(text: str | None) -> str:
    return ", ".join(f"{name} {value}" for name, value in json.loads(text).items()) if text else MISSING

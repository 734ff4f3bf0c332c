"""Reading a tree: groups and attributes by names that the schema knows, so that a misspelt one fails and is not empty.

A group or attribute that is described but not there is None: a verb has not been run, or the tree is an older one.
"""

import xarray as xr

from .groups import GROUPS
from .schema import ORIGIN


def group(tree: xr.DataTree, name: str) -> xr.Dataset | None:
    """The dataset of a group, or None where no verb has made it yet."""
    if name not in GROUPS:
        raise KeyError(f"no group /{name} is in the schema.")
    return tree[name].to_dataset() if name in tree.children else None


def attribute(tree: xr.DataTree, name: str, key: str):
    """An attribute of a group, JSON decoded; None where the group or the attribute is not there."""
    described = {**ORIGIN, **GROUPS[name].attributes}[key]
    found = group(tree, name)
    return described.decoded(found.attrs[key]) if found is not None and key in found.attrs else None


def verb_of(name: str) -> str:
    """The verb to run where a group is missing."""
    return GROUPS[name].verbs[0]

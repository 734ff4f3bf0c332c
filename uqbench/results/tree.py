"""The tree of results: what each verb adds, and where it came from.

One study has one `xarray.DataTree`. A verb takes a tree and returns a new one with its own groups added; `groups` says
which these are and what is in them.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version

import xarray as xr

from ..errors import InputError
from ..study import Study
from .groups import BUILDS_ON, GROUPS
from .schema import SchemaError


def start(study: Study) -> xr.DataTree:
    """An empty tree that names its study, the digests of model and data, and the versions."""
    attributes = {
        "study": study.name,
        "model": study.model.name,
        "model_digest": study.model_digest,
        "data_digest": study.data_digest,
        "gradient": study.model.gradient,
        "versions": json.dumps({name: version(name) for name in ("uqbench", "jax", "pymc", "arviz", "nutpie")}),
    }
    return xr.DataTree(xr.Dataset(attrs=attributes))


def check_tree(study: Study, tree: xr.DataTree | None, *, verb: str | None = None) -> xr.DataTree:
    """The tree to add to: a new one for None, else `tree` itself if it belongs to this study as it is now.

    Args:
        verb: that is going to add to it; what goes when it does may be of other quantities. None: nothing goes.

    Raises:
        InputError: where the tree was made from another study, model or table, or groups in it of other quantities.
    """
    fresh = start(study)
    if tree is None:
        return fresh
    findings = [
        f"the tree's {what} is {tree.attrs.get(key)!r}, the study's is {fresh.attrs[key]!r}."
        for key, what in (("study", "study"), ("model_digest", "model"), ("data_digest", "data"))
        if tree.attrs.get(key) != fresh.attrs[key]
    ]
    if findings:
        findings.append(
            f"results of another model or table are not mixed; start again with `uqbench run {study.command}`."
        )
    elif stale := _of_other_quantities(study, tree, verb):
        findings.append(
            f"{', '.join(f'/{name}' for name in stale)}: made for other quantities than the study has now; run "
            f"`uqbench decompose {study.command}` again."
        )
    if findings:
        raise InputError("results", findings)
    return tree


def _of_other_quantities(study: Study, tree: xr.DataTree, verb: str | None) -> list[str]:
    """Groups made for other quantities, or by a version that did not note for which, that stay when `verb` is run."""
    gone = {verb, *(later for later, base in BUILDS_ON.items() if base == verb)}
    made = {
        name: child.attrs.get("quantities_digest")
        for name, child in tree.children.items()
        if name in GROUPS and "quantities_digest" in GROUPS[name].attributes and child.attrs.get("verb") not in gone
    }
    if verb is not None:
        # whose first step, of every verb, looks at the designs of the quantities again
        made.pop("separation", None)
    if not made:
        return []
    now = study.quantities_digest
    return [name for name, digest in made.items() if digest != now]


def attach(
    tree: xr.DataTree,
    groups: Mapping[str, xr.Dataset],
    *,
    verb: str,
    settings: Mapping,
    seed: int,
    seconds: float,
    partial: str = "",
) -> xr.DataTree:
    """A new tree with `groups` added; each says by which verb, with which settings and seed, in what time.

    What the same verb has attached before goes: a group that it no longer makes, such as Sobol indices of the prior
    once there is a posterior, would pass for a part of the new results. So does what a later verb has made of them.

    Args:
        partial: where the verb was stopped before it was done, what there is. What is made of partial groups is partial
            as well.

    Raises:
        SchemaError: a group that `GROUPS` does not know, or one that does not fit what it says there. A user's own
            groups are put into the tree itself, under any other name.
    """
    origin = {"verb": verb, "settings": json.dumps(settings), "seed": seed, "seconds": round(seconds, 3)}
    earlier = tree.to_dict()
    if partial := partial or _made_by(earlier).get(BUILDS_ON.get(verb, ""), ""):
        origin["partial"] = partial
    added = {name: dataset.assign_attrs(**{**dataset.attrs, **origin}) for name, dataset in groups.items()}
    findings = [f"/{name}: {finding}" for name, dataset in added.items() for finding in _findings(name, dataset, verb)]
    if findings:
        raise SchemaError(findings)
    kept = _without(earlier, {verb})
    return xr.DataTree.from_dict(kept | {f"/{name}": dataset for name, dataset in added.items()})


def merge(tree: xr.DataTree, earlier: xr.DataTree) -> xr.DataTree:
    """`tree`, and what it does not replace of an `earlier` one of the same study.

    What is whole in the earlier tree stays where it is only partial in the new one.
    """
    new, old = tree.to_dict(), earlier.to_dict()
    whole = {verb for verb, partial in _made_by(old).items() if not partial}
    stays = {verb for verb, partial in _made_by(new).items() if partial and verb in whole}
    new = {path: dataset for path, dataset in new.items() if _verb(path, dataset) not in stays}
    return xr.DataTree.from_dict(_without(old, set(_made_by(new))) | new)


def _verb(path: str, dataset: xr.Dataset) -> str | None:
    """The verb that has made a group; of a user's own there is none, though it be a copy of one that a verb made."""
    return dataset.attrs.get("verb") if path.removeprefix("/") in GROUPS else None


def _made_by(groups: Mapping[str, xr.Dataset]) -> dict[str, str]:
    """verb -> what it says of being partial, of all verbs that have made some of these groups."""
    made = ((_verb(path, dataset), dataset) for path, dataset in groups.items())
    return {verb: dataset.attrs.get("partial", "") for verb, dataset in made if verb is not None}


def _without(groups: Mapping[str, xr.Dataset], verbs: set[str]) -> dict[str, xr.Dataset]:
    """What stays of `groups` when these verbs make theirs again."""
    again = verbs & set(_made_by(groups))
    gone = verbs | {verb for verb, base in BUILDS_ON.items() if base in again}
    return {path: dataset for path, dataset in groups.items() if _verb(path, dataset) not in gone}


def _findings(name: str, dataset: xr.Dataset, verb: str) -> list[str]:
    if name not in GROUPS:
        return [f"no group of this name is in the schema; {verb!r} needs one in `results.groups`."]
    return GROUPS[name].findings(dataset, verb)

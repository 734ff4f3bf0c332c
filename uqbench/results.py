"""The tree of results: what each verb adds, where it came from, and how it is kept on disk.

One study has one `xarray.DataTree`. A verb takes a tree and returns a new one with its own groups added; the groups
/prior, /posterior, /posterior_predictive, /log_likelihood, /sample_stats and /observed_data follow the ArviZ schema,
/structure, /fisher, /sobol, /variance and, of a reduced model, /separation are uqbench's own.
"""

import json
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import xarray as xr

from .errors import InputError
from .study import Study


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


def check_tree(study: Study, tree: xr.DataTree | None) -> xr.DataTree:
    """The tree to add to: a new one for None, else `tree` itself if it belongs to this model and these data.

    Raises:
        InputError: where the tree was made from another study, model or table.
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
            f"results of another model or table are not mixed; start again with `uqbench run {study.name}`."
        )
        raise InputError("results", findings)
    return tree


def attach(
    tree: xr.DataTree, groups: Mapping[str, xr.Dataset], *, verb: str, settings: Mapping, seed: int, seconds: float
) -> xr.DataTree:
    """A new tree with `groups` added or replaced; each says by which verb, with which settings and seed, in what
    time."""
    origin = {"verb": verb, "settings": json.dumps(settings), "seed": seed, "seconds": round(seconds, 3)}
    children = {name: child.to_dataset() for name, child in tree.children.items()}
    children |= {name: dataset.assign_attrs(**{**dataset.attrs, **origin}) for name, dataset in groups.items()}
    return xr.DataTree.from_dict({"/": tree.to_dataset(), **children})


def save(tree: xr.DataTree, path: str | Path) -> Path:
    """Writes the tree as a zarr store: beside its place first, then renamed into it, so that no half result remains."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        _storable(tree).to_zarr(beside, consolidated=False)
        replace(beside, path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return path


def replace(new: Path, path: Path) -> None:
    """Puts `new` (file or folder) in the place of `path`; what was there stays until the new one is complete."""
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.is_dir():
        # a folder cannot be replaced in one step
        path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def load(path: str | Path) -> xr.DataTree:
    """Reads a tree back into memory.

    Raises:
        InputError: where there is no store at `path`.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError("results", [f"there is no result store {path.name!r}; run `uqbench run` first."])
    try:
        with xr.open_datatree(path, engine="zarr", consolidated=False) as tree:
            return tree.load()
    except (OSError, ValueError, KeyError) as error:
        raise InputError("results", [f"{path.name!r} is not a readable result store: {error}"]) from error


def _storable(tree: xr.DataTree) -> xr.DataTree:
    """Object columns (labels, messages) as fixed-width text, which every zarr reader understands."""

    def texts(dataset: xr.Dataset) -> xr.Dataset:
        changed = {}
        for name, variable in dataset.variables.items():
            if variable.dtype.kind in "OT":
                labels = np.array(["" if value is None else str(value) for value in variable.values.ravel()], dtype=str)
                changed[name] = (variable.dims, labels.reshape(variable.shape), variable.attrs)
        return dataset.assign({k: v for k, v in changed.items() if k not in dataset.coords}).assign_coords(
            {k: v for k, v in changed.items() if k in dataset.coords}
        )

    return xr.DataTree.from_dict(
        {"/": texts(tree.to_dataset()), **{name: texts(child.to_dataset()) for name, child in tree.children.items()}}
    )

"""How the tree is kept on disk: a zarr store, written beside its place and renamed into it."""

import os
import shutil
from pathlib import Path

import numpy as np
import xarray as xr

from ..errors import InputError


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

    return xr.DataTree.from_dict({path: texts(dataset) for path, dataset in tree.to_dict().items()})

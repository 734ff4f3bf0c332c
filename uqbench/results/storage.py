"""How the tree is kept on disk: a zarr store that only one process writes at a time, and that is always whole.

A new version is written beside the store and takes its place in two renames, because a folder cannot be replaced in
one: the old version steps aside, the new one takes its name. Whatever stops a process, also in between, one whole
version is there: without the store's own name, the new version counts where the old one has stepped aside for it.
Groups that are as they were are copied from the old version, as files; making an array in a store takes milliseconds,
and a tree has hundreds.
"""

import hashlib
import json
import os
import pickle
import shlex
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import xarray as xr
from filelock import FileLock, Timeout

from ..errors import InputError

# How often a reader begins again because the store was replaced while it read.
ATTEMPTS = 10


class Store:
    """A store of results while one process works on it: no other process can open it.

    The lock belongs to the operating system, so it ends with the process, however that ends.

    Args:
        path: of the zarr store; its folder is made where there is none.

    Raises:
        InputError: on entering, where another process has it open; the message says which.

    Example:
        >>> with Store("results/theophylline.zarr") as store:  # doctest: +SKIP
        ...     store.save(uq.identify(study, store.load()))
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def __enter__(self) -> "Store":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(_beside(self.path, "lock"))
        holder = _beside(self.path, "holder")
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise InputError("results", [_in_use(self.path, holder)]) from None
        # group -> digest of what the stored version has, as far as it was written from here
        self._digests: dict[str, bytes] = {}
        # in a file of its own, because Windows lets nobody read a locked one
        holder.write_text(json.dumps(_this_process()))
        _settle(self.path)
        return self

    def __exit__(self, *of_an_error) -> None:
        # while it is still held: whoever waits for this file then finds it gone and makes a new one
        _beside(self.path, "holder").unlink(missing_ok=True)
        # Windows removes no open file; there the lock does so itself
        with suppress(PermissionError):
            _beside(self.path, "lock").unlink(missing_ok=True)
        self._lock.release()

    def load(self) -> xr.DataTree | None:
        """The stored tree, or None where nothing is stored yet."""
        return load(self.path) if self.path.is_dir() else None

    def save(self, tree: xr.DataTree) -> None:
        """Replaces what is stored by `tree`; Ctrl-C and SIGTERM wait until it is done.

        Raises:
            InputError: where it cannot be written, such as on a full disk; what is stored is whole then.
        """
        new = _beside(self.path, "new")
        with _signals_wait():
            try:
                digests = self._write(_storable(tree).to_dict(), new)
                if self.path.is_dir():
                    self.path.rename(_beside(self.path, "old"))
                new.rename(self.path)
                self._digests = digests
            except OSError as error:
                finding = f"{self.path.name!r} cannot be written: {error.strerror or error}; what is stored is whole."
                raise InputError("results", [finding]) from error
            finally:
                _settle(self.path)

    def _write(self, groups: dict[str, xr.Dataset], new: Path) -> dict[str, bytes]:
        """Writes a version; returns the digests of its groups."""
        inner = {path.split("/")[1] for path in groups if path.count("/") > 1}
        digests = {path: _digest(dataset) for path, dataset in groups.items() if path.strip("/") not in {"", *inner}}
        same = [
            path
            for path, digest in digests.items()
            if self._digests.get(path) == digest and (self.path / path[1:]).is_dir()
        ]
        changed = xr.DataTree.from_dict({path: dataset for path, dataset in groups.items() if path not in same})
        changed.to_zarr(new, consolidated=False)
        for path in same:
            shutil.copytree(self.path / path[1:], new / path[1:])
        return digests


def save(tree: xr.DataTree, path: str | Path) -> Path:
    """Writes the tree as a zarr store, which replaces the one at `path` only once it is whole.

    Raises:
        InputError: where another process has the store open.
    """
    with Store(path) as store:
        store.save(tree)
    return store.path


def load(path: str | Path) -> xr.DataTree:
    """Reads a tree back into memory, also while another process replaces it.

    Raises:
        InputError: where there is no store at `path`, or it cannot be read.
    """
    path = Path(path)
    for attempt in range(1, ATTEMPTS + 1):
        place = _whole(path)
        if place is None:
            raise InputError("results", [f"there is no result store {path.name!r}; run `uqbench run` first."])
        try:
            version = place.stat().st_ino
            with xr.open_datatree(place, engine="zarr", consolidated=False) as tree:
                loaded = tree.load()
            if place.stat().st_ino == version or attempt == ATTEMPTS:
                return loaded
        except (OSError, ValueError, KeyError) as error:
            replaced = not place.is_dir() or place.stat().st_ino != version
            if not replaced or attempt == ATTEMPTS:
                raise InputError("results", [f"{path.name!r} is not a readable result store: {error}"]) from error
    raise AssertionError("the last attempt returns or raises")


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f".{path.name}.{what}")


def _whole(path: Path) -> Path | None:
    """The folder that holds the whole newest version of the store at `path`, or None where there is none."""
    if path.is_dir():
        return path
    # the old version steps aside only for a new one that is whole
    return _beside(path, "new") if _beside(path, "old").is_dir() and _beside(path, "new").is_dir() else None


def _settle(path: Path) -> None:
    """Finishes or takes back what was interrupted while the store was replaced."""
    old, new = _beside(path, "old"), _beside(path, "new")
    if not path.is_dir() and old.is_dir():
        (new if new.is_dir() else old).rename(path)
    shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _digest(dataset: xr.Dataset) -> bytes:
    """Of all that is stored of a group."""
    found = hashlib.sha256(pickle.dumps((list(dataset.coords), dataset.attrs)))
    for name, variable in sorted(dataset.variables.items(), key=lambda item: str(item[0])):
        found.update(pickle.dumps((name, variable.dims, variable.shape, variable.dtype.str, variable.attrs)))
        # of objects an array has addresses only
        text = variable.dtype.kind == "O"
        found.update(
            pickle.dumps(variable.values.tolist()) if text else np.ascontiguousarray(variable.values).tobytes()
        )
    return found.digest()


def _this_process() -> dict:
    """Who has a store open, for those who want it too."""
    return {
        "process": os.getpid(),
        "host": socket.gethostname(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _in_use(path: Path, holder: Path) -> str:
    try:
        by = "process {process} on {host} (`{command}`, since {since})".format(**json.loads(holder.read_text()))
    except (OSError, ValueError, KeyError):
        # it was opened a moment ago and has not said yet by whom
        by = "another process"
    return f"{path.name!r} is in use by {by}; wait until it ends, or give another folder for the results."


@contextmanager
def _signals_wait() -> Iterator[None]:
    """Ctrl-C and SIGTERM take effect at the end of the block."""
    if threading.current_thread() is not threading.main_thread():
        # Python handles signals in the main thread only
        yield
        return
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])


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

"""Machine code from native functions (`compile_library`) and from LLVM text (`compile_module`).

The object code of a library is kept in a file, so that only the first process on a machine waits for the optimiser.
The file's name is a hash of the LLVM text, the version of llvmlite and the host's processor: whatever changes the code
changes the name. A file that cannot be read or written, or whose checksum is wrong, is as good as none.
"""

import hashlib
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from .language import NativeFunction, Record, record_fields
from .translation import translate

_lock = threading.RLock()
_engines: list[llvm.ExecutionEngine] = []  # machine code lives as long as the process: its addresses are everywhere
_ready = False

# Level 2 takes a fifth longer to compile and runs no faster, if loops are vectorised at level 1 too.
LIBRARY_SPEED = 1


@dataclass(frozen=True)
class Library:
    """Machine code of native functions; stays in memory until the process ends."""

    name: str
    entries: tuple[str, ...]
    engine: llvm.ExecutionEngine

    def address(self, entry: str) -> int:
        """The address of an entry point, for ctypes or as a pointer in a record.

        Raises:
            KeyError: no entry of this name.
        """
        if entry not in self.entries:
            raise KeyError(f"library {self.name!r} has no entry {entry!r}; it has {', '.join(self.entries)}.")
        with _lock:
            return self.engine.get_function_address(entry)


def compile_library(entries: Sequence[NativeFunction], name: str) -> Library:
    """Compile native functions and all that they call.

    Args:
        entries: functions that are to be called from outside.
        name: stem of the cache file's name, for a reader of the directory.

    Returns:
        The library; `address` gives its entry points.

    Raises:
        LanguageError: a function uses what the language does not have.
    """
    text = translate(entries)
    names = tuple(entry.__name__ for entry in entries)
    with _lock:
        machine = _target_machine(LIBRARY_SPEED)
        file = _cache_directory() / f"{name}-{_fingerprint(text)}.o"
        code = _read(file)
        if code is None:
            code = machine.emit_object(_optimised(text, machine, LIBRARY_SPEED, loops=True))
            _write(file, code)
        engine = _engine(llvm.parse_assembly(""), machine)
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return Library(name, names, engine)


def compile_module(ir_text: str, speed: int = 1) -> llvm.ExecutionEngine:
    """Compile the text of an LLVM module, without a cache.

    Args:
        ir_text: LLVM IR; a target that it names is replaced by the host.
        speed: level of optimisation, 0 to 3.

    Returns:
        The engine, which also stays alive on its own; `get_function_address` gives addresses.
    """
    with _lock:
        machine = _target_machine(speed)
        engine = _engine(_optimised(ir_text, machine, speed), machine)
        engine.finalize_object()
        return engine


@dataclass(frozen=True)
class PackedRecord:
    """A record in memory that Python owns: the words, and the arrays that its pointers point to."""

    words: np.ndarray
    owned: tuple[object, ...]

    @property
    def address(self) -> int:
        """The address of the first field; valid as long as this object lives."""
        return self.words.ctypes.data


def pack(record: type[Record], **values: int | float | np.ndarray | PackedRecord | None) -> PackedRecord:
    """A record for native code, filled from Python.

    Args:
        record: the record's class.
        values: a number for a number; for a pointer a contiguous array of float64 or int64, a packed record, an
            address, or None for null. Every field must be given.

    Raises:
        TypeError: fields are missing or unknown, or an array has the wrong type.
    """
    fields = record_fields(record)
    if set(fields) != set(values):
        wrong = sorted(set(fields) ^ set(values))
        raise TypeError(f"{record.__name__}: fields {', '.join(wrong)} are missing or unknown.")
    words = np.zeros(max(len(fields), 1), dtype=np.int64)
    owned = []
    for place, (field, kind) in enumerate(fields.items()):
        value = values[field]
        if kind is float:
            words[place : place + 1].view(np.float64)[0] = value
        elif isinstance(value, np.ndarray):
            wanted = {"Vector": np.float64, "Indices": np.int64}.get(kind.__name__)
            if value.dtype != wanted or not value.flags.c_contiguous:
                raise TypeError(f"{record.__name__}.{field} takes a contiguous array for {kind.__name__}.")
            owned.append(value)
            words[place] = value.ctypes.data
        elif isinstance(value, PackedRecord):
            owned.append(value)
            words[place] = value.address
        else:
            words[place] = 0 if value is None else value
    return PackedRecord(words, tuple(owned))


def _target_machine(speed: int) -> llvm.TargetMachine:
    global _ready
    if not _ready:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        _ready = True
    cpu, features = _host()
    return llvm.Target.from_default_triple().create_target_machine(cpu=cpu, features=features, opt=speed, jit=True)


def _host() -> tuple[str, str]:
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()


def _optimised(text: str, machine: llvm.TargetMachine, speed: int, loops: bool = False) -> llvm.ModuleRef:
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    options = llvm.create_pipeline_tuning_options(speed_level=speed)
    options.loop_vectorization = loops or speed > 1
    builder = llvm.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
    return module


def _engine(module: llvm.ModuleRef, machine: llvm.TargetMachine) -> llvm.ExecutionEngine:
    engine = llvm.create_mcjit_compiler(module, machine)
    _engines.append(engine)
    return engine


def _cache_directory() -> Path:
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path("~/.cache")) / "uqbench" / "native"


def _fingerprint(text: str) -> str:
    parts = [text, llvmlite.__version__, *_host(), str(LIBRARY_SPEED)]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _read(file: Path) -> bytes | None:
    """The code in a cache file, after its checksum; None if there is no file or it is damaged."""
    try:
        data = file.expanduser().read_bytes()
    except (OSError, RuntimeError):  # RuntimeError: no home directory
        return None
    checksum, code = data[:32], data[32:]
    return code if hashlib.sha256(code).digest() == checksum else None


def _write(file: Path, code: bytes) -> None:
    """Write a file under a name of its own and rename it, so that no other process reads half of it."""
    try:
        file = file.expanduser()
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as written:
            written.write(hashlib.sha256(code).digest() + code)
        os.replace(written.name, file)
    except (OSError, RuntimeError):
        return

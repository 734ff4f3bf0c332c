"""Who may import whom: read from the source, so that a forbidden arrow fails here and not in a review."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = [
    "annotations",
    "compiling",
    "balance",
    "coupling",
    "errors",
    "csv_files",
    "settings",
    "capabilities",
    "names",
    "defaults",
    "units",
    "progress",
    "distributions",
    "interop",
    "space",
    "correlations",
    "design",
    "dosing_records",
    "system",
    "native",
    "kernels",
    "interpolation",
    "solvers",
    "jump_processes",
    "initial_value",
    "dynamics",
    "systems",
    "model",
    "shipped",
    "measurements",
    "category_counts",
    "levels",
    "study",
    "likelihoods",
    "optimization",
    "results",
    "time_scales",
    "symbols",
    "check",
]
# package -> the rooms that it may use
ALLOWED = {
    "annotations": set(),
    "compiling": set(),
    "balance": {"annotations"},
    "errors": set(),
    "csv_files": set(),
    "settings": set(),
    "capabilities": {"errors"},
    "names": set(),
    "defaults": set(),
    "units": {"errors"},
    "progress": {"errors"},
    "distributions": {"errors"},
    # spaces only to name them in annotations
    "interop": {"distributions", "errors", "space"},
    "space": {"annotations", "compiling", "distributions", "errors", "interop", "names", "units"},
    "design": {"annotations", "errors"},
    "dosing_records": {"csv_files", "design", "errors"},
    "system": {"annotations", "errors"},
    "symbols": {"design", "errors", "names", "system"},
    "native": {"errors"},
    "kernels": {"errors", "interpolation", "native", "symbols"},
    "interpolation": {"annotations", "errors"},
    # arrays and callables only
    "solvers": {"errors", "native"},
    "jump_processes": {"annotations", "errors", "solvers"},
    "initial_value": {"annotations", "design", "errors", "kernels", "native", "solvers", "system"},
    "dynamics": {"annotations", "design", "errors", "initial_value", "solvers", "system"},
    # arrays and callables only
    "master_equation": {"annotations", "errors", "native"},
    # arrays and callables only
    "random_media": {"annotations", "errors"},
    # arrays and callables only
    "agents": {"annotations", "errors"},
    "coarse_graining": {"annotations", "errors"},
    "homogenisation": {"annotations", "errors"},
    # study and results for the balance that a study's runs keep
    "coupling": {
        *("annotations", "balance", "design", "errors", "model", "results", "solvers", "study", "system", "systems"),
        "units",
    },
    "interfaces": {"annotations", "balance", "errors", "units"},
    "macroscopic": {"annotations", "errors", "homogenisation"},
    # reporting only for how figures look
    "representative_volume": {"annotations", "errors", "homogenisation", "reporting", "units"},
    "systems": {
        "annotations",
        "capabilities",
        "design",
        "dynamics",
        "jump_processes",
        "master_equation",
        "names",
        "settings",
        "errors",
        "initial_value",
        "solvers",
        "space",
        "system",
    },
    "model": {
        *("annotations", "design", "distributions", "dynamics", "errors", "initial_value", "names", "space"),
        *("symbols", "system", "systems", "units"),
    },
    "expectations": {"annotations", "design", "errors", "model", "settings", "systems"},
    "shipped": set(),
    "correlations": {"distributions", "errors", "space"},
    "measurements": {"errors", "model", "units"},
    "category_counts": {"distributions", "errors", "measurements"},
    "levels": {"design", "distributions", "errors", "measurements", "model", "space"},
    "study": {"csv_files", "design", "errors", "levels", "measurements", "model", "names", "shipped", "units"},
    "likelihoods": {
        "annotations",
        "capabilities",
        "design",
        "distributions",
        "errors",
        "master_equation",
        "measurements",
        "model",
        "space",
        "study",
        "systems",
    },
    "optimization": {
        "compiling",
        "measurements",
        *("annotations", "distributions", "errors", "likelihoods", "model", "progress", "settings", "space", "study"),
    },
    "results": {"errors", "study"},
    "time_scales": {
        "annotations",
        *("design", "dynamics", "errors", "initial_value", "model", "progress", "results", "solvers", "space", "study"),
        *("system", "systems"),
    },
    "check": {"design", "distributions", "errors", "model", "symbols", "system", "time_scales"},
    "identifiability": {*CORE},
    "calibration": {*CORE},
    "decomposition": {*CORE},
    "reporting": {"results", "errors"},
    "workflow": {"defaults", "errors", "study", "calibration", "decomposition", "identifiability", "reporting"},
    "umbridge": {"annotations", "design", "errors", "model", "space", "study"},
    "cli": {*CORE, "umbridge", "workflow", "calibration", "decomposition", "identifiability", "reporting"},
}
# rooms whose names models and studies may fetch from the rooms themselves
PUBLIC_ROOMS = (
    [],
    *(
        [name]
        for name in (
            "agents",
            "balance",
            "coarse_graining",
            "coupling",
            "dynamics",
            "homogenisation",
            "interfaces",
            "macroscopic",
            "random_media",
            "representative_volume",
            "time_scales",
            "umbridge",
        )
    ),
)
OWNERS = {
    "pymc": {"calibration"},
    "nutpie": {"calibration"},
    "pytensor": {"calibration"},
    "SALib": {"decomposition", "interop"},
    "chaospy": {"interop"},
    "diffrax": {"solvers", "systems"},
    "llvmlite": {"native"},
    "sympy": {"symbols", "model", "identifiability"},
    "flint": {"identifiability"},
    "jinja2": {"reporting"},
    "matplotlib": {"reporting", "representative_volume"},
    "cyclopts": {"cli"},
}


def imports(path):
    """(module, level) of every import in a file, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.module, node.level
            else:
                yield from ((alias.name, node.level) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)


def room(path):
    parts = path.relative_to(ROOT / "uqbench").with_suffix("").parts
    return parts[0]


def arrows():
    for path in sorted((ROOT / "uqbench").rglob("*.py")):
        if path.name == "__init__.py" and path.parent == ROOT / "uqbench":
            continue
        depth = len(path.relative_to(ROOT / "uqbench").parts)
        for module, level in imports(path):
            yield path, depth, module, level


def test_rooms_import_only_what_they_may():
    wrong = []
    for path, depth, module, level in arrows():
        if module.startswith("uqbench") and level == 0:
            wrong.append(f"{path.name} imports {module} by its absolute name")
        if level == depth:
            target = module.split(".")[0]
            if target != room(path) and target not in ALLOWED[room(path)]:
                wrong.append(f"{room(path)} ({path.name}) imports {target}")
    assert not wrong


def at_run_time(node):
    """The nodes below, but for what is imported for annotations alone."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from at_run_time(child)


def modules_imported():
    """Module -> the modules of the library that it imports at run time, inside functions too."""
    names = {
        path: ".".join(part for part in path.relative_to(ROOT).with_suffix("").parts if part != "__init__")
        for path in (ROOT / "uqbench").rglob("*.py")
    }
    known, found = set(names.values()), {}
    for path, name in names.items():
        package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
        found[name] = set()
        for node in at_run_time(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*package[: len(package) + 1 - node.level], *(node.module or "").split(".")]
                target = ".".join(filter(None, base))
                each = [f"{target}.{alias.name}" for alias in node.names]
                found[name] |= {module if module in known else target for module in each}
    return found


def test_no_modules_import_each_other_in_a_circle():
    left = modules_imported()
    # whoever imports none of the rest is in no circle, and is taken away until nothing or circles remain
    while free := {name for name, targets in left.items() if not targets & left.keys()}:
        left = {name: targets for name, targets in left.items() if name not in free}
    assert not {name: sorted(targets & left.keys()) for name, targets in left.items()}


def test_each_heavy_package_has_one_owner():
    wrong = [
        f"{path.relative_to(ROOT)} imports {module}"
        for path, _, module, level in arrows()
        if level == 0 and room(path) not in OWNERS.get(module.split(".")[0], {room(path)})
    ]
    assert not wrong


def asks_for_a_system(node) -> bool:
    """`isinstance(..., Ode)` or `... system is None`."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance":
        return "Ode" in {part.id for part in ast.walk(node.args[1]) if isinstance(part, ast.Name)}
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot):
        return ast.unparse(node.left).split(".")[-1] == "system" and ast.unparse(node.comparators[0]) == "None"
    return False


def test_only_systems_ask_of_what_type_a_system_is():
    """All others ask for a capability, so that a new kind of dynamics is one file."""
    outside = [path for path in (ROOT / "uqbench").rglob("*.py") if "systems" not in path.parts]
    assert len(outside) > 100
    asking = [path.name for path in outside if any(map(asks_for_a_system, ast.walk(ast.parse(path.read_text()))))]
    assert not asking


def test_the_library_knows_neither_models_nor_studies():
    named = {module.split(".")[0] for _, _, module, level in arrows() if level == 0}
    assert not named & {"forward_models", "studies"}


# what models and studies may use beside the public names


@pytest.mark.parametrize(
    "folder, allowed",
    [
        ("forward_models", {"uqbench", "jax", "numpy"}),
        ("studies", {"uqbench", "forward_models", "jax", "numpy", "pandas", "pathlib", "dataclasses"}),
    ],
)
def test_models_and_studies_import_public_names(folder, allowed):
    for path in (ROOT / folder).glob("*.py"):
        for module, level in imports(path):
            assert level == 0 and module.split(".")[0] in allowed, f"{path.name}: {module}"
            parts = module.split(".")
            assert parts[0] != "uqbench" or parts[1:2] in PUBLIC_ROOMS, f"{path.name}: {module}"


def test_importing_the_package_loads_nothing_heavy():
    heavy = {"jax", "pymc", "arviz", "pandas", "sympy", "matplotlib"}
    code = f"import uqbench, sys; print(sorted({heavy} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_every_public_name_can_be_fetched():
    import uqbench

    missing = [name for name in uqbench.__all__ if getattr(uqbench, name, None) is None]
    assert not missing

"""The studies and forward models that come with uqbench, importable whatever folders of these names a user has.

In a checkout they are the folders `studies` and `forward_models` beside the package; a wheel has the studies inside the
package, so that it takes no name `studies` in anyone's environment. In both, `uqbench.shipped.studies.theophylline` is
the same module for every process, and what it imports from `forward_models` is the model that came with it, though the
working folder may have a `forward_models` of its own.
"""

import ast
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

HERE = Path(__file__).parent
STUDIES = HERE / "_studies" if (HERE / "_studies").is_dir() else HERE.parent / "studies"
FOLDERS = {"studies": STUDIES, "forward_models": HERE.parent / "forward_models"}
# This module is a package without a folder: `_Finder` finds what is in it.
__path__: list[str] = []


def shipped_studies() -> tuple[str, ...]:
    """Names of the studies that come with uqbench, without importing them."""
    return study_names(STUDIES)


def study_names(folder: Path) -> tuple[str, ...]:
    """Names of the study files in a folder, without importing them."""
    return tuple(sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")))


class _Finder(MetaPathFinder):
    def find_spec(self, fullname, path=None, target=None) -> ModuleSpec | None:
        package, _, name = fullname.rpartition(".")
        if package == __name__ and name in FOLDERS:
            folder = FOLDERS[name]
            spec = spec_from_file_location(fullname, folder / "__init__.py", submodule_search_locations=[str(folder)])
        elif package.startswith(f"{__name__}."):
            spec = PathFinder.find_spec(fullname, path)
        else:
            return None
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    """Reads `from forward_models.x import y` as an import of the model that lies beside the studies.

    No bytecode is kept: the same file, imported as `studies.x`, means the `forward_models` of the search path.
    """

    def get_code(self, fullname: str) -> CodeType:
        tree = ast.parse(self.get_data(self.path), self.path)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                head = node.module.split(".")[0]
                if head in FOLDERS:
                    node.module = f"{__name__}.{node.module}"
        return compile(tree, self.path, "exec", dont_inherit=True)


# before the finder of the search path, which knows the folders too
sys.meta_path.insert(0, _Finder())

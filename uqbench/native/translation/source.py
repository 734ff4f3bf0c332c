"""The syntax trees of native functions, and what the names in them mean."""

import ast
import builtins
import linecache
import types

from ..language import LanguageError

_modules: dict[str, tuple[str, ast.Module]] = {}


def _parse(filename: str) -> ast.Module:
    text = "".join(linecache.getlines(filename))
    known = _modules.get(filename)
    if known is None or known[0] != text:
        _modules[filename] = known = (text, ast.parse(text, filename))
    return known[1]


def definition(function: types.FunctionType) -> ast.FunctionDef:
    """The function's syntax tree, with the line numbers of its file."""
    code = function.__code__
    for node in ast.walk(_parse(code.co_filename)):
        if isinstance(node, ast.FunctionDef) and node.name == function.__name__:
            first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
            if first <= code.co_firstlineno <= node.lineno:
                return node
    raise LanguageError(f"the source of {function.__qualname__} in {code.co_filename} cannot be read")


def names_of(function: types.FunctionType) -> dict[str, object]:
    """What names mean outside the function: builtins, the module's globals, and variables of enclosing functions."""
    closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    filled = {}
    for name, cell in closure.items():
        try:
            filled[name] = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    return {**vars(builtins), **function.__globals__, **filled}


def annotation(node: ast.expr, names: dict[str, object]) -> object:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return getattr(annotation(node.value, names), node.attr, None)
    return None if node is None else ast.unparse(node)

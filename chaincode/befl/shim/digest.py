"""What code runs here: one digest over everything that decides."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from pathlib import Path
from typing import Final

from befl.rules.errors import BeflError

_PACKAGES: Final = ("befl.rules", "befl.primitives", "befl.contracts", "befl.shim")
_OMITTED: Final = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def code_digest() -> str:
    """Return the SHA-256 over the code of the rules, primitives, contracts and shim that are installed here.

    Comments, docstrings and layout do not count; any other change does, also a module more or less. The chaincode
    definition carries it: endorsers that agree on it run the same code.

    Returns
    -------
    str
        64 lower-case hex digits.
    """
    digest = hashlib.sha256(b"befl code digest 1\n")
    for package in _PACKAGES:
        for name, path in sorted(_modules(package).items()):
            code = hashlib.sha256(canonical(path.read_text(encoding="utf-8")).encode()).hexdigest()
            digest.update(f"{name} {code}\n".encode())
    return digest.hexdigest()


def check_code(expected: str | None) -> None:
    """Compare the code that is installed here with what the chaincode definition says.

    Raises
    ------
    BeflError
        ``BEFL-G-027``.
    """
    if expected is not None and (actual := code_digest()) != expected:
        raise BeflError(
            "BEFL-G-027",
            f"the consortium agreed on code {expected[:16]}…, installed here is {actual[:16]}…",
            "Install the version of befl that the chaincode definition names.",
        )


def canonical(source: str) -> str:
    """Write a module's syntax tree as text, without what has no effect.

    Empty lists and absent fields are left out, so that Python versions that add fields to the tree agree.

    Parameters
    ----------
    source : str
        Python source text.
    """
    parts: list[str] = []
    _write(ast.parse(source), parts)
    return "".join(parts)


def _modules(package: str) -> dict[str, Path]:
    spec = importlib.util.find_spec(package)
    found: dict[str, Path] = {}
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        root = Path(folder)
        for path in root.rglob("*.py"):
            tail = path.relative_to(root).with_suffix("").parts
            found[".".join((package, *tail))] = path
    return found


def _write(node: ast.AST, parts: list[str]) -> None:
    parts.append(type(node).__name__)
    parts.append("(")
    for name in node._fields:
        value = getattr(node, name, None)
        if name in _OMITTED or value is None or value == []:
            continue
        parts.append(name)
        parts.append("=")
        if isinstance(value, list):
            for item in value:
                if isinstance(item, ast.AST):
                    if _is_text(item):
                        continue
                    _write(item, parts)
                else:
                    parts.append(repr(item))
                parts.append(",")
        elif isinstance(value, ast.AST):
            _write(value, parts)
        else:
            parts.append(f"{type(value).__name__}:{value!r}")
        parts.append(";")
    parts.append(")")


def _is_text(node: ast.AST) -> bool:
    """Whether a statement is only a string: a docstring, of whatever it may be."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)

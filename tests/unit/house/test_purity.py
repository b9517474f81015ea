"""Rules and contracts decide from what they are given: no clock, no chance, no machine, and few libraries.

Endorsers must agree to the byte, so whatever could differ between two machines is not even imported. The lists say what
may be imported (a new name is a decision, made here); import-linter holds the arrows between befl's own packages.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PURE_STANDARD = {
    "__future__",
    "abc",
    "base64",
    "binascii",
    "bisect",
    "collections",
    "dataclasses",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "hmac",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "struct",
    "tomllib",
    "types",
    "typing",
}
ALLOWED = {
    "chaincode/befl/rules": PURE_STANDARD | {"numpy", "befl"},
    # contracts read the caller's certificate
    "chaincode/befl/contracts": PURE_STANDARD | {"numpy", "cryptography", "befl"},
}
FORBIDDEN_CALLS = {
    "__import__",
    "breakpoint",
    "compile",
    "eval",
    "exec",
    "globals",
    "hash",
    "id",
    "input",
    "open",
    "print",
}
# numpy's own chance and files, a certificate's "now"
FORBIDDEN_ATTRIBUTES = {"random", "fromfile", "tofile", "load", "save", "savez", "memmap", "now", "today", "utcnow"}


def violations(source: str, allowed: set[str]) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        found += [f"{node.lineno}: import {name}" for name in names if name.partition(".")[0] not in allowed]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            found.append(f"{node.lineno}: {node.func.id}()")
        if isinstance(node, ast.Attribute) and node.attr in FORBIDDEN_ATTRIBUTES and isinstance(node.value, ast.Name):
            found.append(f"{node.lineno}: {node.value.id}.{node.attr}")
    return found


@pytest.mark.parametrize("folder", ALLOWED)
def test_rules_and_contracts_are_pure(folder):
    found = [
        f"{path.relative_to(ROOT)}:{entry}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for entry in violations(path.read_text(), ALLOWED[folder])
    ]
    assert found == []


@pytest.mark.parametrize(
    "source",
    [
        "import time",
        "from os import environ",
        "import importlib",
        "from . import secrets",
        "print(1)",
        "hash('a')",
        "import numpy as np\nnp.random",
        "dt.now()",
    ],
)
def test_what_is_not_pure_is_found(source):
    assert violations(source, PURE_STANDARD | {"numpy"})


def modules(*roots: str) -> list[str]:
    """Name every module below the three source roots, without running it."""
    found = []
    for root in roots:
        for path in sorted((ROOT / root / "befl").rglob("*.py")):
            parts = path.relative_to(ROOT / root).with_suffix("").parts
            if parts[-1] != "__main__":
                found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


def test_the_base_never_imports_torch():
    """Everything but the training code is imported, and torch has not come along."""
    apart = ("befl.training.", "befl.client.starter.")  # what a training process imports, and a user's first app
    names = [name for name in modules("chaincode", "clients", "network") if not name.startswith(apart)]
    program = (
        "import importlib, sys\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stderr
    assert len(names) > 20

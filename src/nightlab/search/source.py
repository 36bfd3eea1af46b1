"""Exact source: its identity, its difference from another, and names that would break Python.

Standard library only: the hash must be the same under every Python we support, and tests run it under each.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePosixPath

from nightlab.types import ExperimentId, Files

ALGORITHM = "nl1"
"""Name of the canonical form. Change it whenever the form changes, or old hashes would mean other sources."""

# Fields that say nothing about what the program does, or that a parser fills in by its own taste.
_SKIPPED = frozenset({"ctx", "type_comment", "type_ignores", "kind"})


def source_hash(files: Files, settings_digest: str) -> str:
    """Identity of an experiment: `nl1:` and the SHA-256 of the files' canonical form and the settings that matter.

    White space, comments, docstrings and quote styles do not count; paths do. Python that does not parse, and files
    that are no Python, count byte by byte with newlines normalised. A file whose syntax only a newer Python knows
    hashes by bytes under the older one.
    """
    digest = hashlib.sha256()
    for part in (settings_digest, *(part for path in sorted(files) for part in (path, _form(path, files[path])))):
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)  # lengths, so that no two lists of parts read the same
    return f"{ALGORITHM}:{digest.hexdigest()}"


def experiment_id(source_hash: str) -> ExperimentId:
    """The short name of a source: `e` and the first 12 hex digits of its hash."""
    return ExperimentId("e" + source_hash.rpartition(":")[2][:12])


def _form(path: str, text: str) -> str:
    tree = parse(text) if path.endswith(".py") else None
    if tree is None:
        return "text " + text.replace("\r\n", "\n").replace("\r", "\n")
    return "python " + canonical(tree)


def parse(text: str) -> ast.Module | None:
    """The syntax tree, or None where there is none. Never warns: the text may be anybody's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(text.removeprefix("\ufeff"))
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def canonical(tree: ast.AST) -> str:
    """One line of text that is equal for trees that mean the same.

    Node by node: class name, then its fields in alphabetical order, empty ones left out (a newer Python's additions
    are empty in older source). Constants by type and ASCII representation, because `repr` follows the Unicode table
    of the running Python. No recursion: generated source can nest deeper than the stack.
    """
    out: list[str] = []
    todo: list[object] = [tree]
    while todo:
        item = todo.pop()
        if isinstance(item, _Token):
            out.append(item)
        elif isinstance(item, ast.Constant):
            out.append(f"{type(item.value).__name__}:{item.value!a} ")
        elif isinstance(item, ast.JoinedStr) and (plain := _plain(item)) is not None:
            out.append(f"str:{plain!a} ")
        elif isinstance(item, ast.AST):
            out.append(f"({type(item).__name__} ")
            todo.append(_Token(") "))
            todo.extend(reversed([part for name, value in _fields(item) for part in (_Token(f"{name}="), value)]))
        elif isinstance(item, list):
            out.append("[")
            todo.append(_Token("] "))
            todo.extend(reversed(item))
        else:
            out.append(f"{item!a} ")
    return "".join(out)


class _Token(str):
    """Text that goes out as it is."""


def _fields(node: ast.AST) -> Iterator[tuple[str, object]]:
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if name in _SKIPPED or value is None:
            continue
        if isinstance(node, ast.JoinedStr) and name == "values":
            value = _merged(node.values)
        elif name == "format_spec" and isinstance(value, ast.JoinedStr) and not _merged(value.values):
            continue
        elif isinstance(value, list):
            value = [item for item in value if not _is_docstring(item)]
        if value != []:
            yield name, value


def _is_docstring(item: object) -> bool:
    """A string standing alone as a statement: a docstring, or a comment in its clothes."""
    return isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant) and isinstance(item.value.value, str)


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Parts of an f-string with neighbouring texts joined: parsers differ in where they cut."""
    out: list[ast.expr] = []
    for part in values:
        plain = _plain(part) if isinstance(part, ast.JoinedStr) else None
        value = part if plain is None else ast.Constant(plain)
        if isinstance(value, ast.Constant) and out and isinstance(out[-1], ast.Constant):
            out[-1] = ast.Constant(str(out[-1].value) + str(value.value))
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            out.append(value)
    return out


def _plain(node: ast.JoinedStr) -> str | None:
    """The text of an f-string without fields, which is an ordinary string."""
    parts = [value.value for value in node.values if isinstance(value, ast.Constant)]
    return "".join(map(str, parts)) if len(parts) == len(node.values) else None


# --- differences ------------------------------------------------------------------------------------------------


def patch(old: Files, new: Files) -> str:
    """Unified diff from `old` to `new` in git's own form: `git apply` turns the one into the other, byte for byte."""
    return "".join(_file_patch(path, old, new) for path in sorted({*old, *new}) if old.get(path) != new.get(path))


def _file_patch(path: str, old: Mapping[str, str], new: Mapping[str, str]) -> str:
    before, after = _lines(old.get(path, "")), _lines(new.get(path, ""))
    a = _quoted("a/" + path) if path in old else "/dev/null"
    b = _quoted("b/" + path) if path in new else "/dev/null"
    head = f"diff --git {_quoted('a/' + path)} {_quoted('b/' + path)}\n"
    if path not in old:
        head += "new file mode 100644\n"
    elif path not in new:
        head += "deleted file mode 100644\n"
    hunks = list(difflib.unified_diff(before, after, n=3))[2:]  # without difflib's own two headers
    if not hunks:
        return head
    body = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in hunks)
    # git ends a name that contains a space with a tab, so that a date after it cannot be taken for a part of it
    return f"{head}--- {a}{_tab(a)}\n+++ {b}{_tab(b)}\n{body}"


def _tab(name: str) -> str:
    return "\t" if " " in name and not name.startswith('"') else ""


def _lines(text: str) -> list[str]:
    """Lines as git sees them: only a line feed ends one."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _quoted(name: str) -> str:
    """A path as git writes it: quoted like a C string if it holds anything unusual."""
    if all(" " <= char <= "~" and char not in '"\\' for char in name):
        return name
    known = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
    return '"' + "".join(known.get(c) or _octal(c) for c in name) + '"'


def _octal(char: str) -> str:
    return char if " " <= char <= "~" else "".join(f"\\{byte:03o}" for byte in char.encode("utf-8", "surrogateescape"))


def code_lines(patch: str) -> int:
    """Lines of code that a unified diff adds, less those that it takes away; blank lines and comments are none."""
    count = 0
    for line in patch.splitlines():
        if (
            line[:1] in ("+", "-")
            and line[:3] not in ("+++", "---")
            and line[1:].strip()
            and line[1:].lstrip()[0] != "#"
        ):
            count += 1 if line[0] == "+" else -1
    return count


# --- names ------------------------------------------------------------------------------------------------------


def shadowed(paths: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that a script beside them would import instead of Python's own module of the same name.

    A module counts at the top level and in any directory that is no package among `paths`: a script that lies there
    is run with that directory first on the import path. Modules inside packages have a longer name and are harmless.
    """
    all_paths = {PurePosixPath(path) for path in paths}
    packages = {path.parent for path in all_paths if path.name == "__init__.py"}

    def hides(path: PurePosixPath) -> bool:
        module = path.parent if path.name == "__init__.py" else path.with_suffix("")
        free = module.parent == PurePosixPath(".") or module.parent not in packages
        return path.suffix == ".py" and free and module.name in sys.stdlib_module_names

    return tuple(sorted(str(path) for path in all_paths if hides(path)))

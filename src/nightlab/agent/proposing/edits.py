"""An edit as a model writes it, put into the editable files: lenient in form, strict in meaning. Pure.

Three forms are understood, the first that is found counts: blocks of text to search and replace, a unified diff, whole
files in fences. Line numbers and trailing white space need not be right; the text that is to be replaced must be there,
once; a file that may not be edited is refused whatever is said of it.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from nightlab.errors import EditError
from nightlab.search.source import parse
from nightlab.types import Files

MAX_FILE = 500_000  # characters of a file after an edit: train.py has a twentieth of it
LEAST = 0.5  # share of a file's lines that a block must have to count as that file whole, not as a piece of it

_SEARCH = re.compile(r"^<{5,9} ?SEARCH\b.*$")
_DIVIDE = re.compile(r"^={5,9}\s*$")
_REPLACE = re.compile(r"^>{5,9} ?REPLACE\b.*$")
_OLD = re.compile(r"^--- (?P<path>\S.*?)\s*$")
_NEW = re.compile(r"^\+\+\+ (?P<path>\S.*?)\s*$")
_HUNK = re.compile(r"^@@(?: -(?P<line>\d+)\S*)?")
_FENCE = re.compile(r"^\s*(?P<mark>`{3,}|~{3,})(?P<info>.*)$")
_WORD = re.compile(r"[\w./-]+\.\w+")
_NOWHERE = "/dev/null"


def edited(answer: str, files: Files, may_edit: Callable[[str], bool]) -> Files:
    """The files with the edit of an answer in them.

    Args:
        answer: what a model wrote, prose around its edit allowed.
        files: the editable files as they are.
        may_edit: whether a path (relative, POSIX) may be edited, or made.

    Raises:
        EditError: there is no edit, it does not fit, it concerns another file, changes nothing, or leaves Python that
            does not parse; the message says to the model what is amiss.
    """
    lines = answer.replace("\r\n", "\n").split("\n")
    if any(_SEARCH.match(line) for line in lines):
        changed = _replaced(lines, files, may_edit)
    elif any(_HUNK.match(line) for line in lines) and any(_NEW.match(line) for line in lines):
        changed = _patched(lines, files, may_edit)
    else:
        changed = _rewritten(lines, files, may_edit)
    if changed == dict(files):
        raise EditError("the edit changes nothing")
    return checked(changed, files)


def checked(changed: dict[str, str], before: Files) -> dict[str, str]:
    """The files of an edit, if each that is new may stand so.

    Raises:
        EditError: one is too large, no text, or Python that does not parse.
    """
    for path, text in changed.items():
        if text != before.get(path):
            _check(path, text)
    return changed


def _check(path: str, text: str) -> None:
    """Whether a file may stand so."""
    if len(text) > MAX_FILE:
        raise EditError(f"{path} would have {len(text):,} characters; {MAX_FILE:,} are the most")
    if "\0" in text or not _is_unicode(text):
        raise EditError(f"{path} would hold characters that no source file may hold")
    if path.endswith(".py") and parse(text) is None:
        raise EditError(f"{path} does not parse after the edit: {_syntax(text)}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _syntax(text: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ast.parse(text.removeprefix("\ufeff"))
        except SyntaxError as exc:
            return f"line {exc.lineno}: {exc.msg}"
        except (ValueError, RecursionError, MemoryError) as exc:
            return str(exc) or type(exc).__name__
    raise AssertionError("it parses")


def _path(said: str, files: Files, may_edit: Callable[[str], bool]) -> str:
    """The path that is meant.

    Raises:
        EditError: it may not be edited.
    """
    path = said.strip().strip("`\"'*").partition("\t")[0].strip()
    for prefix in ("a/", "b/", "./"):
        if path not in files and path.startswith(prefix) and may_edit(path.removeprefix(prefix)):
            path = path.removeprefix(prefix)
    if path.startswith("/") or ".." in path.split("/") or not may_edit(path):
        raise EditError(f"{path[:80]} may not be edited: only the editable files may")
    return path


# --- search and replace -----------------------------------------------------------------------------------------


def _replaced(lines: Sequence[str], files: Files, may_edit: Callable[[str], bool]) -> dict[str, str]:
    changed = dict(files)
    place = 0
    named = ""  # the file that the last block named, which holds for those after it
    while place < len(lines):
        if not _SEARCH.match(lines[place]):
            place += 1
            continue
        named = _named_above(lines[:place]) or named
        old, place = _until(lines, place + 1, _DIVIDE, "a block has no line of =======")
        new, place = _until(lines, place, _REPLACE, "a block has no line of >>>>>>> REPLACE")
        path = _path(named, files, may_edit) if named else _only(files)
        changed[path] = _substituted(path, changed.get(path), old, new)
    return changed


def _until(lines: Sequence[str], start: int, end: re.Pattern[str], lacking: str) -> tuple[list[str], int]:
    """The lines up to one that matches, and the place after it."""
    for place in range(start, len(lines)):
        if end.match(lines[place]):
            return list(lines[start:place]), place + 1
        if _SEARCH.match(lines[place]):
            break
    raise EditError(lacking)


def _named_above(lines: Sequence[str]) -> str:
    """The file that the lines right above a block name: alone on a line, or behind the fence's mark."""
    for line in list(reversed(lines))[:3]:
        fence = _FENCE.match(line)
        text = fence["info"] if fence else line
        found = _WORD.fullmatch(text.strip().removeprefix("#").removeprefix("FILE:").strip().strip("`*:\"'").strip())
        if found:
            return found[0]
        if _REPLACE.match(line):
            return ""
    return ""


def _only(files: Files) -> str:
    """The file that is meant where none is named."""
    if len(files) != 1:
        raise EditError(f"the edit names no file, and there are several: {', '.join(sorted(files))}")
    return next(iter(files))


def _substituted(path: str, text: str | None, old: list[str], new: list[str]) -> str:
    """A file with one block replaced."""
    if text is None:
        if any(line.strip() for line in old):
            raise EditError(f"there is no {path} to search in")
        return "\n".join(new) + "\n"
    if not any(line.strip() for line in old):
        raise EditError("a block searches for nothing; name the lines that are replaced")
    body = text.split("\n")
    place = _found(path, body, old, None)
    return "\n".join([*body[:place], *new, *body[place + len(old) :]])


def _found(path: str, body: Sequence[str], old: Sequence[str], near: int | None) -> int:
    """Where lines stand in a file: exactly, else but for trailing white space; the nearest of several to `near`.

    Raises:
        EditError: nowhere, or in several places.
    """
    for same in (_exactly, _but_for_ends):
        wanted = [same(line) for line in old]
        whole = [same(line) for line in body]
        places = [at for at in range(len(whole) - len(wanted) + 1) if whole[at : at + len(wanted)] == wanted]
        if len(places) == 1:
            return places[0]
        if places and near is not None:
            return min(places, key=lambda at: abs(at - near))
        if places:
            raise EditError(f"{_shown(old)} stands in {path} {len(places)} times; give more lines around it")
    raise EditError(f"{_shown(old)} does not stand in {path}; copy the lines exactly as they are")


def _exactly(line: str) -> str:
    return line


def _but_for_ends(line: str) -> str:
    return line.rstrip()


def _shown(lines: Sequence[str]) -> str:
    first = next((line.strip() for line in lines if line.strip()), "")
    return repr(first[:80])


# --- unified diffs ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Hunk:
    line: int | None  # of the old file, from 1
    old: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)


def _patched(lines: Sequence[str], files: Files, may_edit: Callable[[str], bool]) -> dict[str, str]:
    changed = dict(files)
    place, before = 0, ""
    while place < len(lines):
        if (old := _OLD.match(lines[place])) is not None:
            before = old["path"]
        new = _NEW.match(lines[place])
        place += 1
        if new is None:
            continue
        if new["path"] == _NOWHERE:
            raise EditError(f"{before[:80]} may not be deleted")
        path = _path(new["path"], files, may_edit)
        hunks, place = _hunks(lines, place)
        if not hunks:
            raise EditError(f"the diff of {path} has no hunk that begins with @@")
        for hunk in hunks:
            changed[path] = _with_hunk(path, changed.get(path), hunk)
    return changed


def _hunks(lines: Sequence[str], place: int) -> tuple[list[_Hunk], int]:
    """The hunks of one file, and the place after them. A blank line in one is a blank line of context."""
    hunks: list[_Hunk] = []
    blanks = 0  # seen, and only part of the hunk if more of it follows
    while place < len(lines):
        line = lines[place]
        head = _HUNK.match(line)
        if head is not None:
            hunks.append(_Hunk(int(head["line"]) if head["line"] else None))
            blanks = 0
        elif _begins_file(lines, place) or (not hunks and line.strip()):
            break
        elif not line:
            blanks += 1
        elif line[0] in " +-":
            hunk = hunks[-1]
            hunk.old += [""] * blanks
            hunk.new += [""] * blanks
            blanks = 0
            if line[0] != "+":
                hunk.old.append(line[1:])
            if line[0] != "-":
                hunk.new.append(line[1:])
        elif line[0] != "\\":  # "\ No newline at end of file" says nothing that matters here
            break
        place += 1
    return [hunk for hunk in hunks if hunk.old or hunk.new], place


def _begins_file(lines: Sequence[str], place: int) -> bool:
    """Whether another file's part begins: a removed line may look like its first line, the second tells."""
    following = lines[place + 1] if place + 1 < len(lines) else ""
    return lines[place].startswith("diff --git ") or bool(_OLD.match(lines[place]) and _NEW.match(following))


def _with_hunk(path: str, text: str | None, hunk: _Hunk) -> str:
    if text is None:
        if hunk.old:
            raise EditError(f"there is no {path} to patch")
        return "\n".join(hunk.new) + "\n"
    body = text.split("\n")
    near = hunk.line - 1 if hunk.line is not None else None
    if not hunk.old:
        if near is None or (hunk.line == 0 and text):
            raise EditError(f"a hunk of {path} adds lines and does not say where; give the lines around them")
        place = min(near + 1, len(body))
    else:
        place = _found(path, body, hunk.old, near)
    return "\n".join([*body[:place], *hunk.new, *body[place + len(hunk.old) :]])


# --- whole files ------------------------------------------------------------------------------------------------


def _rewritten(lines: Sequence[str], files: Files, may_edit: Callable[[str], bool]) -> dict[str, str]:
    changed = dict(files)
    seen, piece = False, ""
    for named, body in _fenced(lines):
        path = _path(named, files, may_edit) if named else _only(files)
        before = files.get(path)
        if before is not None and len(body) < LEAST * len(before.split("\n")):
            piece = (
                f"a block of {len(body)} lines is not the whole of {path}; send blocks to search and replace instead"
            )
            if named:
                raise EditError(piece)
            continue  # an example, or a command to run: the file may follow
        changed[path] = "\n".join(body) + "\n"
        seen = True
    if not seen:
        raise EditError(piece or "the answer holds no edit: no block to search and replace, no diff, no whole file")
    return changed


def _fenced(lines: Sequence[str]) -> Iterator[tuple[str, Sequence[str]]]:
    """The blocks in fences, each with the file that is named above it ("" if none is)."""
    place = 0
    while place < len(lines):
        fence = _FENCE.match(lines[place])
        place += 1
        if fence is not None:
            end = next((at for at in range(place, len(lines)) if lines[at].strip() == fence["mark"]), None)
            if end is None:
                raise EditError("the answer ends within its code: it was cut off")
            yield _named_above(lines[:place]), lines[place:end]
            place = end + 1

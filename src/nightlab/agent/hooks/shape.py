"""Whether a shell command runs the lab's training once, as it is, and leaves its log alone: told by its tree alone.

A log is worth what can be said of the command that wrote it. So what may stand in such a command is listed here, and
anything else (a branch, a loop, a function, a variable that the program may read, a program that may write) makes it
one that nobody vouches for, whatever it means. Connectors do not matter: a training that never ran wrote no log.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from nightlab.agent.policy.shell import parse
from nightlab.agent.policy.syntax import (
    Assignment,
    Literal,
    Node,
    Pipeline,
    Redirection,
    Simple,
    Substitution,
    Variable,
    Word,
)
from nightlab.agent.policy.syntax import Sequence as Script

# Variables that say where the program runs or writes, and nothing of what it computes.
_SAFE = frozenset(
    {
        "AUTORESEARCH_PROGRESS_PATH",
        "AUTORESEARCH_RECEIPT_PATH",
        "AUTORESEARCH_SUMMARY_PATH",
        "CUDA_VISIBLE_DEVICES",
        "PYTHONUNBUFFERED",
    }
)
_READERS = frozenset(
    {":", "[", "cat", "cut", "date", "echo", "egrep", "fgrep", "grep", "head", "jobs", "ls", "ps", "pwd", "sleep"}
    | {"stat", "tail", "test", "tr", "true", "wait", "wc"}
)
_GIT_READS = frozenset({"diff", "log", "rev-parse", "show", "status"})
_GIT_BEFORE = _GIT_READS | {"add", "commit"}  # agents commit an idea and run it in one command
_DURATION = re.compile(r"\d+(\.\d+)?[smhd]?")
_SCREEN = frozenset({"1", "2"})


def amiss(tree: Node, command: Sequence[str], cwd: str, log: str) -> str:
    """What speaks against the command, as the end of a sentence that begins with "it"; "" for nothing.

    Args:
        tree: the command, parsed.
        command: words of the lab's own command.
        cwd: directory that it is started in, absolute.
        log: the one file that the training writes, absolute, in the lab's root.
    """
    tree = _unwrapped(tree)
    here, has_run = os.path.realpath(cwd), False
    for node in _flat(tree):
        if not has_run and isinstance(node, Simple):
            moved = _moved(node, here)
            if moved:
                here = moved
                continue
            if _trains(node, command, here, log):
                has_run = True
                continue
        if not _only_reads(node) and not (_follows(node) if has_run else _prepares(node)):
            return f"holds {_named(node)}, which may change what runs or what it prints"
    return "" if has_run else "does not run the lab's command by itself in the lab's root"


def _unwrapped(tree: Node) -> Node:
    """The script of a command that is nothing but `bash -c SCRIPT`."""
    nodes = list(_flat(tree))
    if len(nodes) == 1 and isinstance(node := nodes[0], Simple) and not node.assignments and not node.redirections:
        words = [_text(word) for word in node.words]
        if len(words) == 3 and words[0] in ("bash", "sh") and words[1] in ("-c", "-lc") and words[2] is not None:
            return parse(words[2])
    return tree


def _flat(node: Node) -> Iterator[Node]:
    if isinstance(node, Script):
        for item in node.items:
            yield from _flat(item)
    else:
        yield node


def _named(node: Node) -> str:
    """What a refused part is called to whoever wrote it."""
    if isinstance(node, Simple):
        names = [one.name for one in node.assignments]
        first = _text(node.words[0]) if node.words else None
        if names and (first is None or all(name not in _SAFE for name in names)):
            return f"{' and '.join(names)}=..."
        return f"`{first}`" if first else "a command without a plain name"
    return f"a {type(node).__name__.lower()}"


# --- the training -----------------------------------------------------------------------------------------------


def _moved(node: Simple, here: str) -> str:
    """Where `cd DIRECTORY` leads; "" for any other command."""
    words = [_text(word) for word in node.words]
    if len(words) != 2 or words[0] != "cd" or not words[1] or node.assignments or node.redirections:
        return ""
    return os.path.realpath(os.path.join(here, os.path.expanduser(words[1])))


def _trains(node: Simple, command: Sequence[str], here: str, log: str) -> bool:
    """Whether it is the lab's own command, word for word, in the log's directory and into the log."""
    log = os.path.realpath(log)
    words = [_text(word) for word in node.words]
    if None in words or not all(_is_safe(one) for one in node.assignments):
        return False
    found = _inner([word for word in words if word is not None])
    return found == list(command) and here == os.path.dirname(log) and _is_logged(node.redirections, here, log)


def _inner(words: list[str]) -> list[str]:
    """The words behind the programs that only start others."""
    while words:
        first, rest = words[0], words[1:]
        if first == "nohup":
            words = rest
        elif first == "nice":
            if rest[:1] == ["-n"] and rest[1:] and re.fullmatch(r"-?\d+", rest[1]):
                rest = rest[2:]
            words = rest
        elif first == "env":
            while rest and rest[0].partition("=")[0] in _SAFE and "=" in rest[0]:
                rest = rest[1:]
            words = rest
        elif first == "timeout":
            while rest and rest[0] in ("-k", "-s") and len(rest) > 1:
                rest = rest[2:]
            if not rest or not _DURATION.fullmatch(rest[0]):
                return []
            words = rest[1:]
        else:
            break
    return words


def _is_safe(one: Assignment) -> bool:
    return one.name in _SAFE and not one.array and not one.append and all(_is_plain(word) for word in one.values)


def _is_logged(redirections: Sequence[Redirection], here: str, log: str) -> bool:
    """Whether both streams go to the log, begun anew."""
    told = []
    for one in redirections:
        target = _text(one.target)
        if target is None or (one.op == "<" and target != "/dev/null"):
            return False
        if one.op != "<":
            is_log = os.path.realpath(os.path.join(here, target)) == log
            told.append((one.op, one.descriptor, "LOG" if is_log else target))
    whole = [[("&>", None, "LOG")], [(">&", None, "LOG")]]
    parts = [[(op, number, "LOG"), (">&", 2, "1")] for op in (">", ">|") for number in (None, 1)]
    return told in (*whole, *parts)


# --- what may stand beside it -----------------------------------------------------------------------------------


def _prepares(node: Node) -> bool:
    """Whether it may stand before the training: a commit, a branch of one's own, a variable that is safe."""
    if not isinstance(node, Simple) or not _shows(node.redirections):
        return False
    words = [_text(word) for word in node.words]
    if not words:
        return all(_is_safe(one) for one in node.assignments)
    if node.assignments:
        return False
    if words[0] == "export":
        return all(word is not None and "=" in word and word.partition("=")[0] in _SAFE for word in words[1:])
    if words[:3] in (["git", "checkout", "-b"], ["git", "switch", "-c"]):
        return len(words) == 4
    return _is_git(node, _GIT_BEFORE)


def _follows(node: Node) -> bool:
    """Whether it may stand behind the training beside what only reads: keeping its process id or exit code."""
    return (
        isinstance(node, Simple)
        and not node.words
        and not node.redirections
        and all(
            isinstance(part, Variable) and part.name in ("!", "?") and not part.op
            for one in node.assignments
            for word in one.values
            for part in word.parts
        )
    )


def _only_reads(node: Node) -> bool:
    """Whether it writes to the screen at most."""
    if isinstance(node, Script):
        return all(_only_reads(item) for item in node.items)
    if isinstance(node, Pipeline):
        return all(_only_reads(stage) for stage in node.stages)
    if not isinstance(node, Simple) or node.assignments or not node.words or not _shows(node.redirections):
        return False
    name = _text(node.words[0])
    return (name in _READERS and all(_is_plain(word) for word in node.words)) or _is_git(node, _GIT_READS)


def _is_git(node: Simple, allowed: frozenset[str]) -> bool:
    """Whether it is one of these commands of git's, with nothing that makes git write or start something else."""
    words = [_text(word) for word in node.words]
    if words[:1] != ["git"] or not all(_is_plain(word) for word in node.words):
        return False
    rest = words[1:]
    while len(rest) > 1 and rest[0] == "-c" and (rest[1] or "").startswith("user."):
        rest = rest[2:]
    if not rest or rest[0] not in allowed:
        return False
    if rest[0] == "commit":
        return True
    return not any(word is None or word.startswith(("--o", "--ex", "-O")) for word in rest[1:])


def _shows(redirections: Sequence[Redirection]) -> bool:
    """Whether they write no file."""
    for one in redirections:
        target = _text(one.target)
        if one.op in ("<", "<<", "<<<"):
            if not _is_plain(one.target):
                return False
        elif not (target == "/dev/null" or (one.op == ">&" and target in _SCREEN)):
            return False
    return True


def _is_plain(word: Word) -> bool:
    """Whether working it out runs nothing but what reads, and sets no variable."""
    for part in word.parts:
        if isinstance(part, Substitution):
            if part.file or not _only_reads(part.script):
                return False
        elif isinstance(part, Variable):
            if part.op or part.index:
                return False
        elif not isinstance(part, Literal):
            return False
    return True


def _text(word: Word) -> str | None:
    """The text of a word that says just what it says; None if the shell works it out."""
    if not all(isinstance(part, Literal) for part in word.parts):
        return None
    return "".join(part.text for part in word.parts if isinstance(part, Literal))

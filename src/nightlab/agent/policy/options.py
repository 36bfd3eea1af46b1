"""Names of programs and their options, as programs read them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from nightlab.agent.policy.noun import noun

_SAME = (
    (re.compile(r"python[\d.]*w?|pypy[\d.]*|ipython[\d.]*"), "python"),
    (re.compile(r"pip[\d.]*"), "pip"),
    (re.compile(r"(ba|da|z|k|a|fi|mk)?sh|rbash"), "bash"),
    (re.compile(r"g(sed|cp|mv|rm|ln|dd|tee|head|tail|find|xargs|install|truncate|sort|shred|timeout|cat)"), r"\1"),
    (re.compile(r"[gmn]awk"), "awk"),
    (re.compile(r"(n?vim?|ex|nano|emacs|emacsclient|pico|micro|helix|hx|joe|ed|red|code)"), "editor"),
    (re.compile(r"(perl|ruby)[\d.]*"), "perl"),
    (re.compile(r"(node|nodejs|deno|bun|php|lua|Rscript|tclsh|osascript)[\d.]*"), "foreign"),
    (re.compile(r"(mamba|micromamba|conda)"), "conda"),
    (re.compile(r"(apt|apt-get|aptitude|yum|dnf|zypper|apk|snap|brew|port|flatpak)"), "apt"),
    (re.compile(r"(npm|pnpm|yarn)"), "npm"),
    (re.compile(r"(hf|huggingface-cli)"), "hf"),
    (re.compile(r"(doas|pkexec)"), "sudo"),
    (re.compile(r"(mkfs|mke2fs|newfs)(\..+)?"), "mkfs"),
)


def canonical(name: str) -> str:
    """One name for programs that read their arguments alike."""
    for form, same in _SAME:
        if match := form.fullmatch(name):
            return match.expand(same)
    return name


@noun
class Options:
    flags: tuple[tuple[str, str], ...]  # in order, with the value or ""
    operands: tuple[str, ...]
    rest: int  # place of the first operand in the arguments

    def has(self, *names: str) -> bool:
        return any(flag in names for flag, _ in self.flags)

    def values(self, *names: str) -> list[str]:
        return [value for flag, value in self.flags if flag in names]


def parsed(args: Iterable[str], valued: str = "", *, stop: bool = False) -> Options:
    """Options and operands.

    Args:
        args: arguments without the program's name.
        valued: options that take a value, parted by blanks; a "?" behind one: only in the same argument (`-i.bak`).
        stop: whether options end at the first operand, as they do for programs that run others.
    """
    takes = frozenset(valued.split())
    args = list(args)
    flags: list[tuple[str, str]] = []
    operands: list[str] = []
    place, first = 0, len(args)
    while place < len(args):
        arg = args[place]
        place += 1
        if arg == "--" or not arg.startswith("-") or arg == "-":
            if arg != "--":
                operands.append(arg)
            first = min(first, place - (arg != "--"))
            if stop or arg == "--":
                operands.extend(args[place:])
                break
        elif arg.startswith("--") or arg in takes:
            name, equals, value = arg.partition("=") if arg.startswith("--") else (arg, "", "")
            if not equals and name in takes and place < len(args):
                value = args[place]
                place += 1
            flags.append((name, value))
        else:
            place = _letters(arg, args, place, takes, flags)
    return Options(tuple(flags), tuple(operands), first)


def _letters(arg: str, args: list[str], place: int, takes: frozenset[str], flags: list[tuple[str, str]]) -> int:
    """Reads `-abc`; returns the place after what it took."""
    for at, letter in enumerate(arg[1:], 1):
        name = f"-{letter}"
        rest = arg[at + 1 :]
        if f"{name}?" in takes:
            flags.append((name, rest))
            break
        if name in takes:
            if not rest and place < len(args):
                rest = args[place]
                place += 1
            flags.append((name, rest))
            break
        flags.append((name, ""))
    return place

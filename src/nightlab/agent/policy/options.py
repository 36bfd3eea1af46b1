"""Names of programs and their options, as programs read them."""

from __future__ import annotations

from collections.abc import Iterable

from nightlab.agent.policy.noun import noun

_ALIKE = {
    "apt": "apt-get aptitude yum dnf zypper apk snap brew port flatpak",
    "awk": "gawk mawk nawk",
    "bash": "sh dash zsh ksh ash fish mksh rbash",
    "conda": "mamba micromamba",
    "editor": "vi vim nvim nvi ex nano emacs emacsclient pico micro helix hx joe ed red code",
    "foreign": "node nodejs deno bun php lua luajit Rscript tclsh osascript",
    "hf": "huggingface-cli",
    "mkfs": "mke2fs newfs",
    "npm": "pnpm yarn",
    "perl": "ruby",
    "python": "pypy ipython pythonw",
    "sudo": "doas pkexec",
}
_SAME = {name: same for same, names in _ALIKE.items() for name in names.split()}
# GNU tools under the names that they have beside others' on a Mac.
_GNU = (
    "cat",
    "cp",
    "dd",
    "find",
    "head",
    "install",
    "ln",
    "mv",
    "rm",
    "sed",
    "shred",
    "sort",
    "tail",
    "tee",
    "truncate",
)
_SAME |= {f"g{name}": name for name in (*_GNU, "xargs")}


def canonical(name: str) -> str:
    """One name for programs that read their arguments alike: `python3.12` is `python`, `zsh` is `bash`."""
    if name.startswith("mkfs."):
        return "mkfs"
    plain = name.rstrip("0123456789.") or name
    if plain in {"python", "pip", "perl"}:
        return plain
    return _SAME.get(name) or _SAME.get(plain) or name


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

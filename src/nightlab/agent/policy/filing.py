"""Programs that print, copy, move, change and delete files."""

from __future__ import annotations

import base64
import binascii
import re

from nightlab.agent.policy.escapes import ansi
from nightlab.agent.policy.expand import as_text
from nightlab.agent.policy.machine import Handler, Machine
from nightlab.agent.policy.nouns import Opaque, Publish, Remove, Show, Wiped, Write
from nightlab.agent.policy.options import Options, parsed
from nightlab.agent.policy.places import normal
from nightlab.agent.policy.state import Call
from nightlab.agent.policy.values import DEEP, FETCHED, PIECE, UNKNOWN, holes

FLOOD = 400  # lines of a log that nobody needs at once


# --- printing


def _echo(_: Machine, call: Call) -> str:
    args = list(call.args)
    escapes = False
    while args and re.fullmatch(r"-[neE]+", args[0]):
        escapes = escapes or "e" in args[0]
        args.pop(0)
    text = " ".join(args)
    return (ansi(text) if escapes else text) + "\n"


def _printf(machine: Machine, call: Call) -> str:
    args = call.args[1:] if call.args[:1] == ("--",) else call.args
    name = ""
    if args[:1] == ("-v",) and len(args) > 2:
        name, args = args[1], args[2:]
    if not args:
        return ""
    form, values = ansi(as_text(args[0])), list(args[1:])
    out = ""
    while True:
        before = len(values)
        out += re.sub(
            r"%(%|[-+ #0]*[\d*]*(?:\.[\d*]+)?[a-zA-Z])",
            lambda match: "%" if match[1] == "%" else (_conversion(match[1], values.pop(0)) if values else ""),
            form,
        )
        if not values or len(values) == before:
            break
    if name:
        machine.assign(name, (out,))
        return ""
    return out


def _conversion(form: str, value: str) -> str:
    if form[-1] == "b":
        return ansi(value)
    return value if form[-1] in "sqdiu" else PIECE


def _cat(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args)
    if not options.operands or options.operands == ("-",):
        if call.io.source:
            machine.note(Show(call.io.source, call.io.out))
        return call.io.stdin
    for name in options.operands:
        machine.note(Show(machine.path(name), call.io.out))
    texts = [call.io.stdin if name == "-" else machine.content(name) for name in options.operands]
    return UNKNOWN if None in texts else "".join(text or "" for text in texts)


def _ends(machine: Machine, call: Call) -> str | None:
    """`head` and `tail`: shown whole where many lines are asked for, or where the file is followed."""
    options = parsed([arg for arg in call.args if not re.fullmatch(r"-\d{1,3}", arg)], "-n -c --lines --bytes -s --pid")
    many = options.has("-f", "-F", "--follow") or any(
        value.startswith("+") or not value.isdigit() or int(value) > FLOOD for value in options.values("-n", "--lines")
    )
    for name in options.operands:
        if many:
            machine.note(Show(machine.path(name), call.io.out))
    if not options.operands:
        return call.io.stdin
    return None


def _grep(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-e -f -m -A -B -C --regexp --file --include --exclude --exclude-dir -g -t --max-count")
    wide = [*options.values("-e", "--regexp"), *options.operands[:1]][:1]
    if wide and wide[0] in {"", ".", ".*", "^", "$"} and not options.has("-c", "-q", "-l", "--count", "--quiet"):
        for name in options.operands[1:]:
            machine.note(Show(machine.path(name), call.io.out))
    return None


def _base64(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-w --wrap -i -o")
    text = (machine.content(options.operands[0]) if options.operands else call.io.stdin) or UNKNOWN
    if not options.has("-d", "-D", "--decode") or holes(text):
        return None
    try:
        return base64.b64decode(text, validate=False).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def _rev(_: Machine, call: Call) -> str | None:
    text = call.io.stdin
    return None if text is None or holes(text) else "\n".join(line[::-1] for line in text.split("\n"))


def _tr(_: Machine, call: Call) -> str | None:
    text, options = call.io.stdin, parsed(call.args)
    if text is None or holes(text) or not options.operands:
        return None
    source = _letters(options.operands[0])
    if options.has("-d"):
        return "".join(char for char in text if char not in source)
    target = _letters(options.operands[1]) if len(options.operands) > 1 and not options.flags else ""
    if not source or not target:
        return None
    return text.translate({ord(a): target[min(i, len(target) - 1)] for i, a in reversed(list(enumerate(source)))})


def _letters(form: str) -> str:
    return re.sub(
        r"(.)-(.)", lambda m: "".join(map(chr, range(ord(m[1]), ord(m[2]) + 1)))[:512], ansi(form), flags=re.DOTALL
    )


def _ls(_: Machine, call: Call) -> str | None:
    names = [name for name in parsed(call.args).operands if holes(name)]
    return "\n".join(names) + "\n" if names else None


def _path_part(_: Machine, call: Call) -> str | None:
    operands = parsed(call.args, "-s --suffix").operands
    if not operands:
        return None
    if call.argv[0] == "basename":
        name = operands[0].rstrip("/").rpartition("/")[2]
        return name.removesuffix(operands[1]) if len(operands) > 1 else name
    if call.argv[0] == "dirname":
        return operands[0].rpartition("/")[0] or "."
    return operands[0]


# --- writing


def _tee(machine: Machine, call: Call) -> str | None:
    for name in parsed(call.args).operands:
        machine.write(name, call.io.stdin or UNKNOWN)
    return call.io.stdin


def _targets(options: Options) -> tuple[list[str], list[str]]:
    """Sources and the paths that they would be written to, for `cp`, `mv`, `ln` and `install`."""
    into = options.values("-t", "--target-directory")
    sources = list(options.operands if into else options.operands[:-1])
    if not into and len(options.operands) == 1:
        return [options.operands[0]], [_last(options.operands[0])]
    target = into[0] if into else options.operands[-1] if options.operands else ""
    if not target:
        return [], []
    inside = [f"{target}/{_last(source)}" for source in sources]
    whole = [f"{target}/{DEEP}" for source in sources if source.endswith(("/.", "/")) and not options.has("-T")]
    known = bool(into) or target.endswith(("/", "/.", "/..")) or target in {".", ".."} or len(sources) > 1
    return sources, [*whole, *inside] if known else [target, *inside]


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _copy(machine: Machine, call: Call) -> str | None:
    """`cp`, `mv`, `ln`, `install`, `rsync`: what is written, what is taken away, and what is now another name."""
    name = call.argv[0]
    options = parsed(
        call.args, "-t --target-directory -m -o -g -S --suffix --mode -e --rsh --exclude --include --filter"
    )
    sources, targets = _targets(options)
    for target in targets:
        source = sources[0] if len(sources) == 1 else ""
        content = machine.content(source) if source and not holes(source) else None
        path = machine.path(target)
        machine.note(Write(path))
        if content is not None:
            machine.files[path] = content
        old = machine.path(source) if source else ""
        machine.copies[path] = source
        if old and old != path and (name == "ln" or old in _trained(machine)):
            machine.links[path] = old
    for source in sources:
        if name == "mv":
            machine.note(Remove(machine.path(source), recursive=True, moved=True))
    if name == "rsync" and options.operands and re.match(r"([\w.@-]+:|rsync://)", options.operands[-1]):
        machine.note(Publish("rsync"))
    if name == "rsync" and any(flag.startswith("--delete") for flag, _ in options.flags):
        machine.note(Remove(machine.path(options.operands[-1]), recursive=True))
    return None


def _trained(machine: Machine) -> set[str]:
    """The lab's editable files: a copy of one that is run is a training run too."""
    return {normal(f"{machine.places.root}/{name}") for name in machine.ground.editable}


def _remove(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-s -n -u?" if call.argv[0] == "shred" else "")
    recursive = options.has("-r", "-R", "--recursive")
    for name in options.operands:
        machine.note(Remove(machine.path(name, follow=False), recursive))
    return None


def _touch(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-t -d -r --date --reference")
    # `chmod -x file` has its mode where others have options
    moded = call.argv[0] == "chmod" and any(re.fullmatch("-[rwxXst]+", arg) for arg in call.args)
    operands = options.operands if call.argv[0] == "touch" or moded else options.operands[1:]
    for name in operands:
        path = machine.path(name)
        machine.note(Remove(path, recursive=True, moved=True) if options.has("-R") else Write(path))
    return None


def _dd(machine: Machine, call: Call) -> str | None:
    for arg in call.args:
        if arg.startswith("of="):
            machine.write(arg[3:])
    return None


def _sed(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-e -f -l -i? --expression --file")
    scripts = options.values("-e", "--expression")
    files = list(options.operands)
    if not scripts and not options.has("-f", "--file"):
        scripts, files = files[:1], files[1:]
    if options.has("-i", "--in-place"):
        for name in files:
            machine.write(name)
    for script in scripts:
        for target in re.findall(r"(?:^|[;}/\s\d$])w\s+([^\s;}]+)", script):
            machine.write(target)
        if match := re.search(r"(?:^|[;\d$/{])\s*e\s+(.+)", script):
            machine.script(match[1], call.io, "sed")
        if re.search(r"(s(.).*\2.*\2[gpi\d]*e[gpi\d]*)\s*$", script):
            machine.note(Opaque("what sed would run"))
    if scripts and scripts[0] in {"", "p", "1,$p"}:
        for name in files:
            machine.note(Show(machine.path(name), call.io.out))
    if files or call.io.stdin is None:
        return None
    return _replaced(scripts, call.io.stdin)


def _replaced(scripts: list[str], text: str) -> str | None:
    """Plain `s/a/b/g` worked out, since commands are hidden in it."""
    if len(scripts) != 1 or holes(text):
        return None
    match = re.fullmatch(r"s(.)(\w*[\w .-]*)\1([^&\\]*)\1(g?)", scripts[0])
    return None if match is None else text.replace(match[2], match[3], -1 if match[4] else 1)


def _outputs(valued: str, *names: str) -> Handler:
    """A program that writes what one of these options names."""

    def handler(machine: Machine, call: Call) -> str | None:
        options = parsed(call.args, f"{valued} {' '.join(names)}")
        for name in options.values(*names):
            machine.write(name)
        return None

    return handler


def _last_is_output(machine: Machine, call: Call) -> str | None:
    """`xxd -r in out`, `split in prefix`, `convert in out`: the second operand is written."""
    operands = parsed(call.args, "-b -l -n -a -s -c -g").operands
    if len(operands) > 1:
        machine.write(operands[-1])
    return None


def _all_written(machine: Machine, call: Call) -> str | None:
    """Editors and the like: each operand is a file that is changed."""
    options = parsed(
        call.args, "-c -s? --cmd -S -u -l -f --eval -q -e?" if call.argv[0] == "editor" else "-s --size -r -o"
    )
    for name in options.operands:
        if not name.startswith("+"):
            machine.write(name)
    return None


def _patch(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-i -o -p -d -r -B -z --input --output --directory --strip")
    outer = machine.state.cwd
    for place in options.values("-d", "--directory"):
        machine.state.cwd = machine.path(place)
    for name in options.values("-o", "--output"):
        machine.write(name)
    if options.operands:
        machine.write(options.operands[0])
    elif not options.has("--dry-run"):
        given = [machine.content(name) for name in options.values("-i", "--input")] or [call.io.stdin]
        levels = options.values("-p", "--strip")
        patched(machine, given[0], int(levels[0]) if levels and levels[0].isdigit() else 0)
    machine.state.cwd = outer
    return None


def patched(machine: Machine, text: str | None, strip: int = 1) -> None:
    """Note what a patch changes: the files it names, or that it cannot be read."""
    names = re.findall(r"^(?:\+\+\+|---|rename to|rename from) (?!/dev/null)([^\t\n]+)", text or "", re.MULTILINE)
    if text is None or FETCHED in text or not names:
        machine.note(Opaque("which files the patch changes"))
    for name in names:
        path = name.strip().strip('"')
        machine.write("/".join(path.split("/")[strip:]) or path)
        if strip:
            machine.write(path.removeprefix("a/").removeprefix("b/"))


def _apply_patch(machine: Machine, call: Call) -> str | None:
    """The patch tool of coding agents: `*** Update File: name`."""
    text = " ".join(map(as_text, call.args)) or call.io.stdin or ""
    for name in re.findall(r"\*\*\* (?:Add File|Update File|Delete File|Move to): (.+)", text):
        machine.write(name.strip())
    return None


def _unpack(machine: Machine, call: Call) -> str | None:
    """`tar` and `unzip`: where an archive is unpacked, all it may hold is written."""
    if call.argv[0] == "unzip":
        options = parsed(call.args, "-d -x")
        reads = options.has("-l", "-t", "-p", "-Z")
        into, members = options.values("-d") or ["."], options.operands[1:]
    else:
        first = call.args[0] if call.args else ""
        args = (f"-{first}", *call.args[1:]) if first and not first.startswith("-") else call.args
        options = parsed(args, "-f -C --file --directory -T -X --exclude --strip-components -I")
        if options.has("-c", "--create"):
            for name in options.values("-f", "--file"):
                machine.write(name)
            for name in options.operands if options.has("--remove-files") else ():
                machine.note(Remove(machine.path(name), recursive=True, moved=True))
        for flag, value in options.flags:
            if flag == "--to-command" or value.startswith("exec="):
                machine.script(value.removeprefix("exec="), call.io, "tar")
        reads = not options.has("-x", "--extract", "--get")
        into, members = options.values("-C", "--directory") or ["."], options.operands
    archives = [*options.values("-f", "--file"), *options.operands[: call.argv[0] == "unzip"]]
    if not reads and FETCHED in "".join([call.io.stdin or "", *(machine.content(name) or "" for name in archives)]):
        machine.files[machine.path(into[-1])] = FETCHED
    if not reads:
        for name in members or [DEEP]:
            machine.write(f"{into[-1]}/{name}")
    return None


def _wipe(machine: Machine, call: Call) -> str | None:
    machine.note(Wiped(call.argv[0]))
    return None


def _sqlite(machine: Machine, call: Call) -> str | None:
    """A database that is not opened read-only is written, unless all that is asked of it is a query."""
    options = parsed([f"-{arg}" if re.match(r"-\w{2}", arg) else arg for arg in call.args], "--cmd --separator --init")
    statements = [*options.operands[1:], call.io.stdin or ""]
    queries = all(re.match(r"\s*(select|explain|pragma\s+\w+\s*;?$|\.|$)", one, re.IGNORECASE) for one in statements)
    if options.operands and not options.has("--readonly") and not (queries and len(options.operands) > 1):
        machine.write(options.operands[0])
    return None


FILING: dict[str, Handler] = {
    **dict.fromkeys(("cat", "less", "more", "bat", "batcat", "nl", "tac", "most"), _cat),
    **dict.fromkeys(("head", "tail"), _ends),
    **dict.fromkeys(("grep", "egrep", "fgrep", "rg", "ag"), _grep),
    **dict.fromkeys(("cp", "mv", "ln", "install", "rsync", "link"), _copy),
    **dict.fromkeys(("rm", "unlink", "shred", "trash", "srm"), _remove),
    **dict.fromkeys(("touch", "chmod", "chown", "chgrp", "chattr", "setfacl"), _touch),
    **dict.fromkeys(("basename", "dirname", "realpath", "readlink"), _path_part),
    **dict.fromkeys(
        ("editor", "sponge", "truncate", "fallocate", "dos2unix", "black", "isort", "autopep8"), _all_written
    ),
    **dict.fromkeys(("xxd", "split", "csplit", "convert"), _last_is_output),
    **dict.fromkeys(("tar", "unzip", "bsdtar"), _unpack),
    **dict.fromkeys(("mkfs", "wipefs", "mkswap", "fdisk", "parted", "sgdisk", "blkdiscard"), _wipe),
    **dict.fromkeys(("sqlite3", "duckdb"), _sqlite),
    "apply_patch": _apply_patch,
    "applypatch": _apply_patch,
    "base64": _base64,
    "dd": _dd,
    "echo": _echo,
    "ls": _ls,
    "openssl": _outputs("-in -pass -k -iv -K", "-out"),
    "patch": _patch,
    "printf": _printf,
    "rev": _rev,
    "sed": _sed,
    "sort": _outputs("-k -t -S -T", "-o", "--output"),
    "tee": _tee,
    "tr": _tr,
}

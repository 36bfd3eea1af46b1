"""Programs that run others: from `env` and `sudo` over `xargs` and `find -exec` to `bash -c` and `eval`."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress

from nightlab.agent.policy.expand import as_text
from nightlab.agent.policy.machine import Handler, Machine, quoted
from nightlab.agent.policy.noun import altered
from nightlab.agent.policy.nouns import Fetched, Opaque, Remove, Train, Unguarded
from nightlab.agent.policy.options import parsed
from nightlab.agent.policy.state import Call, Streams
from nightlab.agent.policy.values import DEEP, PIECE, STAR, UNKNOWN, unknowable

# Program -> its options that take a value, and how many operands come before the command.
_PLAIN = {
    "caffeinate": ("-t -w", 0),
    "chroot": ("", 1),
    "chrt": ("-T -P -D", 1),
    "doas": ("-u", 0),
    "firejail": ("", 0),
    "ionice": ("-c -n -p", 0),
    "linux64": ("", 0),
    "ltrace": ("-o -e -p", 0),
    "nice": ("-n --adjustment", 0),
    "nohup": ("", 0),
    "numactl": ("-N -m -C -i --cpunodebind --membind --physcpubind --interleave", 0),
    "perf": ("-o -e", 1),
    "prlimit": ("", 0),
    "setarch": ("", 1),
    "setsid": ("", 0),
    "stdbuf": ("-i -o -e --input --output --error", 0),
    "strace": ("-o -e -p -s -u", 0),
    "sudo": ("-u -g -h -p -C -D -R -T -U --user --group --chdir", 0),
    "systemd-run": ("-p -u --unit --property", 0),
    "taskset": ("", 1),
    "time": ("-f -o --format --output", 0),
    "timeout": ("-k -s --kill-after --signal", 1),
    "unbuffer": ("", 0),
    "unshare": ("", 0),
    "winpty": ("", 0),
    "builtin": ("", 0),
    "busybox": ("", 0),
}


def _plain(machine: Machine, call: Call) -> str:
    valued, before = _PLAIN[call.argv[0]]
    options = parsed(call.args, valued, stop=True)
    rest = options.operands
    for name in options.values("-o", "--output"):
        if call.argv[0] in {"time", "strace", "ltrace"}:
            machine.write(name)
    while call.argv[0] == "sudo" and rest and "=" in rest[0]:
        rest = rest[1:]
    return machine.dispatch(rest[before:], call.io)


def _env(machine: Machine, call: Call) -> str:
    options = parsed(call.args, "-u -C -S --unset --chdir --split-string", stop=True)
    for line in options.values("-S", "--split-string"):
        return machine.script(" ".join(["env", line, *map(quoted, options.operands)]), call.io, "env")
    outer = machine.state.cwd
    for place in options.values("-C", "--chdir"):
        machine.state.cwd = machine.path(place)
    rest = options.operands
    added = dict(call.env)
    while rest and re.match(r"\w+=", rest[0]):
        name, _, value = rest[0].partition("=")
        added[name] = value
        rest = rest[1:]
    text = machine.dispatch(rest, call.io, added)
    machine.state.cwd = outer
    return text


def _command(machine: Machine, call: Call) -> str:
    options = parsed(call.args, stop=True)
    if options.has("-v", "-V"):
        return "\n".join(options.operands) + "\n"
    return machine.dispatch(options.operands, call.io, call.env)


def _exec(machine: Machine, call: Call) -> str:
    return machine.dispatch(parsed(call.args, "-a", stop=True).operands, call.io, call.env)


def _which(_: Machine, call: Call) -> str:
    return "\n".join(parsed(call.args).operands) + "\n"


def _bash(machine: Machine, call: Call) -> str:
    """A shell: `-c text`, a script file, or a script on its standard input."""
    options = parsed(_shell_args(call.args), "-o -O --rcfile --init-file", stop=True)
    given: tuple[str, ...]
    called: tuple[str, ...] = ()
    saved = ""
    if options.has("-c"):
        text, given = "".join(options.operands[:1]), options.operands[2:]
        called = options.operands[1:2]
    elif options.operands and not options.has("-s") and options.operands[0] != "-":
        file, given = options.operands[0], options.operands[1:]
        if f"/{file}".endswith("/.agents/nightlab.sh"):  # the door, which no agent edits, hands on what it is told
            return machine.dispatch(("nightlab", *given), call.io, call.env)
        if file in {"/dev/stdin", "/proc/self/fd/0"}:
            text = call.io.stdin or ""
        elif (found := machine.content(file)) is not None:
            text, saved = found, file
        else:
            if unknowable(file):
                machine.note(Opaque("the script that bash would run"))
            return UNKNOWN
    else:
        text, given = call.io.stdin or "", options.operands
    outer, machine.state = machine.state, machine.state.fork()
    machine.state.variables["@"] = (given,)
    machine.state.variables["0"] = (called or (call.argv[0],),)
    try:
        if saved:
            return machine.saved_script(saved, text, call.io, call.argv[0])
        return machine.script(text, call.io, call.argv[0])
    finally:
        machine.state = outer


def _shell_args(args: tuple[str, ...]) -> list[str]:
    """`-lc` and `+x` as options that `parsed` knows."""
    return [arg for arg in args if not arg.startswith("+")]


def _eval(machine: Machine, call: Call) -> str:
    return machine.script(" ".join(map(as_text, call.args)), call.io, "eval")


def _source(machine: Machine, call: Call) -> str:
    if not call.args:
        return UNKNOWN
    text = call.io.stdin if call.args[0] == "/dev/stdin" else machine.content(call.args[0])
    if text is not None:
        return machine.saved_script(call.args[0], text, call.io, "source")
    if unknowable(call.args[0]):
        machine.note(Opaque("the script that would be sourced"))
    return UNKNOWN


def _trap(machine: Machine, call: Call) -> str:
    options = parsed(call.args)
    return machine.script(options.operands[0], call.io, "trap") if len(options.operands) > 1 else ""


def _xargs(machine: Machine, call: Call) -> str:
    options = parsed(
        call.args, "-I -i? -n -L -P -s -d -a -E -l? --replace --max-args --max-procs --delimiter --arg-file", stop=True
    )
    given = call.io.stdin
    for name in options.values("-a", "--arg-file"):
        given = machine.content(name) or UNKNOWN
    words = [UNKNOWN] if given is None else re.split(r"[\s\0]+", given.strip()) if given.strip() else []
    words = [word.strip("'\"") for word in words][:64]
    command = options.operands or ("echo",)
    io = altered(call.io, stdin=None)
    replaced = [value or "{}" for value in options.values("-I", "-i", "--replace")]
    if not replaced:
        return machine.dispatch((*command, *words), io)
    text = ""
    for word in words or [UNKNOWN]:
        text += machine.dispatch(tuple(arg.replace(replaced[0], word) for arg in command), io)
    return text


def _parallel(machine: Machine, call: Call) -> str:
    options = parsed(call.args, "-j --jobs -a --arg-file --delay --joblog", stop=True)
    command, given = list(options.operands), call.io.stdin or UNKNOWN
    words = given.split()
    for mark in (":::", ":::+"):
        if mark in command:
            place = command.index(mark)
            command, words = command[:place], [word for word in command[place + 1 :] if not word.startswith(":::")]
    text = ""
    for word in words[:64]:
        line = " ".join(map(as_text, command))
        text += machine.script(
            line.replace("{}", quoted(word)) if "{}" in line else f"{line} {quoted(word)}", call.io, "parallel"
        )
    return text


_FIND_EXEC = frozenset({"-exec", "-execdir", "-ok", "-okdir"})


def _find(machine: Machine, call: Call) -> str:
    """`find`: what it may find is a value with holes, from where it starts and what it asks of names."""
    args = list(call.args)
    starts = list(_starts(args))
    tests = args[len(starts) :]
    starts = starts or ["."]
    names = [DEEP]
    for before, flag, value in zip(["", *tests], tests, tests[1:], strict=False):
        if before in {"!", "-not"}:
            continue
        if flag in {"-name", "-iname"}:
            names = [_globbed(value)]
        elif flag in {"-path", "-wholename", "-ipath", "-regex", "-iregex"}:
            names = ["", _globbed(value.replace(".*", "*")).replace(STAR, DEEP)]
    found = [_under(start, names) for start in starts]
    place = 0
    while place < len(tests):
        flag = tests[place]
        place += 1
        if flag == "-delete":
            for path in found:
                machine.note(Remove(machine.path(path), recursive=True))
        elif flag in {"-fprint", "-fprintf", "-fls", "-fprint0"} and place < len(tests):
            machine.write(tests[place])
        elif flag in _FIND_EXEC:
            end = next((at for at in range(place, len(tests)) if tests[at] in {";", "+"}), len(tests))
            for path in found:
                machine.dispatch(
                    tuple(arg.replace("{}", path) for arg in tests[place:end]), altered(call.io, stdin=None)
                )
            place = end + 1
    return "\n".join(found) + "\n"


def _starts(args: list[str]) -> list[str]:
    """Where `find` starts: what stands before its first test."""
    out = []
    for arg in args:
        if (arg.startswith("-") and arg not in {"-L", "-H", "-P"}) or arg in {"(", "!"}:
            break
        if not arg.startswith("-"):
            out.append(arg)
    return out


def _globbed(text: str) -> str:
    return re.sub(r"\[[^]]*\]", PIECE, as_text(text)).replace("*", STAR).replace("?", PIECE)


def _under(start: str, names: list[str]) -> str:
    if len(names) == 2:
        return names[1].removeprefix("./") if names[1].startswith("./") else names[1]
    if names == [DEEP]:
        return f"{start}/{DEEP}"
    return f"{start}/{DEEP}{names[0]}"


def _uv(machine: Machine, call: Call) -> str | None:
    """`uv run command`; the other commands of uv are in `packages`."""
    from nightlab.agent.policy.packages import uv

    options = parsed(call.args, "--directory --project --config-file --color --cache-dir", stop=True)
    if not options.operands or options.operands[0] != "run":
        return uv(machine, call)
    return uv_run(machine, altered(call, argv=("uv", *options.operands)))


_UV_RUN = (
    "--extra --group --only-group --no-group --env-file --with --with-editable --with-requirements -p --python --index "
    "--default-index -i -f --package --directory --project --isolated? --refresh-package --resolution -w --color -P "
    "--upgrade-package --index-url --extra-index-url --find-links --link-mode --cache-dir --config-file -C "
    "--config-setting"
)


def uv_run(machine: Machine, call: Call) -> str:
    from nightlab.agent.policy.nouns import Install

    options = parsed(call.argv[2:], _UV_RUN, stop=True)
    for extra in options.values("--with", "--with-editable", "--with-requirements", "-w"):
        machine.note(Install(f"uv run --with {extra}"))
    rest = options.operands
    outer = machine.state.cwd
    for place in options.values("--directory"):
        machine.state.cwd = machine.path(place)
    if options.has("-m", "--module"):
        rest = ("python", "-m", *rest)
    elif rest and re.match(r"https?://", rest[0]):
        machine.note(Fetched("uv run"))
        return UNKNOWN
    elif rest and (rest[0].endswith((".py", ".pyw")) or rest[0] == "-" or options.has("-s", "--script")):
        rest = ("python", *rest)
    text = machine.dispatch(rest, call.io, call.env)
    machine.state.cwd = outer
    return text


def _after_run(machine: Machine, call: Call) -> str | None:
    """`poetry run X`, `conda run -n env X`, `pipenv run X` ...; else what `packages` says."""
    from nightlab.agent.policy.packages import manager

    options = parsed(call.args, "-n -p --name --prefix --cwd -C --directory -e --env", stop=True)
    if options.operands and options.operands[0] in {"run", "shell"}:
        inner = parsed(options.operands[1:], "-n -p --name --prefix --cwd -e --env", stop=True)
        return machine.dispatch(inner.operands, call.io, call.env)
    return manager(machine, call)


def _nightlab(machine: Machine, call: Call) -> str | None:
    """The lab's own program: what it starts for the agent is followed, and its guards stay on."""
    args = call.args
    if "exec" in args[:1]:
        return machine.dispatch(parsed(args[1:], "--timeout --backend", stop=True).operands, call.io, call.env)
    if "quick" in args[:1]:
        words = parsed(args[1:], "--runs --metric --minutes --timeout", stop=True).operands
        return _quietly(machine, call, words)
    for line in parsed(args[1:], " ".join(_PROPOSER)).values(*_PROPOSER) if "run" in args[:1] else ():
        with suppress(ValueError):  # without a second quotation mark it names nobody, and nothing is run
            _quietly(machine, call, tuple(shlex.split(line)))
    if args[:1] == ("agents",) and set(args[1:2]) & {"install", "uninstall"}:
        machine.note(Unguarded(" ".join(("nightlab", *args[:2]))))
    return None


_PROPOSER = tuple("--proposer"[:end] for end in range(3, 11))  # an option may be shortened as far as it is alone


def _quietly(machine: Machine, call: Call, words: tuple[str, ...]) -> str:
    """A command whose output goes to the lab and not into the agent's context, be it a training run."""
    before = len(machine.acts)
    text = machine.dispatch(words, call.io, call.env)
    machine.acts[before:] = [act for act in machine.acts[before:] if not isinstance(act, Train)]
    return text


def _over_there(machine: Machine, call: Call) -> str:
    """`ssh host command`, `su -c command`, `script -c command`, `tmux new 'command'`, `watch command`."""
    name = call.argv[0]
    valued = "-c -p -i -l -o -F -J -L -R -s -t -n -x -y -S --command"
    options = parsed(call.args, valued, stop=name in {"ssh", "watch", "flock"})
    if name == "script":
        for file in options.operands[:1]:
            machine.write(file)
        machine.dispatch(options.operands[1:], call.io)
    for text in options.values("-c", "--command"):
        machine.script(text, call.io, name)
    skipped = {"ssh": 1, "flock": 1, "tmux": 1, "screen": 0, "watch": 0}.get(name)
    if skipped is not None and len(options.operands) > skipped:
        machine.script(" ".join(map(as_text, options.operands[skipped:])), call.io, name)
    return UNKNOWN


def _later(machine: Machine, call: Call) -> str:
    """`at` and `batch` take a script on standard input, `crontab` lines with five fields before it."""
    if call.io.stdin:
        text = call.io.stdin
        if call.argv[0] == "crontab":
            text = "\n".join(" ".join(line.split()[5:]) for line in text.splitlines())
        machine.script(text, Streams(), call.argv[0])
    return ""


def _make(machine: Machine, call: Call) -> str:
    options = parsed(call.args, "-f -C -j? --file --directory")
    for file in options.values("-f", "--file") or ["Makefile"]:
        text = call.io.stdin if file == "-" else machine.files.get(machine.path(file))
        for line in (text or "").splitlines():
            if line.startswith("\t") or ":" in line:
                machine.script(
                    line.partition(":")[2] if not line.startswith("\t") else line.strip("\t@-"), call.io, "make"
                )
    return UNKNOWN


def _expect(machine: Machine, call: Call) -> str:
    """`expect` starts programs with `spawn`."""
    scripts = parsed(call.args, "-c").values("-c") or [call.io.stdin or ""]
    for script in scripts:
        for command in re.findall(r"\b(?:spawn|exec|system)\s+([^;\n]+)", script):
            machine.script(command, call.io, "expect")
    return UNKNOWN


RUNNERS: dict[str, Handler] = {
    **dict.fromkeys(_PLAIN, _plain),
    **dict.fromkeys(("poetry", "pipenv", "conda", "hatch", "pdm", "pixi", "rye"), _after_run),
    **dict.fromkeys(("ssh", "su", "script", "tmux", "screen", "watch", "flock", "runuser", "nix-shell"), _over_there),
    **dict.fromkeys(("at", "batch", "crontab"), _later),
    "bash": _bash,
    "command": _command,
    "env": _env,
    "eval": _eval,
    "exec": _exec,
    "expect": _expect,
    "find": _find,
    "make": _make,
    "nightlab": _nightlab,
    "parallel": _parallel,
    "source": _source,
    ".": _source,
    "trap": _trap,
    "type": _which,
    "uv": _uv,
    "which": _which,
    "xargs": _xargs,
}

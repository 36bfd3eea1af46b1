"""What the shell does itself: directories, variables, aliases."""

from __future__ import annotations

import re

from nightlab.agent.policy.expand import as_text
from nightlab.agent.policy.machine import Handler, Machine
from nightlab.agent.policy.options import parsed
from nightlab.agent.policy.state import Call
from nightlab.agent.policy.values import PIECE, UNKNOWN


def _cd(machine: Machine, call: Call) -> str:
    state = machine.state
    operands = parsed(call.args).operands
    target = operands[0] if operands else machine.places.home
    if call.argv[0] == "popd":
        target = "-"
    if target == "-":
        state.cwd, state.previous = state.previous, state.cwd
    else:
        state.cwd, state.previous = machine.path(target), state.cwd
    return ""


def _pwd(machine: Machine, _: Call) -> str:
    return machine.state.cwd + "\n"


def _declare(machine: Machine, call: Call) -> str:
    """`export`, `declare`, `local`, `readonly`, `typeset`: assignments among the arguments."""
    for arg in call.args:
        match = re.match(r"(\w+)(\+?)=", arg)
        if match:
            value = arg[match.end() :]
            array = value.startswith("(") and value.endswith(")")
            parts = tuple(value[1:-1].split()) if array else (as_text(value),)
            machine.assign(match[1], parts, append=bool(match[2]))
    return ""


def _unset(machine: Machine, call: Call) -> str:
    for name in parsed(call.args).operands:
        machine.state.variables[name] = ((),)
        machine.state.functions.pop(name, None)
    return ""


def _read(machine: Machine, call: Call) -> str:
    """`read a b`, `mapfile a`: from standard input, whose lines may each be the one."""
    options = parsed(call.args, "-p -t -n -N -d -u -i -a -A")
    names = [*options.values("-a", "-A"), *options.operands]
    given = call.io.stdin
    lines = (given or "").strip("\n").split("\n") if given is not None else [UNKNOWN]
    array = bool(options.values("-a", "-A")) or call.argv[0] in {"mapfile", "readarray"}
    if array and names:
        words = tuple(given.split()) if given else (UNKNOWN,)
        machine.state.variables[names[0]] = (words,)
        return ""
    for place, name in enumerate(names or ["REPLY"]):
        last = place == len(names) - 1 or not names
        values = []
        for line in lines[:16]:
            split = line.split(None, place) if last else line.split()
            values.append((split[place],) if place < len(split) else (UNKNOWN if UNKNOWN in line else "",))
        machine.state.variables[name] = tuple(dict.fromkeys(values))
    return ""


def _set(machine: Machine, call: Call) -> str:
    if "--" in call.args:
        machine.state.variables["@"] = (call.args[call.args.index("--") + 1 :],)
    elif call.args and not call.args[0].startswith(("-", "+")):
        machine.state.variables["@"] = (call.args,)
    return ""


def _shift(machine: Machine, _: Call) -> str:
    machine.state.variables["@"] = (machine.state.variables.get("@", ((),))[0][1:],)
    return ""


def _alias(machine: Machine, call: Call) -> str:
    for arg in call.args:
        name, equals, value = arg.partition("=")
        if equals:
            machine.state.aliases[name] = as_text(value)
    return ""


def _temporary(_: Machine, call: Call) -> str:
    form = next((arg for arg in call.args if "XXX" in arg), "tmp.XXXXXX")
    name = re.sub("X{3,}", PIECE, form)
    return name if "/" in name else f"/tmp/{name}"  # noqa: S108 - what mktemp prints


def _piece(_: Machine, __: Call) -> str:
    return PIECE


def _nothing(_: Machine, __: Call) -> str:
    return ""


BUILTINS: dict[str, Handler] = {
    **dict.fromkeys(("cd", "pushd", "popd", "chdir"), _cd),
    **dict.fromkeys(("export", "declare", "typeset", "local", "readonly"), _declare),
    **dict.fromkeys(("read", "mapfile", "readarray"), _read),
    **dict.fromkeys(("date", "nproc", "whoami", "hostname", "uname", "id", "wc", "seq", "expr", "sha256sum"), _piece),
    **dict.fromkeys((":", "true", "false", "sleep", "wait", "kill", "test", "["), _nothing),
    "alias": _alias,
    "mktemp": _temporary,
    "pwd": _pwd,
    "set": _set,
    "shift": _shift,
    "unset": _unset,
}

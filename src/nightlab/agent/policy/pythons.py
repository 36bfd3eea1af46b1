"""The Python interpreter as a program, and the programs that train: which file is run, and where its output goes."""

from __future__ import annotations

from nightlab.agent.policy.machine import Handler, Machine
from nightlab.agent.policy.nouns import Fetched, Install, Opaque, Train
from nightlab.agent.policy.options import parsed
from nightlab.agent.policy.pycode import follow
from nightlab.agent.policy.state import Call
from nightlab.agent.policy.values import FETCHED, TRAINED, UNKNOWN, shown, unknowable

# Modules that run another program, which follows as the next operand.
_CARRIERS = {
    "accelerate.commands.launch": "launch",
    "cProfile": "file",
    "coverage": "run",
    "kernprof": "file",
    "line_profiler": "file",
    "memory_profiler": "file",
    "pdb": "file",
    "profile": "file",
    "scalene": "file",
    "torch.distributed.launch": "launch",
    "torch.distributed.run": "launch",
    "trace": "file",
    "viztracer": "file",
}


def _python(machine: Machine, call: Call) -> str | None:
    args = list(call.args)
    while args:
        arg = args.pop(0)
        if arg in {"-W", "-X", "--check-hash-based-pycs"}:
            args = args[1:]
        elif arg.startswith("-c") or (arg[:1] == "-" and arg[1:2] != "-" and arg.endswith("c") and len(arg) < 6):
            code = arg[2:] if arg.startswith("-c") and len(arg) > 2 else (args.pop(0) if args else "")
            follow(machine, code, call.io, ("-c", *args))
            return None
        elif arg.startswith("-m") or (arg[:1] == "-" and arg[1:2] != "-" and arg.endswith("m") and len(arg) < 6):
            module = arg[2:] if arg.startswith("-m") and len(arg) > 2 else (args.pop(0) if args else "")
            return _module(machine, call, module, args)
        elif arg == "-" or not arg.startswith("-"):
            return _file(machine, call, arg, args)
    if call.io.stdin is not None and "-V" not in call.args and "--version" not in call.args:
        follow(machine, call.io.stdin, call.io)
    return None


def _module(machine: Machine, call: Call, module: str, args: list[str]) -> str | None:
    file = f"{module.replace('.', '/')}.py"
    if machine.is_training(file):
        machine.note(Train(call.io.out, call.io.err))
        return None
    if module in _CARRIERS:
        return _carrier(machine, Call((module, *args), call.io, call.env))
    if module == "timeit":
        options = parsed(args, "-n -r -s -u --setup --number")
        for code in (*options.values("-s", "--setup"), *options.operands):
            follow(machine, code, call.io)
        return None
    name = {"pip._internal": "pip", "uv": "uv", "ensurepip": "ensurepip"}.get(module, module)
    return machine.dispatch((name, *args), call.io, call.env)


def _file(machine: Machine, call: Call, file: str, args: list[str]) -> str | None:
    if file == "-" or file in {"/dev/stdin", "/proc/self/fd/0"}:
        follow(machine, call.io.stdin or "", call.io, ("-", *args))
        return None
    if machine.is_training(file):
        machine.note(Train(call.io.out, call.io.err))
        return None
    if "--" in args and file.rpartition("/")[2] in {"run_experiment.py", "modal_gpu.py"}:
        return machine.dispatch(tuple(args[args.index("--") + 1 :]), call.io, call.env)
    if file.rpartition("/")[2] == "setup.py" and set(args) & {"install", "develop", "upload"}:
        machine.note(Install("python setup.py"))
    path = machine.path(file)
    content = machine.content(file) if path in machine.files or path.startswith("/dev/fd/") else None
    if content is None and any(FETCHED in machine.files.get(place, "") for place in _above(path)):
        content = FETCHED
    if content is not None and FETCHED in content:
        machine.note(Fetched("python"))
    elif content is not None and (TRAINED in content or UNKNOWN not in content):
        follow(machine, content, call.io, (file, *args))
    elif unknowable(file):
        machine.note(Opaque(f"the file that python would run ({shown(file)})"))
    return None


def _above(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(2, len(parts))]


def _carrier(machine: Machine, call: Call) -> str | None:
    """Profilers, debuggers and launchers: the first operand that is a Python file, or a module after `-m`."""
    args = list(call.args)
    for place, arg in enumerate(args):
        if arg == "-m" and place + 1 < len(args):
            return machine.dispatch(("python", *args[place:]), call.io, call.env)
        if arg.endswith(".py"):
            return machine.dispatch(("python", *args[place:]), call.io, call.env)
    return None


def _ruff(machine: Machine, call: Call) -> str | None:
    """`ruff check --fix` and `ruff format` change files."""
    options = parsed(call.args, "--config --select --ignore --line-length")
    changes = options.has("--fix") or (options.operands[:1] == ("format",) and not options.has("--check", "--diff"))
    for name in options.operands[1:] if changes else ():
        machine.write(name)
    return None


PYTHONS: dict[str, Handler] = {
    **dict.fromkeys(("torchrun", "accelerate", "deepspeed", "kernprof", "scalene", "py-spy", "viztracer"), _carrier),
    "python": _python,
    "ruff": _ruff,
}

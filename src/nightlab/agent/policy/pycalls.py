"""What calls of Python's own library do to files, processes and the network."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING

from nightlab.agent.policy.expand import as_text
from nightlab.agent.policy.noun import altered
from nightlab.agent.policy.nouns import Install, Opaque, Remove, Sink, Write
from nightlab.agent.policy.pyvalues import File, Name, Place, Value, decoded, joined, method, text_of
from nightlab.agent.policy.state import Streams
from nightlab.agent.policy.values import DEEP, FETCHED, PIECE, STAR, TRAINED, UNKNOWN, holes

if TYPE_CHECKING:
    from nightlab.agent.policy.pycode import Reader

_SHELL = frozenset(
    {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "commands.getoutput"}
)
_SHELL |= {"asyncio.create_subprocess_shell", "pexpect.spawn", "pexpect.run", "get_ipython.system"}
_PROCESS = frozenset(f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen"))
_EXEC = frozenset({"os.execv", "os.execve", "os.execvp", "os.execvpe", "os.spawnv", "os.spawnvp", "os.posix_spawn"})
_EXEC_LIST = frozenset(
    {"os.execl", "os.execlp", "os.execle", "os.spawnl", "os.spawnlp", "asyncio.create_subprocess_exec"}
)
_FETCH = ("urllib.request.urlopen", "requests.", "httpx.", "urllib3.", "urllib.urlopen", "urllib2.urlopen", "aiohttp.")
# Function -> which of its arguments is written (w), taken away (d: one, r: with all below).
_FILES = {
    "os.remove": "d",
    "os.unlink": "d",
    "os.rmdir": "d",
    "os.removedirs": "d",
    "os.truncate": "w",
    "os.chmod": "w",
    "os.mkfifo": "w",
    "os.rename": "mw",
    "os.renames": "mw",
    "os.replace": "mw",
    "os.symlink": " w",
    "os.link": " w",
    "shutil.copy": " w",
    "shutil.copy2": " w",
    "shutil.copyfile": " w",
    "shutil.copytree": " w",
    "shutil.copymode": " w",
    "shutil.move": "mw",
    "shutil.rmtree": "r",
    "shutil.unpack_archive": " W",
    "urllib.request.urlretrieve": " f",
    "fileinput.input": "i",
    "fileinput.FileInput": "i",
    "numpy.save": "w",
    "np.save": "w",
    "torch.save": " w",
    "json.dump": " ",
}
_PLACE_WRITES = frozenset({"write_text", "write_bytes", "touch", "chmod", "symlink_to", "hardlink_to", "link_to"})
_WRITING = frozenset("wax+")


def imported(reader: Reader, module: str) -> None:
    """Importing the file that is trained runs it."""
    if reader.machine.is_training(f"{module.replace('.', '/')}.py"):
        reader.machine.dispatch(("python", f"{module.replace('.', '/')}.py"), reader.io)


def constant(reader: Reader, dotted: str) -> Value:
    """An attribute of a module."""
    if dotted == "sys.executable":
        return "python"
    if dotted == "sys.argv":
        return reader.argv
    if dotted in {"os.sep", "os.path.sep"}:
        return "/"
    return Name(dotted)


def item(reader: Reader, dotted: str, key: str) -> Value:
    """`os.environ[key]`, `globals()[key]`, `__builtins__.__dict__[key]`."""
    if dotted == "os.environ":
        return text_of("".join(reader.machine.expander.elements(key) or (UNKNOWN,)))
    if dotted in {"globals", "locals", "vars", "__builtins__.__dict__", "builtins.__dict__", "sys.modules"}:
        return reader.values.get(key, Name(key))
    return None


def call(reader: Reader, node: ast.Call) -> Value:
    """Follow one call."""
    args = tuple(reader.elements(node.args))
    named = {one.arg: reader.value(one.value) for one in node.keywords if one.arg}
    for one in node.keywords:
        if one.arg is None:
            reader.value(one.value)
    if isinstance(node.func, ast.Name) and node.func.id in reader.functions:
        return reader.call_own(node.func.id, args)
    if isinstance(node.func, ast.Attribute):
        base = reader.value(node.func.value)
        if isinstance(base, Place):
            return _place(reader, base, node.func.attr, args, named)
        if isinstance(base, File):
            return _file(reader, base, node.func.attr, args)
        if isinstance(base, str):
            return method(base, node.func.attr, args, named)
        if base is None:
            return _of_unknown(reader, node.func.attr)
    function = reader.value(node.func)
    if not isinstance(function, Name):
        return None
    dotted = function.dotted.removeprefix("builtins.").removeprefix("__builtins__.")
    found = _pure(reader, dotted, args)
    return found if found is not None else _effect(reader, dotted, args, named)


def _of_unknown(reader: Reader, name: str) -> Value:
    """A method of something unknown: a path method, in code that names something guarded, may be an edit of it."""
    if name in _PLACE_WRITES | {"unlink", "rename", "replace", "rmtree"} and reader.names_guarded and name != "replace":
        reader.machine.note(Opaque("which file the Python code changes"))
    return None


_HIDDEN = {
    "base64.b32decode": "b32",
    "base64.b64decode": "b64",
    "base64.b85decode": "b85",
    "base64.standard_b64decode": "b64",
    "base64.urlsafe_b64decode": "b64",
    "binascii.a2b_base64": "b64",
    "binascii.unhexlify": "hex",
    "bytes.fromhex": "hex",
    "bytearray.fromhex": "hex",
}
_TEXTS = frozenset({"str", "bytes", "bytearray", "os.fspath", "os.fsencode", "os.fsdecode"})
_TEXTS |= {"os.path.abspath", "os.path.realpath", "os.path.normpath"}


def _pure(reader: Reader, dotted: str, args: tuple[Value, ...]) -> Value:
    """Calls that only make a value."""
    first = args[0] if args else None
    for maker in (_path_value, _collection):
        if (found := maker(reader, dotted, args)) is not None:
            return found
    if dotted in _TEXTS:
        if isinstance(first, tuple) and all(isinstance(one, int) and 0 <= one < 0x110000 for one in first):
            return "".join(chr(one) for one in first if isinstance(one, int))
        return text_of(first) if args else ""
    if dotted == "chr" and isinstance(first, int):
        return chr(first) if 0 <= first < 0x110000 else None
    if dotted in _HIDDEN and isinstance(first, str):
        return decoded(first, _HIDDEN[dotted])
    if dotted == "codecs.decode" and isinstance(first, str) and len(args) > 1:
        how = text_of(args[1]).replace("-", "").replace("_", "")
        return decoded(first, {"base64": "b64", "hex": "hex", "rot13": "rot13"}.get(how, ""))
    if dotted == "getattr" and len(args) >= 2:
        return constant(reader, f"{first.dotted}.{text_of(args[1])}") if isinstance(first, Name) else None
    if dotted in {"__import__", "importlib.import_module"}:
        imported(reader, text_of(first))
        return Name(text_of(first)) if isinstance(first, str) else None
    if dotted in {"globals", "locals", "vars"}:
        return Name(dotted if not isinstance(first, Name) else f"{first.dotted}.__dict__")
    return FETCHED if dotted.startswith(_FETCH) else None


def _path_value(reader: Reader, dotted: str, args: tuple[Value, ...]) -> Value:
    """Paths and what the environment says."""
    first = args[0] if args else None
    machine = reader.machine
    if dotted in {"pathlib.Path", "Path", "pathlib.PosixPath", "pathlib.PurePath"}:
        return Place(joined(*args) if args else ".")
    if dotted in {"os.path.join", "posixpath.join"}:
        return joined(*args)
    if dotted in {"os.path.expanduser", "os.path.expandvars"} and isinstance(first, str):
        return first.replace("~", machine.places.home, 1) if first.startswith("~") else first
    if dotted in {"pathlib.Path.home", "Path.home"}:
        return Place(machine.places.home)
    if dotted in {"os.getcwd", "pathlib.Path.cwd", "Path.cwd"}:
        return Place(machine.state.cwd) if "Path" in dotted else machine.state.cwd
    if dotted in {"os.path.basename", "os.path.dirname"} and isinstance(first, str):
        return first.rpartition("/")[2 if dotted.endswith("basename") else 0]
    if dotted in {"os.getenv", "os.environ.get"} and isinstance(first, str):
        known = machine.expander.elements(first)
        return known[0] if known else (args[1] if len(args) > 1 else UNKNOWN)
    return None


def _collection(reader: Reader, dotted: str, args: tuple[Value, ...]) -> Value:
    """Lists, and names of files as holes."""
    first = args[0] if args else None
    if dotted in {"list", "tuple", "sorted", "set", "reversed", "iter"}:
        value = tuple(first) if isinstance(first, str) and not holes(first) else first
        return value[::-1] if dotted == "reversed" and isinstance(value, tuple) else value
    if dotted == "map" and len(args) == 2 and isinstance(args[1], tuple) and isinstance(first, Name):
        return tuple(_pure(reader, first.dotted, (one,)) for one in args[1])
    if dotted in {"glob.glob", "glob.iglob"} and isinstance(first, str):
        return (first.replace("**", DEEP).replace("*", STAR).replace("?", PIECE),)
    if dotted in {"os.listdir", "os.scandir"}:
        return (f"{text_of(first)}/{STAR}" if args else STAR,)
    if dotted == "os.walk":
        return ((f"{text_of(first)}/{DEEP}", (STAR,), (STAR,)),)
    return tuple(first.split()) if dotted == "shlex.split" and isinstance(first, str) else None


def _effect(reader: Reader, dotted: str, args: tuple[Value, ...], named: dict[str, Value]) -> Value:
    """Calls that do something."""
    machine = reader.machine
    first = args[0] if args else next((named[key] for key in ("args", "cmd", "command") if key in named), None)
    if dotted in {"open", "io.open", "codecs.open", "os.open", "os.fdopen", "gzip.open", "bz2.open"}:
        return _open(reader, dotted, args, named)
    if dotted in {"exec", "eval", "compile", "runpy.run_path", "runpy.run_module"} or dotted.endswith(".exec_module"):
        return _code(reader, dotted, first)
    if dotted in {"sqlite3.connect", "duckdb.connect"}:
        return File(text_of(first).removeprefix("file:").partition("?")[0])
    if dotted == "os.chdir":
        machine.state.cwd = machine.path(text_of(first))
    if dotted in _SHELL:
        return machine.script(text_of(first), reader.io, "python")
    if dotted in _PROCESS:
        return _process(reader, dotted, first, named)
    if dotted == "pty.spawn" or dotted in _EXEC:
        words = args[-1] if isinstance(args[-1:], tuple) and args and isinstance(args[-1], tuple) else first
        words = words if not dotted.startswith("os.exec") or isinstance(words, tuple) else first
        return _process(reader, dotted, words, {})
    if dotted in _EXEC_LIST:
        words = args if dotted.startswith("asyncio") else args[1:] if "exec" in dotted else args[2:]
        return _process(reader, dotted, words, {})
    if dotted in {"pip.main", "pip._internal.main", "pip._internal.cli.main.main"}:
        machine.note(Install("pip from Python"))
    if dotted.endswith((".upload_file", ".upload_folder", ".push_to_hub", ".create_repo")):
        machine.dispatch(("hf", "upload"), reader.io)
    _filed(reader, dotted, args, named)
    return None


def _filed(reader: Reader, dotted: str, args: tuple[Value, ...], named: dict[str, Value]) -> None:
    given = (*args, *(value for key, value in named.items() if key in {"dst", "src", "path", "files", "filename"}))
    for kind, value in zip(_FILES.get(dotted, ""), given, strict=False):
        names = value if isinstance(value, tuple) else (value,)
        for name in map(text_of, names):
            if kind == "i" and named.get("inplace") in {None}:
                continue
            _changed(reader, name, kind)
            if kind == "w" and dotted.startswith("shutil") and name.endswith(("/", ".")) and args:
                _changed(reader, f"{name}/{text_of(args[0]).rpartition('/')[2]}", "w")


def _changed(reader: Reader, name: str, kind: str) -> None:
    machine = reader.machine
    if name == UNKNOWN and not reader.names_guarded and kind not in "r":
        return
    path = machine.path(name)
    if kind in "wif":
        machine.write(name, FETCHED if kind == "f" else UNKNOWN)
    elif kind == "W":
        machine.note(Write(machine.path(f"{name}/{DEEP}")))
    elif kind in "drm":
        machine.note(Remove(path, recursive=kind != "d", moved=kind == "m"))


def _open(reader: Reader, dotted: str, args: tuple[Value, ...], named: dict[str, Value]) -> Value:
    name = text_of(args[0] if args else named.get("file", named.get("path")))
    mode = args[1] if len(args) > 1 else named.get("mode", "r")
    if dotted == "os.fdopen":
        return None
    writes = not isinstance(mode, str) or bool(set(mode) & _WRITING) or holes(mode)
    if writes:
        _changed(reader, name, "w")
    return File(name)


def _file(reader: Reader, file: File, name: str, args: tuple[Value, ...]) -> Value:
    if name in {"read", "readlines", "readline"}:
        return reader.machine.content(file.path) or UNKNOWN
    if name == "cursor":
        return file
    if name in {"execute", "executemany", "executescript"}:
        statement = text_of(args[0] if args else None)
        if not re.match(r"\s*(select|explain|pragma|with)\b", statement, re.IGNORECASE):
            _changed(reader, file.path, "w")
    if name in {"write", "writelines"} and args and isinstance(args[0], str):
        reader.machine.files[reader.machine.path(file.path)] = args[0]
    return None


def _place(reader: Reader, place: Place, name: str, args: tuple[Value, ...], named: dict[str, Value]) -> Value:
    """A method of a `pathlib` path."""
    if name in _PLACE_WRITES:
        _changed(reader, place.path, "w")
        if args and isinstance(args[0], str) and name == "write_text" and place.path != UNKNOWN:
            reader.machine.files[reader.machine.path(place.path)] = args[0]
        return None
    if name in {"unlink", "rmdir"}:
        _changed(reader, place.path, "d")
    elif name in {"rename", "replace"}:
        _changed(reader, place.path, "m")
        _changed(reader, text_of(args[0] if args else None), "w")
    elif name == "open":
        return _open(reader, "open", (place.path, *args), named)
    elif name in {"read_text", "read_bytes"}:
        return reader.machine.content(place.path) or UNKNOWN
    elif name in {"glob", "rglob", "iterdir"}:
        what = text_of(args[0]).replace("**/", DEEP).replace("*", STAR) if args else STAR
        return (Place(f"{place.path}/{DEEP if name == 'rglob' else ''}{what}"),)
    elif name == "joinpath":
        return Place(joined(place.path, *args))
    elif name in {"with_name", "with_suffix", "with_stem"}:
        parent, _, last = place.path.rpartition("/")
        stem = last.rpartition(".")[0] or last
        given = text_of(args[0] if args else None)
        last = {"with_name": given, "with_suffix": stem + given}.get(name, given + last[len(stem) :])
        return Place(f"{parent}/{last}" if parent else last)
    elif name in {"resolve", "absolute", "expanduser"}:
        home = reader.machine.places.home
        return Place(place.path.replace("~", home, 1)) if name == "expanduser" and place.path[:1] == "~" else place
    elif name in {"as_posix", "__str__", "__fspath__"}:
        return place.path
    return None


def _code(reader: Reader, dotted: str, first: Value) -> Value:
    """`exec` and its kin: more code."""
    from nightlab.agent.policy.pycode import follow

    machine = reader.machine
    if dotted.startswith("runpy"):
        words = ("-m", text_of(first)) if dotted.endswith("module") else (text_of(first),)
        given = reader.values.get("sys.argv", reader.argv)
        rest = tuple(map(text_of, given[1:])) if isinstance(given, tuple) else (UNKNOWN,)
        return machine.dispatch(("python", *words, *rest), reader.io)
    text = text_of(first)
    if FETCHED in text or TRAINED in text or (isinstance(first, str) and not holes(text)):
        follow(machine, text, reader.io, tuple(map(text_of, reader.argv)))
    elif dotted == "exec" or isinstance(first, str):
        machine.note(Opaque("the code that Python's exec would run"))
    return text if dotted == "compile" else None


def _process(reader: Reader, dotted: str, what: Value, named: dict[str, Value]) -> Value:
    """`subprocess` and its kin."""
    io = _streams(reader, dotted, named)
    machine = reader.machine
    outer = machine.state.cwd
    if isinstance(named.get("cwd"), (str, Place)):
        machine.state.cwd = machine.path(text_of(named["cwd"]))
    if isinstance(what, tuple):
        words = tuple(as_text(text_of(word)) for word in what)
        text = machine.script(words[0], io, "python") if named.get("shell") and words else machine.dispatch(words, io)
    elif isinstance(what, str) and not named.get("shell") and dotted in _PROCESS and not what.startswith(UNKNOWN):
        text = machine.dispatch((what,), io) if " " not in what else machine.script(what, io, "python")
    else:
        text = machine.script(text_of(what), io, "python")
    machine.state.cwd = outer
    return text


def _streams(reader: Reader, dotted: str, named: dict[str, Value]) -> Streams:
    out, err = reader.io.out, reader.io.err
    given = named.get("stdout")
    if isinstance(given, File):
        out = Sink("file", reader.machine.path(given.path))
    elif given is not None or named.get("capture_output") or dotted.endswith("check_output"):
        out = Sink("null" if given == Name("subprocess.DEVNULL") else "kept")
    errors = named.get("stderr")
    if errors == Name("subprocess.STDOUT"):
        err = out
    elif isinstance(errors, File):
        err = Sink("file", reader.machine.path(errors.path))
    given_in = named.get("input")
    return altered(reader.io, stdin=given_in if isinstance(given_in, str) else None, out=out, err=err)

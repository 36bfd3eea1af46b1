"""git: what its commands publish, throw away and put back into the working tree."""

from __future__ import annotations

from nightlab.agent.policy.expand import as_text
from nightlab.agent.policy.filing import patched
from nightlab.agent.policy.machine import Handler, Machine, quoted
from nightlab.agent.policy.noun import altered
from nightlab.agent.policy.nouns import Opaque, Publish, Remove, Reset, Unguarded, Wiped, Write
from nightlab.agent.policy.options import parsed
from nightlab.agent.policy.state import Call
from nightlab.agent.policy.values import DEEP, FETCHED, PIECE, UNKNOWN, holes, shown

_GLOBAL = "-C -c --git-dir --work-tree --namespace --exec-path --config-env --super-prefix"
_PUBLISHING = frozenset({"push", "send-pack", "send-email", "http-push", "svn", "p4", "imap-send"})
_EDITORS = ("GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_PAGER", "GIT_SSH_COMMAND", "EDITOR", "VISUAL", "PAGER")
_HERE = frozenset({"", "HEAD", "@", "--"})


def _git(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, _GLOBAL, stop=True)
    state = machine.state
    outer = state.cwd
    for place in options.values("-C", "--work-tree"):
        state.cwd = machine.path(place)
    aliases = dict(machine.git_aliases)
    for name in set(_EDITORS) & set(call.env):
        machine.script(call.env[name], call.io, "git")
    for setting in options.values("-c"):
        name, _, value = setting.partition("=")
        if name.lower().startswith("alias."):
            aliases[name[6:].lower()] = value
        elif name.lower().endswith((".editor", ".pager", ".sshcommand", "fsmonitor")):
            machine.script(value, call.io, "git")
    try:
        return _command(machine, call, options.operands, aliases)
    finally:
        state.cwd = outer


def _command(machine: Machine, call: Call, words: tuple[str, ...], aliases: dict[str, str]) -> str | None:
    if not words:
        return None
    name, args = words[0], words[1:]
    if alias := aliases.pop(name.lower(), ""):
        rest = " ".join(map(quoted, args))
        given = " ".join(f"-c {quoted(f'alias.{key}={value}')}" for key, value in aliases.items())
        text = f"{alias[1:]} {rest}" if alias.startswith("!") else f"git {given} {alias} {rest}"
        return machine.script(text, call.io, "git")
    if holes(name):
        machine.note(Opaque(f"what git would do ({shown(name)})"))
        return None
    if name in _PUBLISHING or (name in {"lfs", "subtree", "annex"} and "push" in args):
        machine.note(Publish("git " + " ".join([name, *args[: name in {"lfs", "subtree", "annex"}]])))
        return None
    handler = _COMMANDS.get(name)
    return None if handler is None else handler(machine, altered(call, argv=(name, *args)))


def _own(machine: Machine) -> bool:
    """Whether git works on the lab's repository here."""
    cwd = machine.state.cwd
    return cwd == machine.places.root or cwd.startswith(f"{machine.places.root}/") or holes(cwd)


def _on_experiments(branch: str) -> bool:
    return branch.startswith("autoresearch/")


def _reset(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args)
    if options.has("--hard", "--merge", "--keep") and _own(machine) and not _on_experiments(machine.branch):
        machine.note(Reset(machine.branch))
    return None


def _checkout(machine: Machine, call: Call) -> str | None:
    """`checkout` and `switch`: another branch, or files put back as another commit had them."""
    options = parsed(call.args, "-b -B -c -C --orphan --conflict --pathspec-from-file")
    for branch in options.values("-B", "-C"):
        if _own(machine) and not _on_experiments(branch):
            machine.note(Reset(branch))
    if made := options.values("-b", "-B", "-c", "-C", "--orphan"):
        machine.branch = made[0] if _own(machine) else machine.branch
        return None
    commit, paths = _split(machine, call.args, options.operands)
    if commit not in _HERE or options.has("-p", "--patch", "--ours", "--theirs"):
        _restored(machine, paths)
    if not paths and options.operands and _own(machine):
        machine.branch = shown(options.operands[0])
    return None


def _split(machine: Machine, args: tuple[str, ...], operands: tuple[str, ...]) -> tuple[str, list[str]]:
    """The commit and the paths of `git checkout`: before and after `--`, or by what looks like a file."""
    if "--" in args:
        after = list(args[args.index("--") + 1 :])
        before = operands[: len(operands) - len(after)]
        return (before[0] if before else ""), after
    if not operands:
        return "", []
    if len(operands) == 1:
        name = operands[0]
        path = machine.path(name)
        is_file = (
            name.startswith((".", ":")) or machine.places.guarded(path) is not None or "." in name.rpartition("/")[2]
        )
        return ("", [name]) if is_file else (name, [])
    return operands[0], list(operands[1:])


def _restored(machine: Machine, paths: list[str]) -> None:
    for path in paths:
        plain = path.removeprefix(":/").removeprefix(":(top)") if path.startswith(":") else path
        if path.startswith((":!", ":^", ":(exclude)")):
            continue
        machine.note(Write(machine.path(plain)))
        if machine.places.holds_guarded(machine.path(plain)):
            machine.note(Write(machine.path(f"{plain}/{DEEP}")))


def _restore(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-s --source --pathspec-from-file")
    source = options.values("-s", "--source")
    if source and source[0] not in _HERE:
        _restored(machine, list(options.operands))
    return None


def _remove(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args)
    for name in options.operands if not options.has("-n", "--dry-run") else ():
        machine.note(Remove(machine.path(name), recursive=True, moved=call.argv[0] == "mv"))
    if call.argv[0] == "mv" and len(options.operands) > 1:
        machine.write(options.operands[-1])
        machine.write(f"{options.operands[-1]}/{options.operands[0].rpartition('/')[2]}")
    return None


def _apply(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "--include --exclude -p --directory -C --whitespace")
    if options.has("--stat", "--check", "--numstat", "--summary"):
        return None
    if names := options.values("--include"):
        for name in names:
            machine.write(name)
        return None
    texts = [machine.content(name) for name in options.operands if name != "-"] or [call.io.stdin]
    for text in texts:
        patched(machine, text)
    return None


def _clean(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-e --exclude")
    if options.has("-n", "--dry-run") or not _own(machine):
        return None
    if options.operands:
        for name in options.operands:
            machine.note(Remove(machine.path(name), recursive=True))
    else:
        machine.note(Wiped("git clean"))
    return None


def _config(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-f --file --blob --type --default")
    operands = options.operands[1:] if options.operands[:1] == ("set",) else options.operands
    if len(operands) < 2 or options.has("--get", "--unset", "--get-all"):
        return None
    name, value = operands[0].lower(), operands[1]
    if name.startswith("alias."):
        machine.git_aliases[name[6:]] = as_text(value)
    if name == "core.hookspath":
        machine.note(Unguarded("git config core.hooksPath"))
    return None


def _branch(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-u --set-upstream-to --sort --format --contains")
    if options.has("-f", "-D", "-M", "-C", "--force") and options.operands and _own(machine):
        name = options.operands[-1] if options.has("-M", "-C") else options.operands[0]
        if not _on_experiments(name):
            machine.note(Reset(name))
    return None


def _update_ref(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-m")
    name = next(iter(options.operands), "").removeprefix("refs/heads/")
    if name in {"HEAD", ""}:
        name = machine.branch
    if not _on_experiments(name) and not name.startswith("refs/") and _own(machine):
        machine.note(Reset(name))
    return None


def _index(machine: Machine, call: Call) -> str | None:
    """Commands that change what git believes of files without touching them."""
    for name in parsed(call.args, "--cacheinfo --chmod").operands:
        path = machine.path(name.rpartition(",")[2])
        if machine.places.guarded(path):
            machine.note(Write(path))
    return None


def _runs(machine: Machine, call: Call) -> str | None:
    """`bisect run`, `submodule foreach`, `rebase --exec`, `filter-branch`: git that runs a command."""
    filters = "-x --exec --tree-filter --index-filter --env-filter --commit-filter --msg-filter --onto -s -X"
    options = parsed(call.args, filters)
    for flag, value in options.flags:
        if flag in {"-x", "--exec"} or flag.endswith("-filter"):
            machine.script(value, call.io, "git")
    words = list(call.args)
    if words[:1] == ["run"]:
        return machine.dispatch(tuple(words[1:]), call.io)
    if words[:1] == ["foreach"]:
        rest = [word for word in words[1:] if word not in {"--recursive", "--quiet"}]
        return machine.script(" ".join(map(as_text, rest)), call.io, "git")
    if call.argv[0] == "filter-branch" and _own(machine):
        machine.note(Reset(machine.branch))
    return None


def _clone(machine: Machine, call: Call) -> str | None:
    """What was cloned came from the network; a local path did not."""
    valued = "-b -c -o -u --branch --depth --config --origin --reference --filter --template -j --jobs"
    operands = parsed(call.args, valued).operands
    if operands and ("://" in operands[0] or "@" in operands[0]):
        target = operands[1] if len(operands) > 1 else operands[0].rstrip("/").rpartition("/")[2].removesuffix(".git")
        machine.files[machine.path(target)] = FETCHED
    return None


def _rev_parse(machine: Machine, call: Call) -> str | None:
    if "--show-toplevel" in call.args:
        return machine.places.root if _own(machine) else UNKNOWN
    return PIECE


def _diff(machine: Machine, call: Call) -> str | None:
    """A diff of named files is a patch of those and of no others."""
    _archive(machine, call)
    if "--" not in call.args:
        return None
    return "".join(f"+++ b/{name}\n" for name in call.args[call.args.index("--") + 1 :])


def _archive(machine: Machine, call: Call) -> str | None:
    for name in parsed(call.args, "-o --output --output-directory --format --prefix").values("-o", "--output"):
        machine.write(name)
    return None


_COMMANDS: dict[str, Handler] = {
    "am": _apply,
    "apply": _apply,
    "archive": _archive,
    "bisect": _runs,
    "branch": _branch,
    "checkout": _checkout,
    "checkout-index": _index,
    "clean": _clean,
    "clone": _clone,
    "config": _config,
    "diff": _diff,
    "filter-branch": _runs,
    "format-patch": _archive,
    "mv": _remove,
    "rebase": _runs,
    "reset": _reset,
    "restore": _restore,
    "rev-parse": _rev_parse,
    "rm": _remove,
    "submodule": _runs,
    "switch": _checkout,
    "update-index": _index,
    "update-ref": _update_ref,
}

GIT: dict[str, Handler] = {"git": _git}

"""`new`, `init` and `doctor`: making labs, and saying what is wrong with one."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.config import IGNORED
from nightlab.errors import BackendError, ConfigError, LabError, LedgerError, NightlabError, UsageError
from nightlab.report import text as safe

if TYPE_CHECKING:
    from nightlab.config import Settings

BENCHMARK = ("prepare.py", "train.py", "program.md", "memorylab.py", "scripts/run_experiment.py",
             "research/__init__.py", "research/__main__.py")  # fmt: skip
TEMPLATES = {"pyproject.toml": "pyproject.toml", "uv.lock": "uv.lock", "nightlab.toml": "nightlab.toml",
             "gitignore": ".gitignore"}  # fmt: skip


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    new = commands.add_parser("new", help="make a lab with the shipped benchmark")
    new.add_argument("directory", type=Path, metavar="DIR", help="must not exist yet, or be empty")
    new.set_defaults(handler=cmd_new)

    init = commands.add_parser("init", help="make the repository you are in a lab", description=_INIT)
    init.add_argument("--command", dest="run_command", metavar="CMD", help="what a run executes")
    init.add_argument("--editable", action="append", metavar="GLOB", help="what experiments may change (repeatable)")
    init.add_argument("--protected", action="append", metavar="GLOB", help="what no run may touch (repeatable)")
    init.add_argument("--metric", metavar="NAME", help="the number it prints as `NAME: value`")
    init.add_argument("--direction", choices=("minimize", "maximize"), help="which way is better")
    init.set_defaults(handler=cmd_init)

    doctor = commands.add_parser("doctor", help="say what is wrong with this lab, and what to do about it")
    add_lab_option(doctor)
    doctor.add_argument("--repair", action="store_true", help="make database, tables and mirrors whole again first")
    doctor.set_defaults(handler=cmd_doctor)


def cmd_new(args: argparse.Namespace) -> int:
    make_lab(args.directory)
    print(f"made a lab in {args.directory}")
    print(f"next: cd {args.directory} && uv sync && uv run prepare.py && nightlab run --runs 12", file=sys.stderr)
    print(_AGENTS, file=sys.stderr)
    return 0


def make_lab(directory: Path) -> None:
    """Write the shipped benchmark and its settings into `directory` and commit them.

    Raises:
        LabError: something is there already; nothing was written.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise LabError(f"{directory} exists and is not empty", hint="name another directory")
    directory.mkdir(parents=True, exist_ok=True)
    for name in BENCHMARK:
        target = directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(_benchmark_file(name))
    templates = resources.files("nightlab") / "templates"
    filled_in = {"{noise}": _first_guess(), "{speed}": _speed_setting(), "{probe}": _probe_setting()}
    for source, name in TEMPLATES.items():
        text = (templates / source).read_text(encoding="utf-8")
        for name_in_text, setting in filled_in.items():
            text = text.replace(name_in_text, setting)
        (directory / name).write_text(text, encoding="utf-8")
    _first_commit(directory)


def _first_guess() -> str:
    """Standard deviation of val_bpb over runs of the untouched recipe on this kind of machine.

    GPU: 888 reruns of one configuration on H200 cards (public history of autoresearch-automl), and as much on H100.
    CPU: LOG.md.
    """
    from nightlab.runner.machine import visible_gpus

    return "0.0005" if visible_gpus() else "0.008"


def _speed_setting() -> str:
    """On a GPU a run has so many seconds, so that a faster machine trains on more: 888 reruns on H200s tell how.

    The prior of public sessions (`gpu-5min`) is not the default: in simulated nights of other sessions the generic one
    gained more (LOG.md).
    """
    from nightlab.runner.machine import visible_gpus

    told = "loss that a log of the probe's speed saves; your own repeats correct it"
    return f"speed_effect = 0.058            # {told}\n" if visible_gpus() else ""


def _probe_setting() -> str:
    """The probe of a lab whose budget is in seconds; on a CPU it counts work, and speed does not matter."""
    from nightlab.runner.machine import visible_gpus

    command = 'command = "uv run prepare.py --probe"'
    return f"\n[probe]\n{command}  # how fast the GPU is, before and after each run\n" if visible_gpus() else ""


def _benchmark_file(name: str) -> bytes:
    """One of the benchmark's files: from the wheel, or from the repository this package runs in."""
    package = Path(str(resources.files("nightlab")))
    for root in (package / "benchmark", package.parent.parent):
        if (root / name).is_file():
            return (root / name).read_bytes()
    raise LabError(f"this installation of nightlab has no {name}", hint="install it again")


def _first_commit(directory: Path) -> None:
    identity = ["-c", "user.name=nightlab", "-c", "user.email=nightlab@localhost", "-c", "commit.gpgsign=false"]
    for command in (
        ["init", "--quiet", "--initial-branch=main"],
        ["add", "--all"],
        [*identity, "commit", "--quiet", "--no-verify", "--message=A lab with the shipped benchmark"],
    ):
        done = subprocess.run(["git", *command], cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise LabError(
                f"git {command[0]} failed in {directory}: {done.stderr.strip()}", hint="mend that, then again"
            )


# --- what the demo needs ------------------------------------------------------------------------------------------


def prepare_environment(settings: Settings) -> None:
    """See to it that the lab's environment has torch, by `uv sync` in the lab if need be.

    Raises:
        BackendError: uv is missing or fails.
    """
    from nightlab.runner.machine import has_package
    from nightlab.runner.workspace import lab_environment

    if has_package(lab_environment(settings), "torch"):
        return
    if shutil.which("uv") is None:
        raise BackendError("the lab's environment has no torch, and uv is not installed", hint="pip install uv")
    print("installing torch and the rest of the benchmark's needs (once, some gigabytes) ...", file=sys.stderr)
    done = subprocess.run(["uv", "sync", "--locked"], cwd=settings.root, check=False)
    if done.returncode != 0:
        raise BackendError(f"`uv sync` failed in {settings.root}", hint="see its message above; then `nightlab demo`")


def prepare_data(settings: Settings) -> None:
    """Run the lab's prepare.py in the lab's environment."""
    from nightlab.runner.workspace import lab_environment

    environment = lab_environment(settings)
    python = environment / "bin" / "python" if environment else shutil.which("python") or "python3"
    done = subprocess.run([python, "prepare.py"], cwd=settings.root, check=False)
    if done.returncode != 0:
        raise BackendError(f"prepare.py failed in {settings.root}", hint="see its message above")


# --- init ---------------------------------------------------------------------------------------------------------


def cmd_init(args: argparse.Namespace) -> int:
    """Write nightlab.toml if the lab has none, and make the places that the older commands expect."""
    from nightlab.cli.memory import init_memory
    from nightlab.config import load_settings
    from nightlab.git import Git
    from nightlab.root import CONFIG_NAME, find_root

    root = find_root(Path())
    path = root / CONFIG_NAME
    given = [args.run_command, args.editable, args.protected, args.metric, args.direction]
    if path.is_file() and any(given):
        raise UsageError(f"{path} exists already", hint="edit it; `nightlab doctor` checks it")
    git = Git(root)
    if not path.is_file() and (any(given) or not (root / "train.py").is_file()):
        _write_settings(path, _settings_text(args, root))
        print(f"wrote {path}", file=sys.stderr)
    settings = load_settings(root)
    git.ignore(IGNORED)
    init_memory(settings)
    _say_what_it_can(settings)
    print(_AGENTS, file=sys.stderr)
    return 0


def _settings_text(args: argparse.Namespace, root: Path) -> str:
    """nightlab.toml as the flags say; beside a train.py what they leave out is the shipped benchmark's.

    Raises:
        UsageError: flags are missing that nothing stands in for.
    """
    from nightlab.config import Settings

    template = (resources.files("nightlab") / "templates" / "init.toml").read_text(encoding="utf-8")
    usual = Settings(root=root) if (root / "train.py").is_file() else None
    command = args.run_command or (usual and usual.command)
    editable = args.editable or (usual and usual.editable)
    metric = args.metric or (usual and usual.metric.name)
    protected = args.protected or [path for path in (usual.protected if usual else ()) if (root / path).is_file()]
    missing = [flag for flag, value in (("--command", command), ("--editable", editable), ("--metric", metric))
               if not value]  # fmt: skip
    if missing:
        raise UsageError(
            "this repository has no train.py, so nightlab cannot guess what a run is: "
            f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing",
            hint="nightlab init --command 'python bench.py' --editable bench.py --metric seconds --direction minimize",
        )
    # A TOML string is written as JSON writes one that spells its letters out.
    return template.format(
        command=json.dumps(command, ensure_ascii=False),
        editable=json.dumps(editable, ensure_ascii=False),
        protected=json.dumps(protected, ensure_ascii=False),
        metric=json.dumps(metric, ensure_ascii=False),
        direction=json.dumps(args.direction or "minimize"),
    )


def _write_settings(path: Path, text: str) -> None:
    """Write nightlab.toml, once it is known that it can be read back; nothing is left behind otherwise.

    Raises:
        ConfigError: it holds a value that makes no sense.
        LabError: it cannot be written.
    """
    from nightlab.config import load_settings
    from nightlab.runner.files import write_atomic

    try:
        data = text.encode()
        with tempfile.TemporaryDirectory(prefix="nightlab-init-") as scratch:
            (Path(scratch) / path.name).write_bytes(data)
            try:
                load_settings(Path(scratch))
            except ConfigError as exc:
                draft = f"{scratch}/{path.name}"
                why = str(exc.args[0]).removeprefix(f"{draft}: ").replace(draft, "it")
                raise ConfigError(f"{path} was not written: {why}", hint="change the flag and try again") from exc
        write_atomic(path, data)
    except OSError as exc:
        raise LabError(
            f"{path} cannot be written: {exc.strerror}", hint="free some space, or make it writable"
        ) from exc
    except UnicodeEncodeError as exc:
        raise UsageError(f"a flag holds bytes that are no text: {exc.object[exc.start : exc.end]!r}") from exc


def _say_what_it_can(settings: Settings) -> None:
    foreign = [glob for glob in settings.editable if not glob.endswith(".py")]
    if foreign:
        print(
            f"note: the built-in search edits Python only; ideas for {', '.join(foreign)} must come from a model, "
            "an agent or you (`nightlab try`)",
            file=sys.stderr,
        )


# --- doctor -------------------------------------------------------------------------------------------------------


def cmd_doctor(args: argparse.Namespace) -> int:
    """Print one line for each thing that a night needs; exit 1 if one of them is missing."""
    if args.repair:
        _repair(settings_of(args.lab))
    failed = False
    for what, check in _CHECKS.items():
        try:
            print(f"ok    {what}: {check(args.lab)}")
        except NightlabError as exc:
            failed = True
            print(f"FAIL  {what}: {safe.block(str(exc.args[0]))}")
            if exc.hint:
                print(f"      hint: {safe.block(exc.hint)}")
    return 1 if failed else 0


def _repair(settings: Settings) -> None:
    from nightlab.cli.memory import say_unseen
    from nightlab.rebuild import repair

    done = repair(settings, time.time())
    if done.aside is not None:
        print(f"the damaged database lies in {done.aside} now", file=sys.stderr)
    if done.journal is not None:
        print(f"the journal told something else than the database; it lies in {done.journal} now", file=sys.stderr)
    if done.log.left_out:
        print(f"note: {done.log.left_out} events do not fit what is on record and were left out", file=sys.stderr)
    if done.log.unsure:
        print(f"note: {done.log.unsure} events could not be checked, what came before them being lost", file=sys.stderr)
    if done.runs:
        print(f"note: {done.runs} runs were made anew from their directories", file=sys.stderr)
    if done.endings:
        print(f"note: {done.endings} endings were found in their runs' directories", file=sys.stderr)
    say_unseen(done.unseen)
    print(f"ok    repaired: {done.events} events, tables and mirrors made anew from them")


def _check_memory(lab: Path) -> str:
    from nightlab.ledger import Ledger
    from nightlab.ledger.verify import verify
    from nightlab.memory import is_lost

    settings = settings_of(lab)
    if is_lost(settings):
        raise LedgerError(f"{settings.database} is lost", hint="`nightlab doctor --repair` makes it anew from the rest")
    with Ledger.read(settings.database) as ledger:  # as it lies there: what others read around is told here
        found = verify(ledger)
    if not found.is_sound:
        raise LedgerError(found.problem, hint=found.hint)
    return f"{found.events} events, every one fits its predecessor{f'; {found.note}' if found.note else ''}"


def _check_mirrors(lab: Path) -> str:
    from nightlab.ledger import Ledger
    from nightlab.memory import is_lost
    from nightlab.mirroring import compare

    settings = settings_of(lab)
    if is_lost(settings):
        raise LedgerError("nothing to compare them with: the database is lost", hint="`nightlab doctor --repair`")
    with Ledger.read(settings.database) as ledger:
        found = compare(ledger, settings, time.time())
    open_ends = {
        **{f"row(s) that others wrote into {name} are not taken in yet": count for name, count in found.rows.items()},
        "line(s) are no rows": found.refused,
        "line(s) are still to be written": found.lacking,
    }
    said = [f"{count} {what}" for what, count in open_ends.items() if count]
    if found.wrong:
        raise LedgerError("; ".join([*found.wrong, *said]), hint="`nightlab doctor --repair` writes them as they were")
    if not found.are_there:
        return "none are there yet"
    if said:
        return f"{'; '.join(said)}: the next command that writes does it, or `nightlab doctor --repair`"
    return "they say what the ledger says"


def _check_settings(lab: Path) -> str:
    settings = settings_of(lab)
    return f"{settings.root}, command `{settings.command}`, metric {settings.metric.name}"


def _check_tree(lab: Path) -> str:
    from nightlab.agent.workbench import open_lab

    with open_lab(settings_of(lab)) as opened:
        opened.sources.check()
        return "committed, nothing hides a module of Python's"


def _check_knobs(lab: Path) -> str:
    from nightlab.agent.workbench import open_lab
    from nightlab.search.knobs import find_knobs

    with open_lab(settings_of(lab)) as opened:
        files = opened.sources.at(opened.git.head())
        found = find_knobs(files, on_gpu=opened.backend.places[0].startswith("cuda"))
    return f"{len(found)} knobs that the built-in search can turn" if found else "none: ideas must come from elsewhere"


def _check_command(lab: Path) -> str:
    from nightlab.runner.workspace import lab_environment

    settings = settings_of(lab)
    environment = lab_environment(settings)
    word = settings.argv[0]
    if shutil.which(word, path=f"{environment / 'bin'}:{_path()}" if environment else None) is None:
        raise BackendError(f"`{word}` is not to be found", hint="install it, or change `command` in nightlab.toml")
    return f"`{word}` is there; Python environment {environment or 'that of your PATH'}"


def _check_machine(lab: Path) -> str:
    from nightlab.runner.machine import places

    return f"{len(found := places(settings_of(lab)))} runs at a time on {', '.join(found)}"


def _path() -> str:
    import os

    return os.environ.get("PATH", "")


_CHECKS = {
    "settings": _check_settings,
    "memory": _check_memory,  # before the others, which make a lost one anew
    "mirrors": _check_mirrors,
    "tree": _check_tree,
    "knobs": _check_knobs,
    "command": _check_command,
    "machine": _check_machine,
}
_AGENTS = "for a coding agent: nightlab agents install codex|claude|gemini|opencode|cursor, then nightlab agents doctor"
_INIT = "Make the repository you are in a lab: nightlab.toml, and the files that the older commands expect."

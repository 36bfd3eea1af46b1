"""Package managers, the network, and what publishes."""

from __future__ import annotations

import re

from nightlab.agent.policy.machine import Handler, Machine
from nightlab.agent.policy.nouns import Install, Publish
from nightlab.agent.policy.options import parsed
from nightlab.agent.policy.state import Call
from nightlab.agent.policy.values import FETCHED, holes

# Program -> the commands of it that change what is installed or declared.
_INSTALLS = {
    "apt": "install add reinstall upgrade remove purge full-upgrade dist-upgrade localinstall tap",
    "cargo": "add install",
    "conda": "install create update upgrade remove uninstall",
    "dpkg": "-i --install",
    "gem": "install update",
    "go": "get install",
    "hatch": "dep",
    "luarocks": "install",
    "nix-env": "-i -iA --install",
    "npm": "install i add ci update upgrade exec dlx link",
    "pacman": "-S -Sy -Syu -U",
    "pdm": "add remove update",
    "pip": "install download wheel uninstall",
    "pipenv": "install uninstall update",
    "pipx": "install run inject upgrade",
    "pixi": "add remove",
    "poetry": "add remove update self",
    "rpm": "-i -U -ivh -Uvh --install",
    "rye": "add remove install",
}
# Programs that fetch a package and run it, or install by themselves.
_ALWAYS = frozenset({"uvx", "npx", "bunx", "easy_install", "pip-sync", "ensurepip"})
_PUBLISHES = {
    "cargo": "publish",
    "conda": "upload",
    "docker": "push",
    "podman": "push",
    "flit": "publish",
    "gem": "push",
    "glab": "mr release",
    "hatch": "publish",
    "hf": "upload upload-large-folder upload_folder repo",
    "hub": "push pull-request release create fork",
    "npm": "publish",
    "pdm": "publish",
    "poetry": "publish",
    "rye": "publish",
    "twine": "upload",
    "anaconda": "upload",
    "modelscope": "upload",
    "kaggle": "datasets kernels",
    "vercel": "deploy",
}
_GH_READS = frozenset({"view", "list", "status", "diff", "checks", "search", "download"})
_GH_WRITES = frozenset({"pr", "release", "repo", "gist", "issue", "workflow", "api", "secret", "run"})


def manager(machine: Machine, call: Call) -> str | None:
    """A package manager: whether this command installs or publishes."""
    name = call.argv[0]
    words = [arg for arg in call.args if not arg.startswith("-")]
    flags = {arg for arg in call.args if arg.startswith("-")}
    if flags & {"--help", "-h", "--version"}:
        return None
    first = words[0] if words else ""
    if name in _ALWAYS:
        machine.note(Install(" ".join((name, *call.args[:1]))))
    installs = _INSTALLS.get(name, "").split()
    # Options with a value may stand before the command (`pip --proxy X install`), so any of the first words counts.
    if set(words[:3]) & set(installs) and (first in installs or name in {"pip", "apt", "conda", "npm"}):
        machine.note(Install(f"{name} {next(word for word in words if word in installs)}"))
    elif flags & set(installs) or (holes(first) and name in {"pip", "conda", "npm", "apt"}):
        machine.note(Install(name))
    if name == "npm" and not words and not flags:
        machine.note(Install("npm"))  # `yarn` alone installs
    if first in _PUBLISHES.get(name, "").split():
        machine.note(Publish(f"{name} {first}"))
    return None


def uv(machine: Machine, call: Call) -> str | None:
    """uv but `uv run`: `uv sync` brings what the lock file holds, which is no new dependency."""
    options = parsed(call.args, "--directory --project --color -p --python", stop=True)
    words = [word for word in options.operands if not word.startswith("-")]
    first, second = [*words, "", ""][:2]
    flags = set(call.args)
    installs = (
        first in {"add", "remove", "x"}
        or (first == "pip" and (second in {"install", "uninstall", "sync", "compile"} or holes(second)))
        or (first == "tool" and second in {"install", "run", "upgrade"})
        or (first == "python" and second in {"install", "uninstall", "upgrade"})
        or (first in {"sync", "lock"} and bool(flags & {"-U", "--upgrade", "-P", "--upgrade-package"}))
        or (first == "version" and "--bump" in flags)
    )
    if installs or holes(first):
        machine.note(
            Install(" ".join(filter(None, ("uv", first, second if first in {"pip", "tool", "python"} else ""))))
        )
    if first == "publish":
        machine.note(Publish("uv publish"))
    return None


def _gh(machine: Machine, call: Call) -> str | None:
    words = parsed(call.args, "-R --repo").operands
    kind, verb = [*words, "", ""][:2]
    if kind == "api":
        options = parsed(call.args, "-X --method -f -F --field --raw-field --input -H -q --jq")
        writes = options.has("-f", "-F", "--field", "--raw-field", "--input")
        if not writes and all(value.upper() == "GET" for value in options.values("-X", "--method")):
            return None
    if (kind in _GH_WRITES and verb not in _GH_READS and not (kind == "repo" and verb == "clone")) or holes(kind):
        machine.note(Publish(f"gh {kind}", pull_request=kind == "pr"))
    return None


_CURL = (
    "-o --output -O? -X --request -d --data -F --form -T --upload-file -H --header -u --user -A -b -c -x -e -m "
    "--data-binary --data-raw --data-urlencode --max-time --connect-timeout --retry -w --write-out --url -K --config -D"
)
_WGET = (
    "-O --output-document -P --directory-prefix -U -t -T -o -a -i --header --post-file --post-data --timeout --tries"
)


def _curl(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, _CURL.replace("-O? ", ""))
    sent = [*options.values("-d", "--data", "--data-binary", "--data-urlencode"), *options.values("-F", "--form")]
    if options.has("-T", "--upload-file") or any("@" in one.partition("=")[2] or one.startswith("@") for one in sent):
        machine.note(Publish("curl with a file"))
    for name in options.values("-o", "--output"):
        if name not in {"-", "/dev/null"}:
            machine.write(name, FETCHED)
    if options.has("-O", "--remote-name", "--remote-name-all"):
        for url in options.operands:
            machine.write(url.partition("?")[0].rpartition("/")[2], FETCHED)
    return FETCHED


def _wget(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, _WGET)
    if options.values("--post-file"):
        machine.note(Publish("wget with a file"))
    if (outputs := options.values("-O", "--output-document")) and outputs[0] != "-":
        machine.write(outputs[0], FETCHED)
    elif not outputs:
        into = [*options.values("-P", "--directory-prefix"), "."][0]
        for url in options.operands:
            if name := url.partition("?")[0].rpartition("/")[2]:
                machine.write(f"{into}/{name}", FETCHED)
    return FETCHED


def _axel(machine: Machine, call: Call) -> str | None:
    """Other programs that print or save what they fetch."""
    for name in parsed(call.args, "-o -d -x -s").values("-o"):
        machine.write(name, FETCHED)
    return FETCHED


def _remote_copy(machine: Machine, call: Call) -> str | None:
    """`scp`, `sftp` and cloud copies: publishing where the target is elsewhere."""
    operands = parsed(call.args, "-P -i -o -F -l -c -J").operands
    target = operands[-1] if operands else ""
    if re.match(r"([\w.@-]+:(?!//)|\w+://)", target):
        machine.note(Publish(call.argv[0]))
    elif operands and call.argv[0] in {"scp", "gsutil", "rclone"}:
        machine.write(target, FETCHED)
    return None


PACKAGES: dict[str, Handler] = {
    **dict.fromkeys(
        {*_INSTALLS, *_PUBLISHES, *_ALWAYS} - {"poetry", "pipenv", "conda", "hatch", "pdm", "pixi", "rye"}, manager
    ),
    **dict.fromkeys(("aria2c", "axel", "lynx", "http", "https", "nc", "ncat", "w3m"), _axel),
    **dict.fromkeys(("scp", "sftp", "aws", "gsutil", "rclone", "azcopy", "s3cmd"), _remote_copy),
    "curl": _curl,
    "gh": _gh,
    "wget": _wget,
}

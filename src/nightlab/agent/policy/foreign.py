"""Code in languages that are not parsed here (Perl, JavaScript, Ruby, awk ...), read as text.

Its string literals are what can be known. One that is followed by the shell is followed here; a guarded name beside a
word that writes is an edit; a call of the shell on something that is no literal cannot be read.
"""

from __future__ import annotations

import re

from nightlab.agent.policy.escapes import ansi
from nightlab.agent.policy.expand import as_text
from nightlab.agent.policy.machine import Handler, Machine
from nightlab.agent.policy.nouns import Fetched, Opaque, Remove, Show, Write
from nightlab.agent.policy.options import parsed
from nightlab.agent.policy.state import Call
from nightlab.agent.policy.values import FETCHED, UNKNOWN

_STRING = re.compile(r"'((?:[^'\\\n]|\\.)*)'|\"((?:[^\"\\\n]|\\.)*)\"|q[qx]?[{(/|]([^})/|]*)[})/|]")
_RUNS = re.compile(
    r"\b(system|exec\w*|spawn\w*|popen|fork|proc_open|shell_exec|passthru|backtick|IPC|Open3|os\.execute|run|Bun\.\$)\s*[(\s\"'\[{]|`|\bqx\b|%x"
)
_SHELLED = re.compile(
    r"(?:\b(?:system|exec|execSync|spawn|spawnSync|execFile|execFileSync|popen|shell_exec|passthru|os\.execute|run)\b\s*\(?\s*)"
    r"(\[?\s*(?:(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|q[qx]?\{[^}]*\})[\s,\[\].+]*)+)?"
)
_BACKTICK = re.compile(r"`([^`]*)`|\bqx\s*[{(/|!]([^})/|!]*)|%x[{(\[]([^})\]]*)")
_WRITES = re.compile(
    r"writeFile|appendFile|createWriteStream|openSync|copyFile|rename|unlink|truncate|rmSync|rmdir|\brm\b|symlink|"
    r"File\.(write|open|delete|new)|IO\.write|FileUtils|file_put_contents|fopen|['\"{(]\s*\+?>|['\"]\+<|\bwrite\b|spew|copy|move|Deno\.|print\s*\{"
)
_DELETES = re.compile(r"rmtree|remove_tree|rm_rf|rm_r\b|rmSync|rmdirSync|removeSync|rimraf|unlink_recursive")
_JOINS = re.compile(r"(['\"])\s*[.+]\s*(['\"])")


def code(machine: Machine, text: str, call: Call) -> None:
    """Note what a piece of foreign code would do."""
    if FETCHED in text:
        machine.note(Fetched(call.argv[0]))
        return
    text = _JOINS.sub(lambda match: "" if match[1] == match[2] else match[0], as_text(text))
    if text.strip() == UNKNOWN:
        machine.note(Opaque(f"the code that {call.argv[0]} would run"))
    literals = [ansi(next(part for part in match.groups() if part is not None)) for match in _STRING.finditer(text)]
    for match in _BACKTICK.finditer(text):
        if _RUNS.search(text):
            machine.script(next((part for part in match.groups() if part), ""), call.io, call.argv[0])
    for match in _SHELLED.finditer(text):
        _shelled(machine, match, call)
    if _DELETES.search(text):
        for literal in literals:
            if "/" in literal or literal.startswith("."):
                machine.note(Remove(machine.path(literal), recursive=True))
    if _WRITES.search(text):
        for literal in (*literals, *re.findall(r"[<>]\s*([\w./-]+)", text)):
            name = literal.lstrip("+<> ")
            if name and " " not in name and machine.places.guarded(machine.path(name)):
                machine.note(Write(machine.path(name)))


def _shelled(machine: Machine, match: re.Match[str], call: Call) -> None:
    words = [next(part for part in one.groups() if part is not None) for one in _STRING.finditer(match[1] or "")]
    if words:
        machine.script(" ".join(map(ansi, words)), call.io, call.argv[0])
    elif (
        re.match(r"(system|execSync|spawnSync|os\.execute|shell_exec|passthru|exec)\b", match[0])
        and match[0].rstrip()[-1:] == "("
    ):
        following = match.string[match.end() : match.end() + 1]
        if following not in {")", "`", ""}:
            machine.note(Opaque(f"what {call.argv[0]} would run"))


def _perl(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-e -E -i? -I -M? -m? -r -0? -F -l? -x?")
    scripts = options.values("-e", "-E")
    files = options.operands if scripts else options.operands[1:]
    if options.has("-i"):
        for name in files:
            machine.write(name)
    if not scripts and options.operands[:1] in {(), ("-",)} and call.io.stdin:
        scripts = [call.io.stdin]
    for script in scripts:
        code(machine, script, call)
    for name in files if options.has("-i") is False and options.has("-p") and scripts == ["1"] else ():
        machine.note(Show(machine.path(name), call.io.out))
    return None


def _foreign(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-e -r -p? --eval --print -E")
    scripts = [value for value in options.values("-e", "--eval", "-p", "--print", "-r", "-E") if value]
    if options.operands[:1] == ("eval",):
        scripts = [*scripts, *options.operands[1:]]
    if any(re.match("https?://", name) for name in options.operands[:2]):
        machine.note(Fetched("the interpreter"))
    if not scripts and options.operands and (text := machine.files.get(machine.path(options.operands[0]))):
        scripts = [text]
    if not scripts and (not options.operands or options.operands == ("-",)) and call.io.stdin:
        scripts = [call.io.stdin]
    for script in scripts:
        code(machine, script, call)
    return None


def _awk_commands(machine: Machine, call: Call, script: str) -> None:
    """What an awk program starts: `system`, and pipes to and from commands."""
    for command in re.findall(r"system\s*\(\s*\"((?:[^\"\\]|\\.)*)\"\s*\)", script):
        machine.script(ansi(command), call.io, "awk")
    for command in re.findall(r"\"((?:[^\"\\]|\\.)*)\"\s*\|\s*getline|\|&?\s*\"((?:[^\"\\]|\\.)*)\"", script):
        machine.script(ansi(command[0] or command[1]), call.io, "awk")
        if re.fullmatch(r"\S*sh\b.*", command[1]):  # `print "text" | "sh"`
            for literal in re.findall(r"\"((?:[^\"\\]|\\.)*)\"", script):
                machine.script(ansi(literal), call.io, "awk")
    if re.search(r"system\s*\(\s*[^\"\s]", script):
        machine.note(Opaque("what awk would run"))


def _awk(machine: Machine, call: Call) -> str | None:
    options = parsed(call.args, "-f -F -v -i --include --assign --file --field-separator", stop=True)
    operands = options.operands if not options.has("-f", "--file") else ("", *options.operands)
    if not operands:
        return None
    script, files = as_text(operands[0]), operands[1:]
    if "inplace" in options.values("-i", "--include"):
        for name in files:
            machine.write(name)
    _awk_commands(machine, call, script)
    given = dict(one.partition("=")[::2] for one in options.values("-v", "--assign"))
    for literal, variable in re.findall(r"print[^;}|]*>>?\s*(?:\"([^\"]+)\"|(\w+))", script):
        if literal or variable in given:
            machine.write(literal or given[variable])
    if re.search(r"print[^;}|\"/]*>>?\s*(FILENAME|ARGV)", script):
        for name in files:
            machine.write(name)
    if script in {"1", "{print}", "//"}:
        for name in files:
            machine.note(Show(machine.path(name), call.io.out))
    return None


FOREIGN: dict[str, Handler] = {"awk": _awk, "foreign": _foreign, "perl": _perl}

"""nightlab.toml: defaults, refusals, which lab is meant, and which values are believed."""

from __future__ import annotations

import dataclasses
import math
import re
import types
from pathlib import Path
from typing import Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.config import (
    LARGEST,
    BudgetSettings,
    CommandLine,
    DenyRule,
    EarlySettings,
    JudgeSettings,
    MetricSettings,
    ModelSettings,
    PolicySettings,
    ProbeSettings,
    ProposerSettings,
    SearchSettings,
    Settings,
    load_settings,
)
from nightlab.errors import ConfigError, NoRepositoryError
from nightlab.root import CONFIG_NAME, find_root
from nightlab.types import Direction
from tests.builders import Repo

PAGE = Path(__file__).parents[1] / "docs" / "nightlab-toml.md"


def load(root: Path, toml: str) -> Settings:
    (root / CONFIG_NAME).write_text(toml, encoding="utf-8")
    return load_settings(root)


# --- keys -------------------------------------------------------------------------------------------------------

CHANGES = {
    'command = "python -m trainer --fast"': ("command", "python -m trainer --fast"),
    'editable = ["src/*.py", "b c.py"]': ("editable", ("src/*.py", "b c.py")),
    "protected = []": ("protected", ()),
    'link = ["data"]': ("link", ("data",)),
    'tag = "mar5.gpu-0"': ("tag", "mar5.gpu-0"),
    'env = { OMP_NUM_THREADS = "4" }': ("env", {"OMP_NUM_THREADS": "4"}),
    'metric.direction = "maximize"': ("metric.direction", Direction.MAXIMIZE),
    "metric.low = 0": ("metric.low", 0.0),
    "metric.high = 9.5": ("metric.high", 9.5),
    "metric.receipt = true": ("metric.receipt", True),
    "budget.timeout_minutes = 7": ("budget.timeout_minutes", 7.0),
    'budget.slots = "auto"': ("budget.slots", "auto"),
    "budget.slots = 8": ("budget.slots", 8),
    "budget.grace_seconds = 0": ("budget.grace_seconds", 0.0),
    "judge.promote = 0.9": ("judge.promote", 0.9),
    "judge.discard = 0.4": ("judge.discard", 0.4),
    "judge.max_steps = 1": ("judge.max_steps", 1),
    "judge.baseline_runs = 3": ("judge.baseline_runs", 3),
    "judge.final_runs = 0": ("judge.final_runs", 0),
    "judge.explore = 0.8": ("judge.explore", 0.8),
    "judge.ablate = false": ("judge.ablate", False),
    "judge.noise = 0.001": ("judge.noise", 0.001),
    "judge.noise_runs = 0.5": ("judge.noise_runs", 0.5),
    'judge.prior = "gpu-5min"': ("judge.prior", "gpu-5min"),
    "judge.speed_effect = 0.058": ("judge.speed_effect", 0.058),
    "judge.useful_gain = 0.002": ("judge.useful_gain", 0.002),
    "judge.line_price = 0": ("judge.line_price", 0.0),
    "judge.memory_price = 2.5": ("judge.memory_price", 2.5),
    "metric.timed = true": ("metric.timed", True),
    'probe.command = "python probe.py"': ("probe.command", "python probe.py"),
    "probe.timeout_seconds = 5": ("probe.timeout_seconds", 5.0),
    "early.enabled = false": ("early.enabled", False),
    "early.first = 0.3": ("early.first", 0.3),
    "early.main = 0.7": ("early.main", 0.7),
    "early.audit = 1": ("early.audit", 1.0),
    "search.worth = 0.001": ("search.worth", 0.001),
    "budget.hour_price = 2.5": ("budget.hour_price", 2.5),
    "policy.enabled = false": ("policy.enabled", False),
    'policy.protect = ["eval"]': ("policy.protect", ("eval",)),
    'policy.allow = ["pip install einops"]': ("policy.allow", ("pip install einops",)),
    'policy.deny = [{ command = "scancel", reason = "Jobs are shared." }]': (
        "policy.deny",
        (DenyRule(command=CommandLine("scancel"), reason="Jobs are shared."),),
    ),
    'proposer.use = ["builtin", "openai:small"]': ("proposer.use", ("builtin", "openai:small")),
    "proposer.agent_minutes = 5": ("proposer.agent_minutes", 5.0),
    'model.base_url = "http://127.0.0.1:11434/v1"': ("model.base_url", "http://127.0.0.1:11434/v1"),
    'model.key_variable = "MY_KEY"': ("model.key_variable", "MY_KEY"),
    "model.price_in = 0.5": ("model.price_in", 0.5),
    "model.price_out = 2": ("model.price_out", 2.0),
    "model.max_tokens = 1000": ("model.max_tokens", 1000),
    "model.max_cost = 3": ("model.max_cost", 3.0),
    "model.timeout_seconds = 30": ("model.timeout_seconds", 30.0),
    "model.answer_tokens = 512": ("model.answer_tokens", 512),
}


def flat(settings: Settings) -> dict[str, object]:
    """Every key as nightlab.toml spells it, with its value."""
    found: dict[str, object] = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{field.name}.{f.name}": getattr(value, f.name) for f in dataclasses.fields(value)}
        elif field.name not in ("root", "pinned"):  # where the lab is and what it holds, nothing that one may set
            found[field.name] = value
    return found


def test_no_file_gives_the_defaults(tmp_path: Path) -> None:
    """A directory without nightlab.toml is a lab with the documented defaults."""
    assert load_settings(tmp_path) == Settings(root=tmp_path)


def test_an_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    """An empty nightlab.toml changes nothing."""
    assert load(tmp_path, "") == Settings(root=tmp_path)


def test_every_key_is_tried_below() -> None:
    """A key that is added to the settings is added to these tests."""
    assert {"metric.name", *(key for key, _ in CHANGES.values())} == set(flat(Settings(root=Path("/lab"))))


@pytest.mark.parametrize("toml", CHANGES)
def test_a_key_changes_its_own_setting_and_no_other(tmp_path: Path, toml: str) -> None:
    """Each key reaches the setting of its name, and everything else keeps its default."""
    key, value = CHANGES[toml]
    assert flat(load(tmp_path, toml)) == {**flat(Settings(root=tmp_path)), key: value}


def test_another_metric_brings_no_bounds(tmp_path: Path) -> None:
    """The default bounds are those of val_bpb: a metric of another name is believed wherever it lies."""
    assert load(tmp_path, 'metric.name = "acc"').metric == MetricSettings(name="acc", low=None, high=None)


def test_own_bounds_win(tmp_path: Path) -> None:
    """A bound that the file sets replaces the known one, and the other one stays."""
    assert load(tmp_path, "metric.low = 0.5").metric == MetricSettings(low=0.5, high=100.0)


def test_a_number_for_a_real_setting_is_a_real(tmp_path: Path) -> None:
    """`timeout_minutes = 7` reads as 7.0: arithmetic and JSON see one type."""
    assert isinstance(load(tmp_path, "budget.timeout_minutes = 7").budget.timeout_minutes, float)


REFUSALS = {
    # no such key
    'comand = "python train.py"': "comand",
    "metric.nme = 'x'": "nme",
    "budget.timeout = 3": "timeout",
    "judge.steps = 3": "steps",
    # wrong types
    "command = 3": "command",
    'editable = "train.py"': "editable",
    "editable = [1]": "editable",
    'link = "data"': "link",
    "env = { A = 1 }": "env",
    "metric = 3": "metric",
    "metric.receipt = 1": "receipt",
    'metric.timed = "yes"': "timed",
    "metric.timed = 1": "timed",
    "probe.cmd = 'x'": "cmd",
    'metric.low = "0"': "low",
    'metric.direction = "down"': "down",
    "budget.slots = 1.5": "slots",
    'budget.slots = "all"': "slots",
    'budget.timeout_minutes = "5m"': "timeout_minutes",
    "judge.max_steps = 2.5": "max_steps",
    # values that make no sense
    'command = " "': "command is empty",
    "command = 'python -c \"print(1)'": "quotation mark",
    "editable = []": "editable names no file",
    'metric.name = ""': "metric.name is empty",
    "metric.low = 2\nmetric.high = 1": "metric.low",
    "metric.low = 1\nmetric.high = 1": "metric.low",
    "metric.low = nan": "infinite or NaN",
    "metric.high = inf": "infinite or NaN",
    "budget.timeout_minutes = 0": "timeout_minutes",
    "budget.timeout_minutes = nan": "infinite or NaN",
    "budget.timeout_minutes = inf": "infinite or NaN",
    "budget.grace_seconds = -1": "grace_seconds",
    "budget.grace_seconds = nan": "infinite or NaN",
    "budget.grace_seconds = inf": "infinite or NaN",
    "early.first = 0": "early.first",
    "early.main = 0.3": "early.first",
    "early.main = 1": "early.first",
    "early.first = nan": "infinite or NaN",
    "early.audit = 1.1": "early.audit",
    "early.audit = nan": "infinite or NaN",
    "search.worth = -1": "search.worth",
    "budget.hour_price = inf": "budget.hour_price",
    "proposer.use = []": "proposer.use is empty",
    'proposer.use = ["builtin", " "]': "a name in it",
    'proposer.use = ["a\\u0000b"]': "zero byte",
    "proposer.agent_minutes = 0": "proposer.agent_minutes",
    "proposer.agent_minutes = 1440": "less than a day",
    'model.base_url = "127.0.0.1:11434"': "model.base_url",
    'model.key_variable = "sk-1234"': "model.key_variable",
    "model.price_in = -1": "model.price_in",
    "model.max_cost = inf": "max_cost",
    "model.max_tokens = 0": "model.max_tokens",
    "model.timeout_seconds = inf": "model.timeout_seconds",
    "model.answer_tokens = 10": "model.answer_tokens",
    "budget.slots = 0": "slots",
    "budget.slots = -2": "slots",
    "judge.promote = 0.4": "judge.promote",
    "judge.promote = 1": "judge.promote",
    "judge.discard = 0": "judge.discard",
    "judge.promote = nan": "judge.promote",
    "judge.baseline_runs = 1": "baseline_runs",
    "judge.max_steps = 0": "max_steps",
    "judge.final_runs = -1": "final_runs",
    "judge.final_runs = 1001": "final_runs",
    "judge.noise = 0": "judge.noise",
    "judge.noise = inf": "infinite or NaN",
    "judge.noise_runs = 0": "noise_runs",
    "probe.command = 'python -c \"print(1)'": "probe.command has a quotation mark",
    'probe.command = "a \\u0000"': "zero byte",
    "probe.timeout_seconds = 0": "probe.timeout_seconds",
    "probe.timeout_seconds = inf": "infinite or NaN",
    "judge.noise_runs = inf": "infinite or NaN",
    'judge.prior = "hopeful"': "judge.prior",
    "judge.speed_effect = nan": "infinite or NaN",
    "judge.useful_gain = -1": "negative",
    "judge.line_price = -0.1": "negative",
    "judge.memory_price = inf": "infinite or NaN",
    'policy.allow = [" "]': "policy.allow",
    'policy.deny = [{ command = "a \'b" }]': "policy.deny",
    "policy.deny = [{ command = 'a', because = 'b' }]": "because",
    'policy.protect = ["../eval"]': "leaves the lab",
    'tag = ""': "tag",
    'tag = "a b"': "tag",
    'tag = "../main"': "tag",
    'tag = "-f"': "tag",
    'tag = "a..b"': "tag",
    'tag = "a.lock"': "tag",
    'tag = "a."': "tag",
    # paths
    'editable = ["../train.py"]': "leaves the lab: ../train.py",
    'protected = ["/etc/passwd"]': "leaves the lab: /etc/passwd",
    'link = ["a/../../b"]': "leaves the lab: a/../../b",
    'protected = ["./prepare.py"]': "./prepare.py",
    'editable = ["src//train.py"]': "src//train.py",
    'protected = ["data/"]': "'data/'",
    'editable = [""]': "as git writes it",
    'link = ["."]': "as git writes it",
    # what no process can be given
    'env = { "A=B" = "1" }': "env",
    'env = { "" = "1" }': "env",
    'env = { A = "\\u0000" }': "env",
    'command = "python \\u0000"': "command",
}


@pytest.mark.parametrize("toml", REFUSALS)
def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, toml: str) -> None:
    """An unknown key, a wrong type or a senseless value names the file and the culprit, and where to read about it."""
    with pytest.raises(ConfigError, match=re.escape(REFUSALS[toml])) as caught:
        load(tmp_path, toml)
    assert str(tmp_path / CONFIG_NAME) in str(caught.value)
    assert "docs/nightlab-toml.md" in caught.value.hint


@pytest.mark.parametrize("broken", [b"command = ", b"[metric\n", b"tag = 'a'\ntag = 'b'\n", b"tag = '\xff'\n"])
def test_broken_toml_names_the_file(tmp_path: Path, broken: bytes) -> None:
    """A file that is no TOML, or no UTF-8, is named together with what is wrong in it."""
    (tmp_path / CONFIG_NAME).write_bytes(broken)
    with pytest.raises(ConfigError, match=CONFIG_NAME):
        load_settings(tmp_path)


def test_the_command_is_split_as_a_shell_would() -> None:
    """Quoted words of the command stay together."""
    settings = Settings(root=Path("/lab"), command="python -c 'print(1, 2)' --name=\"a b\"")
    assert settings.argv == ("python", "-c", "print(1, 2)", "--name=a b")


def test_paths_of_the_lab(tmp_path: Path) -> None:
    """The database and the runs lie under results/nightlab, the promotions' branch under autoresearch/."""
    settings = Settings(root=tmp_path, tag="mar5")
    results = tmp_path / "results" / "nightlab"
    assert settings.database == results / "lab.db"
    assert settings.branch == "autoresearch/mar5"
    assert settings.runs.is_relative_to(tmp_path / "results")


# --- what makes two runs comparable -----------------------------------------------------------------------------

BASE = Settings(root=Path("/lab"))


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(BASE, command="python train.py"),
        dataclasses.replace(BASE, env={"A": "1"}),
        dataclasses.replace(BASE, metric=MetricSettings(name="loss")),
        dataclasses.replace(BASE, metric=MetricSettings(direction=Direction.MAXIMIZE)),
    ],
)
def test_what_the_run_sees_is_in_the_digest(other: Settings) -> None:
    """Another command, environment, metric or direction makes values that cannot be compared."""
    assert other.digest != BASE.digest


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(BASE, root=Path("/elsewhere")),
        dataclasses.replace(BASE, tag="mar5"),
        dataclasses.replace(BASE, budget=BudgetSettings(timeout_minutes=1.0, slots=8)),
        dataclasses.replace(BASE, judge=JudgeSettings(promote=0.99)),
        dataclasses.replace(BASE, probe=ProbeSettings(command="python probe.py")),
    ],
)
def test_what_the_run_does_not_see_is_not(other: Settings) -> None:
    """Moving a lab, or judging more strictly, keeps every experiment's identity."""
    assert other.digest == BASE.digest


def test_the_order_of_the_environment_does_not_count() -> None:
    """Two spellings of one environment are one lab."""
    one, two = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}
    assert dataclasses.replace(BASE, env=one).digest == dataclasses.replace(BASE, env=two).digest


# --- which values are believed ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_number_is_no_metric(value: float) -> None:
    """NaN and infinity are refused whatever the bounds, and the metric is named."""
    assert MetricSettings(name="loss").reject(value) == f"loss is {value}, which is no finite number"


@given(value=st.floats(-LARGEST, LARGEST))
def test_without_bounds_every_number_is_believed(value: float) -> None:
    """A lab that sets no bounds takes any value, zero and negative ones included."""
    assert MetricSettings(low=None, high=None).reject(value) is None


@pytest.mark.parametrize("value", [1e101, -1.7e308])
def test_numbers_that_nobody_can_square_are_refused(value: float) -> None:
    """A value whose square is no number any more cannot be judged."""
    said = MetricSettings(name="loss", low=None, high=None).reject(value)
    assert said is not None
    assert "too large" in said


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6), value=st.floats(allow_nan=False, allow_infinity=False))
def test_bounds_are_strict(low: float, width: float, value: float) -> None:
    """A value is believed exactly if it lies strictly between the bounds."""
    metric = MetricSettings(low=low, high=low + width)
    assert (metric.reject(value) is None) == (low < value < low + width)


@pytest.mark.parametrize(("value", "bound"), [(0.0, "above 0"), (-1.0, "above 0"), (9.0, "below 9")])
def test_a_refusal_says_which_bound(value: float, bound: str) -> None:
    """The sentence names the bound that the value broke."""
    said = MetricSettings(name="val_bpb", low=0.0, high=9.0).reject(value)
    assert said is not None
    assert bound in said


# --- which lab --------------------------------------------------------------------------------------------------


def test_the_top_of_the_repository_is_a_lab(tmp_path: Path) -> None:
    """Without any nightlab.toml the lab is the repository, wherever in it one stands."""
    repo = Repo.make(tmp_path / "repo", {"src/deep/a.py": "", "train.py": ""})
    assert find_root(repo.root / "src" / "deep") == repo.root.resolve()


def test_the_nearest_lab_wins(tmp_path: Path) -> None:
    """Of two nightlab.toml above the caller, the nearer one is meant."""
    repo = Repo.make(tmp_path / "repo", {CONFIG_NAME: "", f"gpt/{CONFIG_NAME}": "", "gpt/src/a.py": "", "b/c.py": ""})
    assert find_root(repo.root / "gpt" / "src") == (repo.root / "gpt").resolve()
    assert find_root(repo.root / "b") == repo.root.resolve()


def test_a_repository_inside_a_lab_is_its_own(tmp_path: Path) -> None:
    """A nested repository does not fall to the nightlab.toml of the one around it."""
    Repo.make(tmp_path / "outer", {CONFIG_NAME: ""})
    inner = Repo.make(tmp_path / "outer" / "inner")
    assert find_root(inner.root) == inner.root.resolve()


def test_a_linked_worktree_is_a_lab(tmp_path: Path) -> None:
    """A worktree, whose .git is a file, is a lab of its own."""
    repo = Repo.make(tmp_path / "repo", {CONFIG_NAME: "", "src/a.py": ""})
    repo.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    assert find_root(tmp_path / "linked" / "src") == (tmp_path / "linked").resolve()


def test_a_link_to_a_lab_leads_to_it(tmp_path: Path) -> None:
    """A symbolic link into a lab is followed, so that one lab has one root."""
    repo = Repo.make(tmp_path / "repo")
    (tmp_path / "link").symlink_to(repo.root)
    assert find_root(tmp_path / "link") == repo.root.resolve()


def test_no_repository_is_no_lab(tmp_path: Path) -> None:
    """Outside any repository the error says so and names the way out."""
    with pytest.raises(NoRepositoryError, match="no git repository") as caught:
        find_root(tmp_path)
    assert "nightlab new" in caught.value.hint


def test_a_lab_outside_git_is_refused(tmp_path: Path) -> None:
    """A nightlab.toml outside any repository is named, with the command that mends it."""
    (tmp_path / CONFIG_NAME).touch()
    with pytest.raises(NoRepositoryError, match=CONFIG_NAME) as caught:
        find_root(tmp_path)
    assert "git init" in caught.value.hint


# --- the page ---------------------------------------------------------------------------------------------------


def page_rows() -> dict[str, tuple[str, str, str]]:
    """Key -> (type, default, meaning), as docs/nightlab-toml.md tells it."""
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {key: (kind, default, meaning) for key, kind, default, meaning in rows}


def spelt(value: object) -> str:
    """A default as the page writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f"`{value}`"


def described(hint: object, key: str = "") -> str:
    """A type as the page writes it."""
    if hint == tuple[str, ...] and key == "proposer.use":
        return "list of names"
    plain = {str: "text", bool: "true or false", int: "number", float: "number", tuple[str, ...]: "list of paths"}
    plain |= {tuple[CommandLine, ...]: "list of commands", tuple[DenyRule, ...]: "list of tables"}
    if hint in plain:
        return plain[hint]
    if hint is Direction:
        return '`"minimize"` or `"maximize"`'
    if get_origin(hint) is Literal:
        return " or ".join(f'`"{word}"`' for word in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " or ".join(described(part) for part in get_args(hint) if part is not type(None))
    return "table of text"


def hints() -> dict[str, object]:
    """Key -> its type in the code."""
    found: dict[str, object] = {key: hint for key, hint in get_type_hints(Settings).items() if key != "root"}
    tables = {
        "metric": MetricSettings,
        "budget": BudgetSettings,
        "judge": JudgeSettings,
        "probe": ProbeSettings,
        "early": EarlySettings,
        "search": SearchSettings,
        "policy": PolicySettings,
        "proposer": ProposerSettings,
        "model": ModelSettings,
    }
    for table, cls in tables.items():
        del found[table]
        found |= {f"{table}.{key}": hint for key, hint in get_type_hints(cls).items()}
    return found


def test_the_page_lists_every_key() -> None:
    """docs/nightlab-toml.md has a line for each key, and for nothing else."""
    assert set(page_rows()) == set(flat(BASE))


@pytest.mark.parametrize("key", flat(BASE))
def test_the_page_tells_type_and_default(key: str) -> None:
    """Type and default on the page are those in the code, and the meaning says something."""
    kind, default, meaning = page_rows()[key]
    assert (kind, default) == (described(hints()[key], key), spelt(flat(BASE)[key]))
    assert meaning.endswith(".")


def test_the_pages_example_is_a_lab(tmp_path: Path) -> None:
    """The example of the page is accepted."""
    example = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    assert load(tmp_path, example[1]).metric.name == "val_loss"

"""What an agent is told, and what the ground and nightlab.toml change."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightlab.agent.policy import Ground, judge
from nightlab.agent.policy.ground import ground_of
from nightlab.agent.policy.noun import altered
from nightlab.agent.policy.nouns import Deny
from nightlab.config import load_settings
from nightlab.root import CONFIG_NAME

GROUND = Ground(root=Path("/work/lab"), cwd=Path("/work/lab"), home=Path("/home/user"), branch="autoresearch/mar5")


def on(**changes: object) -> Ground:
    return altered(GROUND, **changes)


def rule(command: str, ground: Ground = GROUND) -> str | None:
    refusal = judge(command, ground)
    return refusal.rule if refusal else None


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("uv run train.py", "run.log"),
        ("uv run train.py > run.log", "2>&1"),
        ("uv run train.py 2>&1 > run.log", "2>&1"),
        ("uv run train.py 2>&1 | tee run.log", "tee"),
        ("pip install einops", "dependenc"),
        ("uv add einops", "dependenc"),
        ("echo einops >> requirements.txt", "dependenc"),
        ("git push", "local"),
        ("gh pr create", "pull request"),
        ("sed -i s/a/b/ prepare.py", "prepare.py"),
    ],
)
def test_reasons_say_what_scripts_look_for(command: str, words: str) -> None:
    """The reason of a refusal holds the words that existing scripts search it for."""
    refusal = judge(command, GROUND)
    assert refusal is not None and words in refusal.reason
    assert refusal.text == f"{refusal.reason} {refusal.instead}"


def test_the_way_out_of_a_training_run_is_let_pass() -> None:
    """The command that a refused training run is told to use instead runs, for any lab's command."""
    for command in ("uv run train.py", "python src/main.py --fast", "./night.sh now"):
        ground = on(command=command)
        assert rule(command, ground) == "training"
        assert rule(f"{command} > run.log 2>&1", ground) is None


def test_a_branch_decides_whether_commits_may_be_thrown_away() -> None:
    """`git reset --hard` is for autoresearch branches; the branch that the command itself checks out counts."""
    assert rule("git reset --hard HEAD~1") is None
    assert rule("git reset --hard HEAD~1", on(branch="main")) == "reset"
    assert rule("git reset --hard HEAD~1", on(branch="")) == "reset"
    assert rule("git checkout -q main; git reset --hard HEAD~1") == "reset"


def test_paths_are_seen_from_where_the_command_starts() -> None:
    """The same word is a guarded file or not by the directory it is said in."""
    inside = on(cwd=Path("/work/lab/notes"))
    assert rule("rm prepare.py", inside) is None
    assert rule("rm ../prepare.py", inside) == "protected"
    assert rule("rm prepare.py", on(cwd=Path("/elsewhere"))) is None


def test_protected_may_be_directories_and_patterns() -> None:
    """`protected` covers what lies in a directory and what a pattern matches; what is editable is never guarded."""
    ground = on(protected=("eval", "data/*.bin", "src/*.py"), editable=("src/model.py",))
    assert rule("echo > eval/deep/x.py", ground) == "protected"
    assert rule("echo > data/a.bin", ground) == "protected"
    assert rule("echo > data/a.txt", ground) is None
    assert rule("echo > src/loss.py", ground) == "protected"
    assert rule("echo > src/model.py", ground) is None
    assert rule("sed -i s/a/b/ src/*.py", ground) == "protected"


def test_links_are_followed_where_the_ground_can(tmp_path: Path) -> None:
    """A link into a guarded directory is that directory, if the ground resolves paths."""
    (tmp_path / "research").mkdir()
    (tmp_path / "link").symlink_to("research")
    ground = Ground(root=tmp_path, cwd=tmp_path, home=Path("/home/user"), branch="")
    assert rule("echo > link/core.py", ground) is None
    assert rule("echo > link/core.py", altered(ground, resolve=Path.resolve)) == "control"


# --- nightlab.toml ----------------------------------------------------------------------------------------------


def lab(root: Path, policy: str) -> Ground:
    (root / CONFIG_NAME).write_text(f"[policy]\n{policy}\n", encoding="utf-8")
    return ground_of(load_settings(root), root, Path("/home/user"), "autoresearch/x")


def test_policy_can_be_turned_off(tmp_path: Path) -> None:
    """`enabled = false` lets everything pass."""
    assert rule("git push", lab(tmp_path, "")) == "publish"
    assert rule("git push", lab(tmp_path, "enabled = false")) is None


def test_a_lab_protects_more(tmp_path: Path) -> None:
    """`protect` names further guarded paths, beside the lab's protected files."""
    ground = lab(tmp_path, 'protect = ["eval"]')
    assert rule("cp /tmp/x eval/judge.py", ground) == "protected"
    assert rule("cp /tmp/x prepare.py", ground) == "protected"


def test_a_lab_allows_word_for_word(tmp_path: Path) -> None:
    """`allow` lets exactly that command pass, however it is quoted, and neither more words nor its redirections."""
    ground = lab(tmp_path, 'allow = ["pip install einops"]')
    assert rule("pip  install 'einops'", ground) is None
    assert rule("sudo pip install einops && ls", ground) is None
    assert rule("pip install einops evil", ground) == "dependency"
    assert rule("pip install einops > prepare.py", ground) == "protected"


def test_a_lab_forbids_by_first_words(tmp_path: Path) -> None:
    """`deny` refuses what begins with its words, wherever it hides, and tells the lab's reason."""
    ground = lab(tmp_path, 'deny = [{ command = "scancel", reason = "Jobs are shared." }, { command = "git gc" }]')
    for command in ("scancel 12", "/usr/bin/scancel", "bash -c 'scancel 1'", "echo 1 | xargs scancel"):
        refusal = judge(command, ground)
        assert refusal is not None and refusal.reason == "Jobs are shared."
    refusal = judge("git gc --prune=now", ground)
    assert refusal is not None and "git gc" in refusal.reason
    assert rule("git status; echo scancel", ground) is None


def test_a_rule_of_several_words_needs_them_all() -> None:
    """A rule is held against whole words."""
    ground = on(deny=(Deny(("git", "gc"), ""),))
    assert rule("git gc", ground) == "lab"
    assert rule("git gcc", ground) is None


def test_scripts_and_patches_are_read_along(tmp_path: Path) -> None:
    """What a script or a patch on disk would do is judged; a script beyond our grammar is let pass."""
    ground = lab(tmp_path, "")
    (tmp_path / "ship.sh").write_text("set -e\ngit push\n")
    (tmp_path / "odd.sh").write_text("echo 'unfinished\n")
    (tmp_path / "good.patch").write_text("--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-a\n+b\n")
    (tmp_path / "bad.patch").write_text("--- a/prepare.py\n+++ b/prepare.py\n@@ -1 +1 @@\n-a\n+b\n")
    assert rule("bash ship.sh", ground) == "publish"
    assert rule("./ship.sh", ground) == "publish"
    assert rule("bash odd.sh", ground) is None
    assert rule("git apply good.patch", ground) is None
    assert rule("git apply bad.patch", ground) == "protected"
    assert rule("patch -p1 < bad.patch", ground) == "protected"
    assert rule("git apply missing.patch", ground) == "unreadable"


def test_what_is_trained_cannot_be_smuggled_in_as_text(tmp_path: Path) -> None:
    """The training file given to Python as text is no way around the log."""
    ground = lab(tmp_path, "")
    (tmp_path / "train.py").write_text("print(1)\n")
    for command in (
        "python < train.py",
        "cat train.py | python",
        "cat train.py > /tmp/t.py; python /tmp/t.py",
        "python -c \"exec(open('train.py').read())\"",
    ):
        assert rule(command, ground) == "training"
    assert rule("python < train.py > run.log 2>&1", ground) is None


@pytest.mark.parametrize("command", ["echo exit > .agents/nightlab.sh", "rm -r .agents", "mv .agents elsewhere"])
def test_the_door_that_hooks_go_through_is_guarded(command: str) -> None:
    """What runs outside an agent's sandbox whenever it does anything is not the agent's to edit."""
    assert judge(command, GROUND) is not None


def test_going_through_the_door_is_no_edit() -> None:
    """An agent may ask the lab by the door that its hooks use."""
    assert judge("sh .agents/nightlab.sh status", GROUND) is None


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("nightlab exec --timeout 10 -- pip install einops", "dependency"),
        ("nightlab quick -- pip install einops", "dependency"),
        ("sh .agents/nightlab.sh exec -- pip install einops", "dependency"),
        ("bash /work/lab/.agents/nightlab.sh agents uninstall all", "control"),
        ("nightlab quick --runs 3 --metric loss -- sh -c 'git push'", "publish"),
        ("nightlab run --runs 2 --proposer 'git push'", "publish"),
        ("nightlab run --proposer=builtin --prop \"sh -c 'rm prepare.py'\"", "protected"),
        ("nightlab quick -- uv run train.py", None),
        ("nightlab run --hours 8 --proposer openai:any --proposer 'codex exec --skip-git-repo-check'", None),
        ('nightlab run --proposer "it\'s"', None),
    ],
)
def test_what_the_lab_is_to_run_for_an_agent_is_judged(command: str, expected: str | None) -> None:
    """As if it stood alone, but that its output does not flood the agent's context."""
    assert rule(command) == expected


def test_a_refusal_speaks_of_this_lab(tmp_path: Path) -> None:
    """It names the file that is guarded and the lab's own metric, and no metric where none is known."""
    refusal = judge("sed -i s/a/b/ eval.py", on(protected=("eval.py",)))
    assert refusal is not None and refusal.reason.startswith("eval.py is read-only")
    for metric, words in (("loss", 'grep "^loss:" run.log'), ("", "Read what counts: `tail -n 50 run.log`.")):
        shown = judge("uv run train.py > run.log 2>&1; cat run.log", on(metric=metric))
        assert shown is not None and words in shown.instead and "val_bpb" not in shown.instead
    (tmp_path / CONFIG_NAME).write_text('[metric]\nname = "loss"\ndirection = "minimize"\n')
    assert ground_of(load_settings(tmp_path), tmp_path, tmp_path, "").metric == "loss"


def test_the_table_is_open_and_the_record_is_not() -> None:
    """Scripts may append to results.tsv, as docs/policy.md says; what the lab answers for is guarded."""
    assert rule("printf 'x\\n' >> results.tsv") is None
    for name in ("results/memorylab/experiments.jsonl", "results/nightlab/lab.db", "results/discovery/state.json"):
        assert rule(f"echo x >> {name}") == "control"

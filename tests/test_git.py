"""Git by plumbing: what the lab makes, and that nothing of the user's is moved."""

from __future__ import annotations

import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.errors import GitError, NoRepositoryError
from nightlab.git import Git
from tests.builders import Repo, powerless, shared_directory

BRANCH = "refs/heads/autoresearch/nightlab"


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path / "repo")


@contextmanager
def environment(**variables: str | None) -> Iterator[None]:
    """These environment variables, for a while; None takes one away."""
    before = dict(os.environ)
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def tree_files(directory: Path) -> dict[str, tuple[bytes, int]]:
    """Every file below `directory` with its bytes (or link target) and mode."""
    found = {}
    for path in sorted(directory.rglob("*")):
        if path.is_symlink():
            found[str(path.relative_to(directory))] = (os.fsencode(os.readlink(path)), 0)
        elif path.is_file():
            found[str(path.relative_to(directory))] = (path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
    return found


def belongings(repo: Repo) -> dict[str, object]:
    """All that is the user's: files, index byte by byte, HEAD, branches and what `git status` says."""
    files = {name: entry for name, entry in tree_files(repo.root).items() if not name.startswith(".git/")}
    return {
        "files": files,
        "index": (repo.root / ".git" / "index").read_bytes(),
        "HEAD": (repo.root / ".git" / "HEAD").read_bytes(),
        "branches": repo.git("for-each-ref", "refs/heads", "refs/tags", "--format=%(refname) %(objectname)"),
        "status": repo.git("--no-optional-locks", "status", "--porcelain"),
    }


def use_everything(git: Git, scratch: Path) -> str:
    """One call of each thing that the lab does with git; the commit it makes."""
    head = git.head()
    tree = git.tree_with(head, {"train.py": "LR = 0.2\n", "new file.py": "A = 1\n"})
    commit = git.commit(tree, head, "an idea\n\nNightlab-Experiment: e1\n")
    git.checkout(git.tree_of(commit), scratch)
    git.keep("e1", commit)
    assert git.move(BRANCH, commit, None)
    git.ignore(["results/"])
    git.dirty(("train.py", "prepare.py"))
    git.worktree_of("main")
    git.trailers(commit, "Nightlab-Experiment")
    git.files(commit)
    git.read(commit, "train.py")
    git.branch()
    return commit


# --- nothing of the user's is moved -----------------------------------------------------------------------------


def test_nothing_of_the_users_is_moved(repo: Repo, tmp_path: Path) -> None:
    """Files, index, HEAD, branches and staged and unstaged changes are byte for byte what they were."""
    repo.write({"train.py": "LR = 0.3  # staged\n"})
    repo.git("add", "train.py")
    repo.write({"train.py": "LR = 0.3  # unstaged\n", "notes.txt": "mine", "prepare.py": "BUDGET = 1\n"})
    before = belongings(repo)
    use_everything(Git(repo.root), tmp_path / "out")
    after = belongings(repo)
    mine = [line for line in str(after["branches"]).splitlines() if not line.startswith(BRANCH)]
    assert {**after, "branches": "\n".join(mine)} == before


def test_not_even_the_index_is_refreshed(repo: Repo) -> None:
    """Asking what is dirty does not write the index: the user may be committing at this moment."""
    os.utime(repo.root / "train.py", (1, 1))
    index = repo.root / ".git" / "index"
    before = (index.read_bytes(), index.stat().st_mtime_ns)
    assert Git(repo.root).dirty(("train.py",)) == ()
    assert (index.read_bytes(), index.stat().st_mtime_ns) == before


def test_a_locked_index_is_no_obstacle(repo: Repo, tmp_path: Path) -> None:
    """While another git holds the user's index, the lab works on."""
    (repo.root / ".git" / "index.lock").touch()
    use_everything(Git(repo.root), tmp_path / "out")


def test_the_users_hooks_do_not_run(repo: Repo, tmp_path: Path) -> None:
    """Hooks of the repository neither see nor stop what the lab does."""
    for name in ("reference-transaction", "post-index-change", "pre-commit", "post-checkout", "commit-msg"):
        hook = repo.root / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/hook-ran\nexit 1\n")
        hook.chmod(0o755)
    use_everything(Git(repo.root), tmp_path / "out")
    assert not (tmp_path / "hook-ran").exists()


def test_signing_is_not_asked_for(repo: Repo, tmp_path: Path) -> None:
    """commit.gpgsign with a program that fails does not matter: a night cannot type a passphrase."""
    for key, value in {"commit.gpgsign": "true", "gpg.program": "/bin/false", "log.showSignature": "true"}.items():
        repo.git("config", key, value)
    use_everything(Git(repo.root), tmp_path / "out")


def test_no_identity_is_needed(repo: Repo, tmp_path: Path) -> None:
    """A machine without a name and e-mail address commits too, under the lab's name."""
    repo.git("config", "user.useConfigOnly", "true")
    with environment(HOME=str(tmp_path), EMAIL=None):
        commit = use_everything(Git(repo.root), tmp_path / "out")
    assert repo.git("log", "-1", "--format=%an %cn", commit) == "nightlab nightlab"


def test_a_hooks_environment_is_ignored(repo: Repo, tmp_path: Path) -> None:
    """Called from a git hook, whose GIT_DIR and GIT_INDEX_FILE point elsewhere, the lab stays in its own repository."""
    other = Repo.make(tmp_path / "other", {"a.txt": "other\n"})
    before = belongings(other)
    git_dir = other.root / ".git"
    with environment(GIT_DIR=str(git_dir), GIT_INDEX_FILE=str(git_dir / "index"), GIT_WORK_TREE=str(other.root)):
        git = Git(repo.root)
        commit = use_everything(git, tmp_path / "out")
    assert belongings(other) == before
    assert "train.py" in git.files(commit)


@pytest.mark.parametrize("head", ["branch", "detached"])
def test_head_stays_where_it_is(repo: Repo, tmp_path: Path, head: str) -> None:
    """On a branch or detached, HEAD is read and left alone."""
    if head == "detached":
        repo.git("checkout", "--quiet", "--detach")
    git = Git(repo.root)
    use_everything(git, tmp_path / "out")
    assert git.branch() == ("main" if head == "branch" else "HEAD")
    assert git.head() == repo.git("rev-parse", "HEAD")


# --- reading ----------------------------------------------------------------------------------------------------

NAMES = ["a b.py", "ünïcode/日本.py", "line\nbreak.py", 'quote".py', "tab\t.py", "-dash.py", "[x]*?.py", ":colon.py"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("prefix", ["", "labs/my lab/"])
def test_any_file_name_works(tmp_path: Path, name: str, prefix: str) -> None:
    """Names with spaces, newlines, quotes and foreign letters are listed, read, changed, written and compared."""
    repo = Repo.make(tmp_path / "repo", {prefix + name: "old\n"})
    git = Git(repo.root / prefix)
    head = git.head()
    assert git.files(head) == (name,)
    assert git.read(head, name) == b"old\n"
    assert git.dirty((name,)) == ()
    repo.write({prefix + name: "changed\n"})
    assert git.dirty((name,)) == (name,)
    tree = git.tree_with(head, {name: "new\n"})
    git.checkout(tree, tmp_path / "out")
    assert {path: data for path, (data, _) in tree_files(tmp_path / "out").items()} == {name: b"new\n"}


@given(data=st.binary(max_size=300))
def test_bytes_come_back_as_they_are(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    """What is no text is read byte for byte."""
    root = tmp_path_factory.getbasetemp() / "bytes"
    repo = Repo(root) if root.exists() else Repo.make(root)
    (root / "blob.bin").write_bytes(data)
    repo.git("add", "blob.bin")
    repo.git("commit", "--quiet", "--allow-empty", "-m", "bytes")
    assert Git(root).read("HEAD", "blob.bin") == data


def test_dirty_names_what_differs_from_head(repo: Repo) -> None:
    """Changed, staged, deleted and unknown files are dirty; others, and neighbours of theirs, are not."""
    repo.commit(dict.fromkeys(("same.py", "changed.py", "staged.py", "gone.py", "neighbour.py"), "x\n"))
    repo.write({"changed.py": "y\n", "staged.py": "y\n", "new.py": "z\n", "neighbour.py": "y\n"})
    repo.git("add", "staged.py")
    (repo.root / "gone.py").unlink()
    asked = ("same.py", "changed.py", "staged.py", "gone.py", "new.py")
    assert set(Git(repo.root).dirty(asked)) == {"changed.py", "staged.py", "gone.py", "new.py"}


def test_dirty_takes_names_literally(repo: Repo) -> None:
    """A file called `*` does not stand for all files."""
    repo.write({"train.py": "changed\n"})
    assert Git(repo.root).dirty(("*", "tr?in.py")) == ()


def test_dirty_of_nothing_is_nothing(repo: Repo) -> None:
    """No paths asked, none dirty, whatever else has changed."""
    repo.write({"train.py": "changed\n"})
    assert Git(repo.root).dirty(()) == ()


def test_a_lab_in_a_sub_directory_sees_its_own_files(tmp_path: Path) -> None:
    """Paths are relative to the lab; files beside it are neither listed, dirty nor checked out, but stay in commits."""
    repo = Repo.make(tmp_path / "repo", {"gpt/train.py": "LR = 1\n", "gpt/data/x": "x", "beside.py": "B = 1\n"})
    git = Git(repo.root / "gpt")
    head = git.head()
    assert git.files(head) == ("data/x", "train.py")
    repo.write({"beside.py": "B = 2\n", "gpt/train.py": "LR = 2\n"})
    assert git.dirty(("train.py",)) == ("train.py",)
    tree = git.tree_with(head, {"train.py": "LR = 3\n"})
    git.checkout(tree, tmp_path / "out")
    assert set(tree_files(tmp_path / "out")) == {"train.py", "data/x"}
    commit = git.commit(tree, head, "idea")
    assert repo.git("show", f"{commit}:beside.py") == "B = 1"
    assert git.read(commit, "train.py") == b"LR = 3\n"


def test_resolve_knows_commits_only(repo: Repo) -> None:
    """A branch, a short id and a tag resolve to a commit; a file's blob, a tree and nonsense do not."""
    git = Git(repo.root)
    head = git.head()
    repo.git("tag", "-a", "v1", "-m", "v1")
    assert {git.resolve(name) for name in ("main", head[:8], "v1", "HEAD")} == {head}
    assert {git.resolve(name) for name in ("HEAD:train.py", "HEAD^{tree}", "no-such", "", "--all")} == {None}


def test_parents(repo: Repo) -> None:
    """A commit's first parent is known, a root commit has none."""
    git = Git(repo.root)
    first = git.head()
    second = repo.commit({"train.py": "LR = 2\n"})
    assert (git.parent(second), git.parent(first)) == (first, None)


def test_trailers_of_all_ancestors(repo: Repo) -> None:
    """Trailers are found in the commit and everything before it, and only in the last paragraph of a message."""
    git = Git(repo.root)
    tree, tip = git.tree_of("HEAD"), git.head()
    for name in ("e1", "e2"):
        tip = git.commit(tree, tip, f"Nightlab-Experiment: not-{name}\n\nwhy\n\nNightlab-Experiment: {name}\n")
    assert git.trailers(tip, "Nightlab-Experiment") == {"e1", "e2"}


def test_known_commits_by_whatever_name(repo: Repo) -> None:
    """Full and abbreviated ids, as they were asked for; blobs, trees, strangers and numbers are none of them."""
    first = repo.git("rev-parse", "HEAD")
    second = repo.commit({"train.py": "LR = 0.2\n"}, "subject\n\nbody \x1f with a separator, é\n")
    tree, blob = repo.git("rev-parse", "HEAD^{tree}"), repo.git("rev-parse", "HEAD:train.py")
    strangers = ("", "f" * 40, "abcdef0", "main", "HEAD", tree, blob, first[:6], "-x", "1234", "a b", first.upper())
    found = Git(repo.root).known((second[:7], first, second, *strangers, first))
    assert found.keys() == {second[:7], first, second}
    fact = found[second[:7]]
    assert (fact, found[first].parent) == (found[second], None)
    assert (fact.id, fact.parent) == (second, first)
    assert fact.message == "subject\n\nbody \x1f with a separator, é"
    assert fact.at == float(repo.git("show", "-s", "--format=%ct", second))
    assert Git(repo.root).known(strangers) == Git(repo.root).known(()) == {}


def test_many_known_commits(repo: Repo) -> None:
    """Thousands of names are one question, however few of them are there."""
    head = repo.git("rev-parse", "HEAD")
    asked = [f"{number:040x}" for number in range(20_000)]
    assert Git(repo.root).known([*asked, head]).keys() == {head}


def test_known_commits_beside_a_users_taste(repo: Repo) -> None:
    """Colours, signatures and reverse order that the user has configured change nothing of what is read."""
    head = repo.git("rev-parse", "HEAD")
    for name, value in (("color.ui", "always"), ("log.showSignature", "true"), ("log.decorate", "full"),
                        ("format.pretty", "oneline"), ("log.abbrevCommit", "true")):  # fmt: skip
        repo.git("config", name, value)
    (fact,) = Git(repo.root).known([head]).values()
    assert (fact.id, fact.message) == (head, "start")


def test_a_line_follows_first_parents(repo: Repo) -> None:
    """Oldest first, without what was merged in; an empty message is one."""
    first = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "--quiet", "-b", "side")
    side = repo.commit({"side.py": "S = 1\n"}, "side")
    repo.git("checkout", "--quiet", "main")
    second = repo.commit({"train.py": "LR = 0.2\n"}, "second")
    repo.git("merge", "--quiet", "--no-ff", "-m", "merge", "side")
    merge = repo.git("rev-parse", "HEAD")
    repo.git("commit", "--quiet", "--allow-empty", "--allow-empty-message", "-m", "")
    line = Git(repo.root).line("main")
    assert [fact.id for fact in line] == [first, second, merge, repo.git("rev-parse", "HEAD")]
    assert [fact.parent for fact in line] == [None, first, second, merge]
    assert [fact.message for fact in line] == ["start", "second", "merge", ""]
    assert [fact.id for fact in Git(repo.root).line(side)] == [first, side]
    with pytest.raises(GitError, match="log failed"):
        Git(repo.root).line("nowhere")


def test_where_two_lines_part(repo: Repo) -> None:
    """The last commit in common; None where there is none, or no such branch."""
    git = Git(repo.root)
    first = repo.git("rev-parse", "HEAD")
    repo.git("checkout", "--quiet", "-b", "side")
    repo.commit({"side.py": "S = 1\n"}, "side")
    repo.git("checkout", "--quiet", "--orphan", "alone")
    repo.commit({"other.py": "O = 1\n"}, "alone")
    assert git.fork("main", "side") == git.fork("side", "main") == first
    assert git.fork("main", "alone") is None
    assert git.fork("main", "nowhere") is None
    assert git.fork("--all", "main") is None


@pytest.mark.parametrize("format_", ["sha1", "sha256"])
def test_files_of_many_commits(tmp_path: Path, format_: str) -> None:
    """The same as of each alone, in a subdirectory too, links left out; contents come by object id."""
    files = {"lab/train.py": "A = 1\n", "lab/deep/er/x.py": "X = 1\n", "lab/é ü.py": "", "other.py": "O = 1\n"}
    repo = Repo.make(tmp_path / "repo", files, options=(f"--object-format={format_}",))
    (repo.root / "lab" / "link.py").symlink_to("train.py")
    commits = [repo.git("rev-parse", "HEAD"), repo.commit({"lab/train.py": "A = 2\n"}), repo.commit({"lab/n": "\xff"})]
    for root in (repo.root, repo.root / "lab"):
        git = Git(root)
        assert dict(git.blobs_of([*commits, commits[0]])) == {commit: git.blobs(commit) for commit in commits}
    before = repo.git("rev-parse", "HEAD")
    repo.git("rm", "-rq", "lab")
    gone = repo.commit({"other.py": "O = 2\n"})
    (repo.root / "lab").mkdir(exist_ok=True)
    assert dict(Git(repo.root / "lab").blobs_of([gone])) == {gone: {}}
    blobs = dict(Git(repo.root).blobs_of([before]))[before]
    contents = Git(repo.root).contents([blobs["lab/train.py"], blobs["lab/é ü.py"], "0" * 40])
    assert contents == {blobs["lab/train.py"]: b"A = 2\n", blobs["lab/é ü.py"]: b""}
    assert Git(repo.root).contents([]) == {}
    assert dict(Git(repo.root).blobs_of([])) == {}


def test_where_a_branch_is_checked_out(repo: Repo, tmp_path: Path) -> None:
    """The directory of a checked-out branch is known, also in a linked worktree; others have none."""
    linked = tmp_path / "linked tree"
    repo.git("worktree", "add", "--quiet", "-b", "autoresearch/mar5", str(linked))
    repo.git("branch", "idle")
    git = Git(repo.root)
    assert git.worktree_of("main") == str(repo.root.resolve())
    assert git.worktree_of("autoresearch/mar5") == str(linked.resolve())
    assert git.worktree_of("idle") is None


# --- objects ----------------------------------------------------------------------------------------------------


def test_a_checkout_keeps_modes_and_links(repo: Repo, tmp_path: Path) -> None:
    """The executable bit and symbolic links survive, and an edited script stays executable."""
    repo.write({"run.sh": "#!/bin/sh\n", "edit.sh": "#!/bin/sh\n"})
    (repo.root / "run.sh").chmod(0o755)
    (repo.root / "edit.sh").chmod(0o755)
    (repo.root / "link").symlink_to("train.py")
    (repo.root / "dangling").symlink_to("nowhere/at all")
    head = repo.commit({})
    git = Git(repo.root)
    git.checkout(git.tree_with(head, {"edit.sh": "#!/bin/sh\ntrue\n", "new.py": ""}), tmp_path / "out")
    found = tree_files(tmp_path / "out")
    executable = {name for name, (_, mode) in found.items() if mode & stat.S_IXUSR}
    assert executable == {"run.sh", "edit.sh"}
    assert found["link"] == (b"train.py", 0)
    assert found["dangling"] == (b"nowhere/at all", 0)
    assert found["edit.sh"][0] == b"#!/bin/sh\ntrue\n"


def test_a_checkout_is_the_commit_and_not_the_working_tree(repo: Repo, tmp_path: Path) -> None:
    """Uncommitted changes and untracked files do not reach a workspace."""
    git = Git(repo.root)
    repo.write({"train.py": "LR = 9\n", "untracked.py": ""})
    git.checkout(git.tree_of("HEAD"), tmp_path / "deep" / "out")
    assert (tmp_path / "deep" / "out" / "train.py").read_text() == "LR = 0.1\n"
    assert not (tmp_path / "deep" / "out" / "untracked.py").exists()


def test_the_same_files_make_the_same_tree(repo: Repo) -> None:
    """A tree depends on its files alone: changing a file and changing it back gives the first tree."""
    git = Git(repo.root)
    head = git.head()
    assert git.tree_with(head, {"train.py": "LR = 0.1\n"}) == git.tree_with(head, {}) == git.tree_of(head)


def test_a_message_may_be_anything(repo: Repo) -> None:
    """Words of a model, with zero bytes and broken surrogates in them, do not stop a commit."""
    git = Git(repo.root)
    commit = git.commit(git.tree_of("HEAD"), git.head(), "odd \x00 \ud800 words\n\nwhy\n\nNightlab-Experiment: e1\n")
    assert git.trailers(commit, "Nightlab-Experiment") == {"e1"}


@pytest.mark.parametrize(
    ("ours", "theirs", "merged"),
    [
        ("a\nb\nC\n", "A\nb\nc\n", "A\nb\nC\n"),
        ("a\nB\nc\n", "A\nb\nc\n", "A\nB\nc\n"),  # neighbours
        ("a\nb\nc\nd\n", "b\nc\n", "b\nc\nd\n"),
        ("a\nb\nC", "A\nb\nc\n", "A\nb\nC"),  # no newline at the end
        ("a\nX\nc\n", "a\nY\nc\n", None),
        ("a\nc\n", "a\nY\nc\n", None),
        ("a\r\nb\nc\n", "a\nb\nC\n", "a\r\nb\nC\n"),
    ],
)
def test_texts_are_merged_line_by_line(repo: Repo, ours: str, theirs: str, merged: str | None) -> None:
    """Changes of different lines go together, neighbours too; two changes of one line are nobody's to choose from."""
    assert Git(repo.root).merge("a\nb\nc\n", ours, theirs) == merged


# --- refs -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["sha1", "sha256"])
def test_a_ref_moves_by_compare_and_swap(tmp_path: Path, format_: str) -> None:
    """A ref is made once, moves only from where it is believed to be, and a loser is told."""
    repo = Repo.make(tmp_path / "repo", options=(f"--object-format={format_}",))
    git = Git(repo.root)
    one = git.head()
    two, three = (git.commit(git.tree_of(one), one, name) for name in "ab")
    assert git.move(BRANCH, one, None)
    assert not git.move(BRANCH, two, None)
    assert git.resolve(BRANCH) == one
    assert git.move(BRANCH, two, one)
    assert not git.move(BRANCH, three, one)
    assert git.resolve(BRANCH) == two


def test_a_ref_that_cannot_exist_is_an_error(repo: Repo) -> None:
    """Where git refuses for another reason than a race, its words are passed on: trying again would never end."""
    repo.git("branch", "autoresearch")  # a file where the directory autoresearch/ would have to be
    git = Git(repo.root)
    with pytest.raises(GitError, match="autoresearch"):
        git.move(BRANCH, git.head(), None)


def test_kept_commits_survive_a_clean_up(repo: Repo) -> None:
    """An experiment's commit outlives `git gc`; one that nobody kept does not."""
    git = Git(repo.root)
    tree, head = git.tree_of("HEAD"), git.head()
    kept, lost = git.commit(tree, head, "kept"), git.commit(tree, head, "lost")
    git.keep("e1", kept)
    git.keep("e1", kept)
    repo.git("gc", "--quiet", "--prune=now")
    assert git.resolve(kept) == kept
    assert git.resolve(lost) is None


def test_a_kept_commit_is_never_replaced(repo: Repo) -> None:
    """The same source in another commit is kept beside the first one, which the records may name."""
    git = Git(repo.root)
    tree = git.tree_of(git.head())
    first, second = git.commit(tree, git.head(), "first"), git.commit(tree, git.head(), "second")
    for commit in (first, second, first, second):
        git.keep("e1", commit)
    assert git.resolve("refs/nightlab/experiments/e1") == first
    repo.git("gc", "--prune=now", "--quiet")
    assert git.resolve(second) == second


def test_a_place_that_cannot_be_written_is_named(repo: Repo, tmp_path: Path) -> None:
    """No room for a workspace or for a scratch index is git's error with the place's name, never a bare OSError."""
    git = Git(repo.root)
    (tmp_path / "file").write_text("")
    with pytest.raises(GitError, match=f"{tmp_path}/file/below cannot be written"):
        git.checkout(git.tree_of(git.head()), tmp_path / "file" / "below")
    before, tempfile.tempdir = tempfile.tempdir, str(tmp_path / "nowhere")
    try:
        with pytest.raises(GitError, match=r"nowhere.* cannot be written"):
            git.tree_with(git.head(), {"train.py": ""})
    finally:
        tempfile.tempdir = before


def test_outputs_are_excluded_once(tmp_path: Path) -> None:
    """Our outputs leave `git status` without touching .gitignore; a second call adds no line, the user's lines stay."""
    repo = Repo.make(tmp_path / "repo", {"gpt/train.py": ""})
    exclude = repo.root / ".git" / "info" / "exclude"
    exclude.parent.mkdir(exist_ok=True)
    exclude.write_text("# mine\n*.swp")
    repo.write({"gpt/results/x": "", "results/y": ""})
    for _ in range(2):
        Git(repo.root / "gpt").ignore(["results/", "results.tsv"])
    assert exclude.read_text() == "# mine\n*.swp\n/gpt/results/\n/gpt/results.tsv\n"
    assert repo.git("status", "--porcelain", "-uall") == "?? results/y"


def test_an_exclude_that_cannot_be_written_is_named() -> None:
    """A read-only .git, as in a coding agent's sandbox, gives an error that names the file and the way around."""
    with shared_directory() as place:
        repo = Repo.make(place / "repo")
        (repo.root / ".git" / "info").mkdir(exist_ok=True)
        (repo.root / ".git" / "info" / "exclude").write_text("")
        git = Git(repo.root)
        for path in (repo.root / ".git" / "info", repo.root / ".git" / "info" / "exclude"):
            path.chmod(0o555)
        with powerless(), pytest.raises(GitError, match="exclude") as caught:
            git.ignore(["results/"])
        assert "MCP server" in caught.value.hint
        (repo.root / ".git" / "info").chmod(0o755)


def test_a_linked_worktree_is_a_lab(repo: Repo, tmp_path: Path) -> None:
    """In a linked worktree everything works, and refs and exclude lines go to the common repository."""
    repo.git("worktree", "add", "--quiet", "-b", "other", str(tmp_path / "linked"))
    linked = Repo(tmp_path / "linked")
    linked.commit({"train.py": "LR = 7\n"})
    git = Git(linked.root)
    use_everything(git, tmp_path / "out")
    assert git.branch() == "other"
    assert repo.git("rev-parse", BRANCH) == git.resolve(BRANCH)
    assert "/results/" in (repo.root / ".git" / "info" / "exclude").read_text()


# --- no git, no repository, no commit ---------------------------------------------------------------------------


def test_git_may_be_missing(tmp_path: Path) -> None:
    """Without git on PATH the error says that, and nothing about repositories."""
    with environment(PATH=str(tmp_path)), pytest.raises(GitError, match="git is not installed"):
        Git(tmp_path)


def test_a_missing_directory_is_not_a_missing_git(tmp_path: Path) -> None:
    """A lab that is gone is called so."""
    with pytest.raises(NoRepositoryError, match="gone"):
        Git(tmp_path / "gone")


def test_no_repository(tmp_path: Path) -> None:
    """Outside a repository the error names the directory and the way out."""
    with pytest.raises(NoRepositoryError, match="no git repository") as caught:
        Git(tmp_path)
    assert "git init" in caught.value.hint


def test_no_commit_yet(tmp_path: Path) -> None:
    """A repository without a commit is named as such; its branch has a name already."""
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(tmp_path)], check=True)
    git = Git(tmp_path)
    assert git.branch() == "main"
    assert git.resolve("HEAD") is None
    with pytest.raises(NoRepositoryError, match="no commit yet"):
        git.head()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a repository to somebody else")
def test_somebody_elses_repository_is_named() -> None:
    """Where git refuses a repository because of its owner, its own advice (safe.directory) is passed on."""
    with shared_directory() as place:
        repo = Repo.make(place / "repo")
        os.chown(repo.root, 1234, 1234)
        with pytest.raises(GitError, match=r"safe\.directory"):
            Git(repo.root)


def test_a_failing_command_is_named(repo: Repo) -> None:
    """Git's own words are in the error, with the directory."""
    with pytest.raises(GitError, match=r"cat-file failed in .*repo"):
        Git(repo.root).read("HEAD", "no-such.py")

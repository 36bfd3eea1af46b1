"""Workspaces hold the committed files and nothing else, and what runs there is the workspace's own code."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nightlab.config import Settings
from nightlab.errors import ConfigError
from nightlab.git import Git
from nightlab.runner import workspace
from nightlab.runner.hashes import changed, hash_files
from nightlab.runner.order import RunFiles
from nightlab.types import RunId
from tests.builders import Repo
from tests.runner.orders import make_run

FILES = {
    "train.py": "import helper\nprint(helper.WHERE)\n",
    "helper.py": "WHERE = 'committed'\n",
    "prepare.py": "B = 1\n",
}


@contextmanager
def variables(**values: str) -> Iterator[None]:
    """Variables of our own process, for the time being."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path) -> Iterator[Path]:
    with variables(XDG_CACHE_HOME=str(tmp_path / "cache")):
        yield tmp_path / "cache"


@pytest.fixture
def lab(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path / "lab", FILES)


def make(lab: Repo, name: str = "r1", **settings: tuple[str, ...]) -> Path:
    git = Git(lab.root)
    return workspace.make(git, git.tree_of(git.head()), RunId(name), Settings(root=lab.root, **settings))  # type: ignore[arg-type]


def test_a_workspace_has_what_was_committed(lab: Repo, cache: Path) -> None:
    """Not what lies about in the lab, and outside the repository."""
    lab.write({"helper.py": "WHERE = 'edited'\n", "untracked.txt": "x"})
    place = make(lab)
    assert {path.name: path.read_text() for path in place.iterdir()} == FILES
    assert place.is_relative_to(cache)
    assert lab.git("status", "--porcelain").split() == ["M", "helper.py", "??", "untracked.txt"]


def test_a_cache_that_cannot_be_written_is_no_obstacle(lab: Repo, tmp_path: Path) -> None:
    """The temporary directory serves as well."""
    (tmp_path / "blocked").write_text("")
    with variables(XDG_CACHE_HOME=str(tmp_path / "blocked")):
        place = make(lab)
        assert (place / "train.py").is_file()
        workspace.discard(Settings(root=lab.root), RunId("r1"))
    assert not place.exists()


def test_untracked_inputs_are_linked(lab: Repo) -> None:
    """A run sees the lab's data; deleting the workspace leaves it alone."""
    lab.write({"data/a.bin": "1"})
    place = make(lab, link=("data",))
    assert (place / "data" / "a.bin").read_text() == "1"
    workspace.discard(Settings(root=lab.root), RunId("r1"))
    assert not place.exists()
    assert (lab.root / "data" / "a.bin").read_text() == "1"


@pytest.mark.parametrize(("link", "says"), [("nowhere", "does not exist"), ("helper.py", "git tracks it")])
def test_a_link_that_makes_no_sense_is_refused(lab: Repo, link: str, says: str) -> None:
    """By name, and no half-made workspace stays behind."""
    with pytest.raises(ConfigError, match=says):
        make(lab, link=(link,))
    assert workspace.sweep(Settings(root=lab.root), ()) == ()


def test_abandoned_workspaces_are_swept(lab: Repo) -> None:
    """Those of runs that are over, unless they are so new that a run may just be starting in them."""
    alive, dead, new = make(lab, "alive"), make(lab, "dead"), make(lab, "new")
    (dead / "locked").mkdir(mode=0o500)
    for place in (alive, dead):
        os.utime(place, (1, 1))
    assert workspace.sweep(Settings(root=lab.root), {RunId("alive")}) == (dead,)
    assert alive.exists()
    assert new.exists()
    assert not dead.exists()


# --- whose code runs --------------------------------------------------------------------------------------------


def run_there(lab: Repo, place: Path, env_dir: Path | None, *command: str) -> str:
    settings = Settings(root=lab.root, command=shlex.join(command))
    env = workspace.command_env(settings, make_run("r1", command), RunFiles(lab.root / "run"), place, env_dir)
    done = subprocess.run(command, cwd=place, env=os.environ | env, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def venv_with_lab(lab: Repo) -> Path:
    """An environment of the lab's own in which the lab is installed in editable mode."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(lab.root / ".venv")], check=True)
    site = next((lab.root / ".venv" / "lib").glob("python*/site-packages"))
    (site / "lab.pth").write_text(f"{lab.root}\n")
    found = workspace.lab_environment(Settings(root=lab.root))
    assert found == lab.root / ".venv"
    return found


def test_the_workspaces_module_runs(lab: Repo) -> None:
    """Also where the lab's own, different copy is installed in the environment and on the caller's path."""
    place = make(lab)
    (place / "helper.py").write_text("WHERE = 'workspace'\n")
    lab.write({"helper.py": "WHERE = 'lab'\n"})
    env_dir = venv_with_lab(lab)
    with variables(PYTHONPATH=str(lab.root)):
        assert run_there(lab, place, env_dir, "python", "train.py") == "workspace"
        assert run_there(lab, place, env_dir, "python", "-P", "-c", "import helper; print(helper.WHERE)") == "workspace"


@pytest.mark.skipif(shutil.which("uv") is None, reason="uv is not installed")
@pytest.mark.parametrize("project", [True, False])
def test_the_workspaces_module_runs_under_uv(lab: Repo, project: bool) -> None:
    """`uv run` takes the lab's environment as it is: no second one is made, and the lab's is not re-pointed."""
    if project:
        lab.commit(
            {"pyproject.toml": '[project]\nname="x"\nversion="0"\nrequires-python=">=3.11"\ndependencies=["numpy"]\n'}
        )
    place = make(lab)
    (place / "helper.py").write_text("import sys\nWHERE = 'workspace ' + sys.prefix\n")
    env_dir = venv_with_lab(lab)
    before = sorted(str(path) for path in env_dir.rglob("*.pth"))
    with variables(UV_OFFLINE="1"):
        assert run_there(lab, place, env_dir, "uv", "run", "train.py") == f"workspace {env_dir}"
    assert sorted(str(path) for path in env_dir.rglob("*.pth")) == before
    assert not (place / ".venv").exists()


@contextmanager
def no_environment() -> Iterator[None]:
    """Neither a virtual nor a conda environment is active."""
    with variables():
        for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "UV_PROJECT_ENVIRONMENT"):
            os.environ.pop(name, None)
        yield


def test_whose_python_runs(lab: Repo, tmp_path: Path) -> None:
    """The lab's own .venv, the active environment, conda's; then the caller's PATH, and nightlab's own for `uv run`."""
    bench, uv = Settings(root=lab.root, command="python bench.py"), Settings(root=lab.root, command="uv run train.py")
    conda, active = tmp_path / "conda", tmp_path / "active"
    (conda / "conda-meta").mkdir(parents=True)
    active.mkdir()
    (active / "pyvenv.cfg").write_text("")
    with no_environment():
        assert workspace.lab_environment(bench) is None
        assert workspace.lab_environment(uv) == Path(sys.prefix)
        with variables(CONDA_PREFIX=str(conda)):
            assert workspace.lab_environment(uv) == conda
            with variables(VIRTUAL_ENV=str(tmp_path / "gone")):
                assert workspace.lab_environment(bench) == conda
            with variables(VIRTUAL_ENV=str(active)):
                assert workspace.lab_environment(bench) == active
        venv_with_lab(lab)


def test_a_run_is_told_where_it_is(lab: Repo) -> None:
    """Programs that believe PWD work in the workspace, not where the lab was started from."""
    place = make(lab)
    with variables(PWD=str(lab.root)):
        found = run_there(lab, place, None, sys.executable, "-c", "import os; print(os.environ['PWD'])")
    assert found == str(place)


def test_without_an_environment_the_callers_path_holds(lab: Repo, tmp_path: Path) -> None:
    """A `python bench.py` finds the Python that it finds in the caller's shell, not nightlab's."""
    place = make(lab)
    tool = tmp_path / "bin" / "python"
    tool.parent.mkdir()
    tool.write_text('#!/bin/sh\necho "the user\'s: ${VIRTUAL_ENV-none} ${UV_PROJECT_ENVIRONMENT-none}"\n')
    tool.chmod(0o755)
    with no_environment(), variables(PATH=f"{tool.parent}:{os.environ['PATH']}"):
        found = workspace.lab_environment(Settings(root=lab.root, command="python train.py"))
        assert run_there(lab, place, found, "python", "train.py") == "the user's: none none"


@pytest.mark.parametrize(
    ("path", "paths", "roots"),
    [
        ("", ["train.py"], (".",)),
        ("", ["train.py", "src/json.py"], (".", "src")),
        ("{root}/lib:/elsewhere:{root}", ["src/a.py"], (".", "src", "lib")),
    ],
)
def test_where_imports_come_from(lab: Repo, path: str, paths: list[str], roots: tuple[str, ...]) -> None:
    """The lab itself, its src, and what the caller's PYTHONPATH says of the lab."""
    with variables(PYTHONPATH=path.format(root=lab.root)):
        assert workspace.import_roots(lab.root, paths) == roots


def test_a_user_without_a_name_has_workspaces(lab: Repo) -> None:
    """In a container whose uid is in no passwd file."""
    code = "import os\nfrom pathlib import Path\nfrom nightlab.runner.workspace import _candidates\n"
    code += "os.setuid(54321)\nprint(_candidates(Path('/'))[1])"
    if os.geteuid() != 0:
        pytest.skip("only root can be anybody")
    bare = {k: v for k, v in os.environ.items() if k not in ("USER", "LOGNAME", "LNAME", "USERNAME")}
    modules = os.pathsep.join(path for path in sys.path if path)
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=bare | {"PYTHONPATH": modules},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "nightlab-54321" in said.stdout


def test_each_gpu_place_sees_its_own_gpu(lab: Repo) -> None:
    """The n-th of those that the caller may see; the lab's own variables have the last word."""
    run = make_run("r1", ("true",))
    settings = Settings(root=lab.root, env={"AUTORESEARCH_SEED": "7"})

    def variable(device: str) -> str | None:
        from dataclasses import replace

        on = replace(run, environment=replace(run.environment, device=device))
        env = workspace.command_env(settings, on, RunFiles(lab.root), lab.root, Path(sys.prefix))
        assert env["AUTORESEARCH_SEED"] == "7"
        return env.get("CUDA_VISIBLE_DEVICES")

    with variables(CUDA_VISIBLE_DEVICES="2,5"):
        assert variable("cuda:1") == "5"
        assert variable("cpu:0") is None


# --- hashes -----------------------------------------------------------------------------------------------------


def test_patterns_name_files(tmp_path: Path) -> None:
    """`*` stays in one directory, `**` crosses them, a directory means all in it; compiled files are no source."""
    for path in ("a.py", "lib/b.py", "lib/deep/c.py", "lib/deep/d.txt", "lib/__pycache__/b.pyc", ".git/e.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)

    def named(*patterns: str) -> list[str]:
        return list(hash_files(tmp_path, patterns))

    assert named("a.py", "missing.py") == ["a.py"]
    assert named("*.py") == ["a.py"]
    assert named("*") == ["a.py"]
    assert named("**/*.py") == ["a.py", "lib/b.py", "lib/deep/c.py"]
    assert named("lib/**") == ["lib/b.py", "lib/deep/c.py", "lib/deep/d.txt"]
    assert named("lib") == named("lib/") == named("lib/**")
    assert named("lib/*/?.[pt]*") == ["lib/deep/c.py", "lib/deep/d.txt"]


def test_links_are_hashed_and_never_followed_out(tmp_path: Path) -> None:
    """Inside the root the content counts; a link that leads out is noticed by where it leads."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "a.py").write_text("a")
    (root / "b.py").symlink_to("a.py")
    (root / "c.py").symlink_to(root / "c.py")
    (tmp_path / "outside").write_text("a")
    before = hash_files(root, ["*.py"])
    assert before["a.py"] == before["b.py"]
    assert "c.py" not in before
    (root / "a.py").unlink()
    (root / "a.py").symlink_to(tmp_path / "outside")
    assert changed(root, before) == ("a.py", "b.py")

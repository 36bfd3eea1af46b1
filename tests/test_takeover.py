"""Other histories taken over: every row once, by whatever way it comes, with what the repository knows of it."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from nightlab.config import MetricSettings, Settings
from nightlab.errors import LedgerError, NotFoundError
from nightlab.ledger import Ledger, surface
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import Record
from nightlab.takeover import LARGEST, WEEK, Taken, adopt, take_over
from nightlab.types import Direction
from tests.builders import EPOCH, Repo, powerless, shared_directory

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
TABLE = (
    HEADER
    + "aaaaaaa\t0.997900\t44.0\tkeep\tbaseline\n"
    + "bbbbbbb\t0.993200\t44.2\tkeep\tincrease LR to 0.04\n"
    + "ccccccc\t1.005000\t44.0\tdiscard\tswitch to GeLU\n"
    + "ddddddd\t0.000000\t0.0\tcrash\tdouble width\n"
)
LINES = "".join(
    json.dumps(
        {
            "run_id": f"20260311T0430{place:02}Z-{commit}",
            "timestamp_utc": f"2026-03-11T04:30:{place:02}Z",
            "branch": "autoresearch/mar5",
            "commit": commit,
            "parent_commit": None,
            "family": "",
            "status": status,
            "description": description,
            "hypothesis": "",
            "tags": [],
            "notes": "",
            "metrics": {"val_bpb": value, "peak_vram_mb": 45056.0},
            "error": {"summary": "out of memory", "tail": [], "source": "run.log"} if value is None else None,
            "artifacts": {},
            "novelty_guard": {},
            "decision_packet": {},
        }
    )
    + "\n"
    for place, (commit, value, status, description) in enumerate(
        [
            ("aaaaaaa", 0.9979, "keep", "baseline"),
            ("bbbbbbb", 0.9932, "keep", "increase LR to 0.04"),
            ("ccccccc", 1.005, "discard", "switch to GeLU"),
            ("ddddddd", None, "crash", "double width"),
        ]
    )
)
NOW = EPOCH + 1e6


@dataclass
class Desk:
    """A lab, and a directory beside it for files."""

    repo: Repo
    settings: Settings
    beside: Path

    @classmethod
    def make(cls, directory: Path, metric: MetricSettings | None = None) -> Desk:
        repo = Repo.make(directory / "lab", {"train.py": "LR = 0.1\n"})
        settings = Settings(root=repo.root, metric=metric or MetricSettings())
        beside = directory / "beside"
        beside.mkdir()
        return cls(repo, settings, beside)

    def file(self, name: str, text: str | bytes, *, at: float = EPOCH) -> str:
        path = self.beside / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        os.utime(path, (at, at))
        return str(path)

    def take(self, *places: str, ranked: bool = True) -> list[Taken]:
        return take_over(self.settings, places, ranked=ranked, now=NOW)

    def news(self, *places: str) -> list[int]:
        return [one.new for one in self.take(*places)]

    def records(self) -> list[Record]:
        with Ledger.read(self.settings.database) as ledger:
            return list(ledger.records.all())

    def told(self) -> list[tuple[str, str, float | None]]:
        return [(r.description, r.status, r.value) for r in self.records()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.make(tmp_path)


TOLD = [
    ("baseline", "keep", 0.9979),
    ("increase LR to 0.04", "keep", 0.9932),
    ("switch to GeLU", "discard", 1.005),
    ("double width", "crash", None),
]


# --- files ------------------------------------------------------------------------------------------------------


def test_a_table_comes_in_once(desk: Desk) -> None:
    """Rows keep what they say; again, and as a longer version, only what is new comes in."""
    path = desk.file("results.tsv", TABLE)
    assert desk.news(path) == [4]
    assert desk.told() == TOLD
    (again,) = desk.take(path)
    assert (again.new, again.known, len(again.rows)) == (0, 4, 4)  # what it tells is told again
    longer = desk.file("longer.tsv", TABLE + "eeeeeee\t0.992000\t44.0\tkeep\twarmup 0.1\n")
    assert desk.news(longer) == [1]
    assert desk.told() == [*TOLD, ("warmup 0.1", "keep", 0.992)]


def test_a_run_that_was_made_twice_comes_in_twice(desk: Desk) -> None:
    """Equal rows of one file are repeats, and as many of them are known as are on record."""
    row = "aaaaaaa\t0.997900\t44.0\tkeep\tbaseline\n"
    assert desk.news(desk.file("a.tsv", HEADER + row + row)) == [2]
    assert desk.news(desk.file("b.tsv", HEADER + row + row + row)) == [1]


FORMS = {"table": TABLE, "lines": LINES, "no header": TABLE.removeprefix(HEADER), "commas": TABLE.replace("\t", ",")}


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(FORMS, 2)))
def test_the_same_rows_in_another_form_are_known(desk: Desk, first: str, second: str) -> None:
    """A table, JSON lines, a table without its header, commas: the runs are the same."""
    assert desk.news(desk.file("first", FORMS[first])) == [4]
    assert desk.news(desk.file("second", FORMS[second])) == [0]
    assert len(desk.records()) == 4


def test_several_files_at_once(desk: Desk) -> None:
    """Files that overlap are one history; the same file named twice is read once."""
    table, lines = desk.file("a.tsv", TABLE), desk.file("a.jsonl", LINES)
    assert desk.news(table, lines, table) == [4, 0]


def test_two_runs_of_one_name_are_two_runs(desk: Desk) -> None:
    """The older ledger gave two logs of one commit in one second the same name: neither is lost, now or later."""
    first, second, *_ = LINES.splitlines()
    twin = first.replace("0.9979", "0.9981")
    path = desk.file("a.jsonl", first + "\n")
    assert desk.news(path) == [1]
    assert desk.news(desk.file("b.jsonl", f"{first}\n{twin}\n{second}\n")) == [2]
    assert [r.value for r in desk.records()] == [0.9979, 0.9981, 0.9932]
    assert len({r.run for r in desk.records()}) == 3


def test_a_run_without_its_value_is_the_run(desk: Desk) -> None:
    """A line under the name of a run that is on record says nothing new without a value; with another one it does."""
    first = LINES.splitlines()[0]
    assert desk.news(desk.file("a.jsonl", first + "\n")) == [1]
    for place, value in enumerate(("null", "NaN", '"0.9979"')):
        assert desk.news(desk.file(f"{place}.jsonl", first.replace("0.9979", value) + "\n")) == [0]
    other = first.replace("0.9979", "null").replace("baseline", "another idea")
    assert desk.news(desk.file("b.jsonl", other + "\n")) == [1]


def test_runs_of_one_day_keep_apart(desk: Desk) -> None:
    """Dates without a time give many runs of one commit one moment: each is a run."""
    head = "date\tcommit\tval_bpb\tstatus\tdescription\n"
    rows = [f"2026-03-11\taaaaaaa\t0.99{place}\tkeep\tseed {place}\n" for place in range(4)]
    assert desk.news(desk.file("a.tsv", head + "".join(rows[:3]))) == [3]
    assert desk.news(desk.file("b.tsv", head + "".join(rows))) == [1]


def test_rows_are_no_younger_than_their_file(desk: Desk) -> None:
    """Without a moment a row happened when its file was written at the latest; with a later one too.

    What a file of tonight does not date lies a week back.
    """
    desk.take(desk.file("a.tsv", TABLE, at=EPOCH))
    assert {r.at for r in desk.records()} == {EPOCH}
    head = "timestamp\tcommit\tval_bpb\tstatus\tdescription\n"
    rows = "2020-01-01T00:00:00Z\teeeeeee\t0.9\tkeep\tearly\n2099-01-01T00:00:00Z\tfffffff\t0.9\tkeep\tlate\n"
    desk.take(desk.file("b.tsv", head + rows, at=EPOCH))
    moments = {r.description: r.at for r in desk.records()}
    assert (moments["early"], moments["late"]) == (1577836800.0, EPOCH)
    desk.take(desk.file("c.tsv", HEADER + "abababa\t0.9\t1.0\tkeep\tfrom a clock that is wrong\n", at=NOW + 1e6))
    assert desk.records()[-1].at == NOW - WEEK


def test_rows_without_a_moment_are_as_old_as_the_rows_before_them(desk: Desk) -> None:
    """They lie where the last row lies whose moment is known, and before the first such row a week back or with it."""
    head = "timestamp\tcommit\tval_bpb\tstatus\tdescription\n"
    moments = ["", "2020-01-01T00:00:00Z", "", "2021-01-01T00:00:00Z", ""]
    rows = [f"{moment}\tabcdef{place}\t0.9\tkeep\tidea {place}\n" for place, moment in enumerate(moments)]
    desk.take(desk.file("a.tsv", head + "".join(rows), at=NOW))
    first, second = 1577836800.0, 1609459200.0
    assert [r.at for r in desk.records()] == [first, first, first, second, second]
    tonight = desk.file("b.tsv", f"{head}\tfffffff\t0.9\tkeep\tx\n{NOW - 60}\teeeeeee\t0.9\tkeep\ty\n", at=NOW)
    desk.take(tonight)
    assert [r.at for r in desk.records()[-2:]] == [NOW - WEEK, NOW - 60]


def test_a_row_that_is_new_in_the_labs_own_table_is_new(desk: Desk) -> None:
    """What somebody appended since we last looked happened since then, though nobody tells when."""
    table = desk.repo.root / "results.tsv"
    desk.repo.write({"results.tsv": HEADER + "aaaaaaa\t0.99\t1.0\tkeep\told\n"})
    os.utime(table, (NOW - 5, NOW - 5))
    adopt(desk.settings, NOW)
    with table.open("a") as file:
        file.write("bbbbbbb\t0.98\t1.0\tkeep\tnew\n")
    os.utime(table, (NOW - 1, NOW - 1))
    adopt(desk.settings, NOW)
    assert [(r.description, r.at) for r in desk.records()] == [("old", NOW - WEEK), ("new", NOW - 1)]


def test_elsewhere_is_remembered_and_not_ranked(desk: Desk) -> None:
    """Rows from other conditions are on record without a rank, in the mirrors too."""
    desk.take(desk.file("a.tsv", TABLE), ranked=False)
    assert [r.ranked for r in desk.records()] == [False] * 4
    rows = [json.loads(line) for line in Mirrors(desk.repo.root).ledger.read_text().splitlines()]
    assert [("val_bpb" in row["metrics"], row["metrics"].get("value")) for row in rows] == [
        (False, 0.9979), (False, 0.9932), (False, 1.005), (True, None)
    ]  # fmt: skip
    assert json.loads(Mirrors(desk.repo.root).registry.read_text())["champion"] is None


@pytest.mark.parametrize(
    ("name", "direction"), [("val_loss", Direction.MINIMIZE), ("val_accuracy", Direction.MAXIMIZE)]
)
def test_another_metric_is_told_by_its_own_name(desk: Desk, name: str, direction: Direction) -> None:
    """Values of another metric are remembered, not ranked, and better the way that metric is."""
    (taken,) = desk.take(desk.file("a.tsv", TABLE.replace("val_bpb", name)))
    assert (taken.metric, taken.direction, taken.unranked) == (name, direction, {name: 3})
    assert [r.ranked for r in desk.records()] == [False, False, False, True]  # a crash has nothing to rank


def test_what_is_no_row_is_refused_with_the_reason(desk: Desk) -> None:
    """The other rows come in all the same."""
    (taken,) = desk.take(desk.file("a.tsv", TABLE + "one cell only\n"))
    assert (taken.new, [(r.line, r.text) for r in taken.refused]) == (4, [(6, "one cell only")])


@pytest.mark.parametrize("data", [b"", b"\n\n", HEADER.encode(), b"\x89PNG\r\n\x1a\n\x00\x00", b"\xff\xfe", b"# x\n"])
def test_a_file_without_a_row(desk: Desk, data: bytes) -> None:
    """Nothing is made of nothing."""
    (taken,) = desk.take(desk.file("a", data))
    assert taken.rows == ()
    assert desk.records() == []


def test_a_pipe_is_read_too(desk: Desk) -> None:
    """As the shell's <(...) gives one."""
    here, there = os.pipe()
    with os.fdopen(there, "wb") as file:
        file.write(TABLE.encode())
    assert desk.news(f"/dev/fd/{here}") == [4]
    os.close(here)
    assert {r.at for r in desk.records()} == {NOW - WEEK}


def test_thousands_of_runs_of_one_commit(desk: Desk) -> None:
    """Each gets a name of its own, and not by trying all names before."""
    rows = "".join(f"aaaaaaa\t{1 + place / 1e5:.6f}\t1.0\tdiscard\tseed\n" for place in range(3000))
    assert desk.news(desk.file("a.tsv", HEADER + rows)) == [3000]
    assert len({r.run for r in desk.records()}) == 3000


def test_a_commit_may_be_called_anything(desk: Desk) -> None:
    """Words that are no commit do not get into the names of runs, which are names of directories too."""
    desk.take(desk.file("a.tsv", HEADER + "../../x\t0.99\t1.0\tkeep\thostile\n1/2\t0.98\t1.0\tkeep\thostile too\n"))
    assert [r.commit for r in desk.records()] == ["../../x", "1/2"]
    assert not any("/" in r.run for r in desk.records())


# --- errors -----------------------------------------------------------------------------------------------------


def test_no_such_file_or_branch(desk: Desk) -> None:
    """Nothing is recorded of the others either, and the sentence says what may be named."""
    with pytest.raises(NotFoundError, match="nowhere is neither a file nor a branch") as caught:
        desk.take(desk.file("a.tsv", TABLE), "nowhere")
    assert "results.tsv" in caught.value.hint
    assert not desk.settings.database.exists()
    for odd in ("", "--all", "\udcff", "x" * 5000, "main..main"):
        with pytest.raises(NotFoundError):
            desk.take(odd)


def test_a_directory(desk: Desk) -> None:
    with pytest.raises(NotFoundError, match="is a directory"):
        desk.take(str(desk.beside))


def test_an_unreadable_file() -> None:
    """It is named, with the system's reason."""
    with shared_directory() as directory, powerless():
        desk = Desk.make(directory)
        path = desk.file("a.tsv", TABLE)
        os.chmod(path, 0)
        with pytest.raises(LedgerError, match=r"a\.tsv cannot be read: Permission denied"):
            desk.take(path)


def test_a_file_that_is_too_large(desk: Desk) -> None:
    """It is not read at all, and the sentence says how large one may be."""
    path = desk.file("a.tsv", "")
    os.truncate(path, 600 << 20)
    with pytest.raises(LedgerError, match="larger than 256 MiB") as caught:
        desk.take(path)
    assert "parts" in caught.value.hint
    with pytest.raises(LedgerError, match="larger than"):
        desk.take("/dev/zero")
    assert LARGEST == 256 << 20


# --- the lab's own files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "text"), [("results.tsv", TABLE), ("results/memorylab/experiments.jsonl", LINES)])
def test_the_labs_own_file(desk: Desk, name: str, text: str) -> None:
    """What older commands left is taken in as the mirror that it is, told once, and stays as it was written."""
    desk.repo.write({name: text})
    path = desk.repo.root / name
    os.utime(path, (EPOCH, EPOCH))
    (taken,) = desk.take(str(path))
    assert (taken.new, len(taken.rows), taken.metric) == (4, 4, "val_bpb")
    assert desk.told() == TOLD
    assert path.read_text() == text
    assert all(r.at <= EPOCH for r in desk.records())
    assert [(t.new, t.known) for t in desk.take(str(path))] == [(0, 4)]


@pytest.mark.parametrize("metric", ["val_bpb", "loss"])
@pytest.mark.parametrize("name", ["results.tsv", "results/memorylab/experiments.jsonl"])
def test_a_copy_of_the_labs_own_file(tmp_path: Path, name: str, metric: str) -> None:
    """Its rows are known, though mirrors call any metric val_bpb and this one's values are out of its bounds."""
    scale = 1.0 if metric == "val_bpb" else 1000.0
    desk = Desk.make(
        tmp_path, MetricSettings(name=metric) if scale == 1 else MetricSettings(name="loss", low=None, high=None)
    )
    desk.repo.write({"results.tsv": HEADER + f"aaaaaaa\t{scale:.6f}\t1.0\tkeep\tbaseline\n"})
    adopt(desk.settings, NOW)
    copy = desk.file("copy", (desk.repo.root / name).read_bytes())
    assert desk.news(copy) == [0]
    assert desk.told() == [("baseline", "keep", scale)]


def test_val_bpb_is_foreign_to_a_lab_with_another_metric(tmp_path: Path) -> None:
    """A history of val_bpb is not taken for one of this lab's metric because mirrors call it so."""
    desk = Desk.make(tmp_path, MetricSettings(name="loss", low=None, high=None))
    (taken,) = desk.take(desk.file("a.tsv", TABLE))
    assert (taken.metric, taken.unranked, taken.new) == ("val_bpb", {"val_bpb": 3}, 4)


def test_adopting_finds_commits(desk: Desk) -> None:
    """The first command in an old repository knows parents, moments and sources of the commits that are there."""
    root = desk.repo.git("rev-parse", "HEAD")
    here = desk.repo.commit({"train.py": "LR = 0.2\n"}, "higher")
    desk.repo.write({"results.tsv": HEADER + f"{here[:7]}\t0.99\t1.0\tkeep\thigher\nfffffff\t0.98\t1.0\tkeep\tgone\n"})
    os.utime(desk.repo.root / "results.tsv", (NOW - 5, NOW - 5))
    unseen = adopt(desk.settings, NOW)
    known, gone = desk.records()
    assert len(unseen.rows) == 2
    assert (known.parent, known.source_hash[:4]) == (root[:7], "nl1:")
    assert known.run.endswith(here[:7])
    assert (gone.parent, gone.source_hash) == (here[:7], "")  # what was kept last
    assert gone.at == known.at  # of the row before it: its own nobody knows


# --- commits ----------------------------------------------------------------------------------------------------


def test_rows_whose_commit_is_here(desk: Desk) -> None:
    """Parent, moment and source are git's; the same source in two commits is one experiment."""
    root = desk.repo.git("rev-parse", "HEAD")
    one = desk.repo.commit({"train.py": "LR = 0.2\n"}, "higher")
    same = desk.repo.commit({"train.py": "LR  =  0.2  # the same\n", "notes.md": "x"}, "again")
    rows = f"{one[:8]}\t0.99\t1.0\tkeep\thigher\n{same}\t0.991\t1.0\tdiscard\tagain\n1234\t0.98\t1.0\tkeep\tno commit\n"
    desk.take(desk.file("a.tsv", HEADER + rows, at=NOW))
    first, second, third = desk.records()
    assert (first.parent, second.parent, third.commit) == (root[:7], one[:7], "1234")
    assert first.source_hash == second.source_hash != ""
    assert first.at == float(desk.repo.git("show", "-s", "--format=%ct", one)) or first.at == NOW
    assert third.source_hash == ""


def branch(desk: Desk, *steps: tuple[str, str], name: str = "autoresearch/mar5") -> list[str]:
    """A branch with a commit for each text of train.py and message; their ids."""
    desk.repo.git("checkout", "--quiet", "-b", name)
    made = [desk.repo.commit({"train.py": text}, message) for text, message in steps]
    desk.repo.git("checkout", "--quiet", "main")
    return made


STEPS = (("LR = 0.2\n", "increase LR\n\nval_bpb: 0.9932"), ("LR = 0.3\n", "increase LR again\n\nval_bpb=0.9911 it is"))


def test_a_branch_of_experiments(desk: Desk) -> None:
    """Its baseline and each commit that changes an editable file, with values from messages and parents from git."""
    start = desk.repo.commit({"train.py": "LR = 0.15\n", "prepare.py": "B = 1\n"}, "development\n\nval_bpb: 0.9979")
    desk.repo.commit({"README.md": "words"}, "prose")
    fork = desk.repo.git("rev-parse", "HEAD")
    made = branch(desk, *STEPS)
    desk.repo.git("checkout", "--quiet", "autoresearch/mar5")
    desk.repo.commit({"notes.md": "no experiment"}, "notes")
    desk.repo.commit({"train.py": "LR = 0.3  # a comment\n"}, "only a comment")
    desk.repo.git("checkout", "--quiet", "main")
    (taken,) = desk.take("autoresearch/mar5")
    assert (taken.new, taken.metric) == (3, "val_bpb")
    records = desk.records()
    assert [(r.commit, r.parent, r.value, r.status, r.description) for r in records] == [
        (fork[:7], start[:7], None, "keep", "baseline"),
        (made[0][:7], fork[:7], 0.9932, "keep", "increase LR"),
        (made[1][:7], made[0][:7], 0.9911, "keep", "increase LR again"),
    ]
    assert {r.branch for r in records} == {"autoresearch/mar5"}
    assert len({r.source_hash for r in records} - {""}) == 3
    assert desk.news("autoresearch/mar5", "refs/heads/autoresearch/mar5") == [0, 0]


def test_a_commit_without_a_source_is_no_experiment(desk: Desk) -> None:
    """The file taken away and put back: only what changes it in between is one."""
    desk.repo.git("checkout", "--quiet", "-b", "autoresearch/mar5")
    desk.repo.git("rm", "--quiet", "train.py")
    desk.repo.commit({"x.md": ""}, "taken away")
    desk.repo.commit({"train.py": "LR = 0.2\n"}, "back, and changed")
    desk.repo.git("checkout", "--quiet", "main")
    desk.take("autoresearch/mar5")
    assert [one[0] for one in desk.told()] == ["baseline", "back, and changed"]


def test_the_branchs_own_table_of_another_metric(desk: Desk) -> None:
    """It is told by that metric's name, and not ranked."""
    made = branch(desk, ("LR = 0.2\n", "increase LR"))
    desk.repo.git("checkout", "--quiet", "autoresearch/mar5")
    rows = f"{made[0][:7]}\t0.9932\t1.0\tkeep\tincrease LR\n"
    desk.repo.commit({"results.tsv": HEADER.replace("val_bpb", "val_loss") + rows}, "results")
    desk.repo.git("checkout", "--quiet", "main")
    (taken,) = desk.take("autoresearch/mar5")
    assert (taken.metric, taken.unranked) == ("val_loss", {"val_loss": 1})


def test_experiments_on_the_only_branch(desk: Desk) -> None:
    """Where nothing was left, the first source is the baseline."""
    desk.repo.commit({"train.py": "LR = 0.2\n"}, "up, val_bpb: 0.99")
    desk.take("main")
    assert desk.told() == [("baseline", "keep", None), ("up, val_bpb: 0.99", "keep", 0.99)]


def test_the_branchs_own_table(desk: Desk) -> None:
    """Values and discards come from the results.tsv that the branch carries, every replicate; the rest from git."""
    base = desk.repo.git("rev-parse", "HEAD")
    made = branch(desk, ("LR = 0.2\n", "increase LR"), ("LR = 0.3\n", "not in the table"))
    table = (
        f"{base[:7]}\t0.9979\t1.0\tkeep\tbaseline\n{made[0][:7]}\t0.9932\t1.0\tkeep\tincrease LR\n"
        f"{made[0][:7]}\t0.9934\t1.0\tkeep\tincrease LR\neeeeeee\t1.1\t1.0\tdiscard\ttaken back\n"
    )
    desk.repo.git("checkout", "--quiet", "autoresearch/mar5")
    desk.repo.commit({"results.tsv": HEADER + table}, "results")
    desk.repo.git("checkout", "--quiet", "main")
    assert desk.news("autoresearch/mar5") == [5]
    assert desk.told() == [
        ("baseline", "keep", 0.9979), ("increase LR", "keep", 0.9932), ("increase LR", "keep", 0.9934),
        ("taken back", "discard", 1.1), ("not in the table", "keep", None),
    ]  # fmt: skip
    first, second, third, discarded, last = desk.records()
    assert second.source_hash == third.source_hash != first.source_hash
    assert (second.parent, last.parent) == (base[:7], made[0][:7])
    assert discarded.source_hash == ""
    assert desk.news("autoresearch/mar5") == [0]


@pytest.mark.parametrize("order", [("branch", "table"), ("table", "branch"), ("mirror", "branch")])
def test_a_branch_and_a_table_of_it(desk: Desk, order: Sequence[str]) -> None:
    """The runs that both tell of are on record once, whichever came first, where both give the value."""
    base = desk.repo.git("rev-parse", "HEAD")
    made = branch(desk, ("LR = 0.2\n", "increase LR\n\nval_bpb: 0.9932"))
    rows = HEADER + f"{base[:7]}\t0.9979\t1.0\tkeep\tbaseline\n{made[0][:7]}\t0.9932\t1.0\tkeep\tincrease LR\n"
    for step in order:
        if step == "branch":
            desk.take("autoresearch/mar5")
        elif step == "table":
            desk.take(desk.file("a.tsv", rows))
        else:
            desk.repo.write({"results.tsv": rows})
            desk.take(str(desk.repo.root / "results.tsv"))
    told = [one for one in desk.told() if one[2] is not None]
    assert sorted(told) == [("baseline", "keep", 0.9979), ("increase LR", "keep", 0.9932)]


def test_values_of_the_labs_table_go_to_the_branch(desk: Desk) -> None:
    """A results.tsv that nobody committed tells of the branch's commits too."""
    made = branch(desk, ("LR = 0.2\n", "increase LR"))
    desk.repo.write(
        {"results.tsv": HEADER + f"{made[0][:7]}\t0.9932\t1.0\tkeep\tincrease LR\nfffffff\t2\t1\tdiscard\tx\n"}
    )
    (taken,) = desk.take("autoresearch/mar5")
    assert [(row.description, row.metrics and row.metrics.primary) for row in taken.rows] == [
        ("baseline", None), ("increase LR", 0.9932)
    ]  # fmt: skip
    assert sorted(desk.told(), key=str) == [
        ("baseline", "keep", None), ("increase LR", "keep", 0.9932), ("x", "discard", 2.0)
    ]  # fmt: skip


def test_a_commit_whose_source_is_on_record_says_nothing_new(desk: Desk) -> None:
    """A branch without values adds no second, empty record to what a table has told of the same source."""
    made = branch(desk, ("LR = 0.2\n", "increase LR"))
    desk.take(desk.file("a.tsv", HEADER + f"{made[0][:7]}\t0.9932\t1.0\tkeep\tother words\n"))
    assert desk.news("autoresearch/mar5") == [1]  # the baseline


@pytest.mark.parametrize(
    ("message", "value"),
    [
        ("val_bpb: 0.9931", 0.9931),
        ("val_bpb = 0.9931.", 0.9931),
        ("val_bpb: 0.9979 -> 0.9931", 0.9931),
        ("better (val_bpb: 9.931e-1)", 0.9931),
        ("val_bpb: 0.9931 (baseline val_bpb: 0.9979)", None),  # which one was measured is not known
        ("val_bpb: nan", None),
        ("val_bpb: 0.0", None),
        ("val_bpb: 400000", None),
        ("val_bpb improved by 0.01", None),
        ("my_val_bpb: 0.9931", None),
        ("val_bpb: 12abc", None),
    ],
)
def test_values_in_messages(desk: Desk, message: str, value: float | None) -> None:
    """A message states a value, or none; a value is never guessed."""
    branch(desk, ("LR = 0.2\n", message))
    desk.take("autoresearch/mar5")
    assert desk.records()[-1].value == value


def test_a_file_goes_before_a_branch_of_its_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The branch is named in full then; a directory of its name is no obstacle."""
    branch(desk, *STEPS, name="mar5")
    monkeypatch.chdir(desk.beside)
    desk.file("mar5", TABLE)
    assert desk.news("mar5", "refs/heads/mar5") == [4, 3]
    (desk.beside / "mar5").unlink()
    (desk.beside / "mar5").mkdir()
    assert desk.news("mar5") == [0]


def test_a_lab_in_a_subdirectory_with_a_file_that_is_no_text(tmp_path: Path) -> None:
    """Paths are the lab's; a source that is no text is unknown, and its commit an experiment all the same."""
    repo = Repo.make(tmp_path / "repo", {"lab/train.py": "A = 1\n", "other.py": "B = 1\n"})
    (repo.root / "lab" / "train.py").write_bytes(b"\xff\xfe")
    repo.commit({"lab/x": "y"}, "no text")
    settings = replace(Settings(root=repo.root / "lab"), editable=("train.py",))
    take_over(settings, ["main"], ranked=True, now=NOW)
    with Ledger.read(settings.database) as ledger:
        records = list(ledger.records.all())
    assert [(r.description, bool(r.source_hash)) for r in records] == [("baseline", True), ("no text", False)]


def test_without_git(tmp_path: Path) -> None:
    """A lab that is under no version control takes tables in too."""
    path = tmp_path / "a.tsv"
    path.write_text(TABLE)
    (tmp_path / "lab").mkdir()
    (taken,) = take_over(Settings(root=tmp_path / "lab"), [str(path)], ranked=True, now=NOW)
    assert taken.new == 4


# --- mirrors ----------------------------------------------------------------------------------------------------


def test_what_was_taken_in_is_in_the_mirrors(desk: Desk) -> None:
    """experiments.jsonl and the registry have every row; results.tsv keeps what was written there."""
    desk.repo.write({"results.tsv": HEADER + "eeeeeee\t0.990000\t1.0\tkeep\tours\n"})
    desk.take(desk.file("a.tsv", TABLE))
    mirrors = Mirrors(desk.repo.root)
    rows = [json.loads(line) for line in mirrors.ledger.read_text().splitlines()]
    assert [row["description"] for row in rows] == ["ours", *(one[0] for one in TOLD)]
    registry = json.loads(mirrors.registry.read_text())
    assert (registry["num_experiments"], registry["champion"]["description"]) == (5, "ours")
    assert mirrors.tsv.read_text() == surface.TSV_HEADER + "eeeeeee\t0.990000\t1.0\tkeep\tours\n"

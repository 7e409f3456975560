"""What goes wrong around a run: disks, signals, hangs, folders that are not what they claim to be."""

import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import msgspec
import pytest

from trl_suite import files, record
from trl_suite.errors import StorageError
from trl_suite.evidence.reading import run_archive
from trl_suite.experiment.places.local import InProcess, Processes
from trl_suite.experiment.planning import grid
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.running import run_folder, run_state
from trl_suite.experiment.running.overview import overview
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification import experiment_file
from trl_suite.record import RunRecord

from .conftest import Hearing, left_behind, make, results, wait_for_step

CHECKPOINTS = "\n[execution]\ncheckpoint = 0.0\n"


def command(tiny, runs, *more: str) -> list[str]:
    return [sys.executable, "-m", "trl_suite.cli", "run", str(tiny), "--runs", str(runs), *more]


def runs_in(root) -> dict[str, RunRecord]:
    return {str(path.parent.relative_to(root)): record.decode(path, RunRecord) for path in root.glob("*/*/*/run.json")}


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def children(pid: int) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found += [int(path.parent.name), *children(int(path.parent.name))]
    return found


@pytest.mark.slow
def test_two_commands_share_an_experiment_and_make_every_run_once(tiny, tmp_path, finished):
    runs = tmp_path / "runs"
    both = [subprocess.Popen(command(tiny, runs, "--workers", "1", "--quiet"), stdout=subprocess.DEVNULL) for _ in "ab"]
    assert [process.wait(timeout=300) for process in both] == [0, 0]
    root = runs / "tiny"
    assert results(root) == results(finished)
    assert left_behind(root) == []
    assert all(one.attempts == 1 for one in runs_in(root).values())


@pytest.mark.parametrize("number", [signal.SIGTERM, pytest.param(signal.SIGUSR1, marks=pytest.mark.slow)])
def test_a_signal_keeps_what_there_is_and_the_same_command_goes_on(tiny, tmp_path, finished, number):
    (tiny / "experiment.toml").write_text((tiny / "experiment.toml").read_text() + CHECKPOINTS)
    runs = tmp_path / "runs"
    with subprocess.Popen(command(tiny, runs), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        wait_for_step(runs / "tiny", "*/source/*", 104)
        sent = time.monotonic()
        process.send_signal(number)
        rest = process.stdout.read()
    assert process.returncode == 75, rest
    assert time.monotonic() - sent < 30
    assert "interrupted; the same command goes on" in rest
    assert "Traceback" not in rest
    counts = overview(runs / "tiny").counts
    assert counts["interrupted"] > 0
    assert counts["running"] == counts["failed"] == 0
    assert run(tiny, runs=runs, on="here").tally.interrupted is False
    assert results(runs / "tiny") == results(finished)
    assert any(one.attempts > 1 for one in runs_in(runs / "tiny").values())


@pytest.mark.slow
def test_workers_do_not_outlive_their_parent_and_the_next_command_goes_on(tiny, tmp_path, finished):
    (tiny / "experiment.toml").write_text((tiny / "experiment.toml").read_text() + CHECKPOINTS)
    runs = tmp_path / "runs"
    with subprocess.Popen(command(tiny, runs), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        wait_for_step(runs / "tiny", "*/source/*", 104)
        workers = children(process.pid)
        process.kill()
    assert workers
    until = time.monotonic() + 10
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, workers))
    assert overview(runs / "tiny").counts["interrupted"] > 0
    assert len(run(tiny, runs=runs, workers=2).tally.done) == 8
    assert results(runs / "tiny") == results(finished)
    assert left_behind(runs / "tiny") == []


@pytest.mark.slow
def test_a_worker_that_hangs_is_noticed_and_its_runs_go_on(tiny, tmp_path, finished):
    root = tmp_path / "runs"
    place, stopped = Processes(1), []

    def hang(step, news):
        if news.step and not stopped:
            stopped.extend(place.pids)
            os.kill(place.pids[0], signal.SIGSTOP)

    hearing = Hearing(hang)
    tally = make(tiny, root, hearing, place, slice(1), checkpoint=0.0, silence=6.0, retries=9)
    assert len(tally.done) == 1
    assert any(news.error and "hung: no sign of life for 6 s" in news.error for news in hearing.news)
    assert results(root).items() <= results(finished).items()


def test_what_fails_again_and_again_is_given_up_and_the_rest_goes_on(tiny, tmp_path):
    root, place = tmp_path / "runs", Processes(1)

    def kill(step, news):
        if step.role == "source" and news.value is not None:
            os.kill(place.pids[0], signal.SIGKILL)

    hearing = Hearing(kill)
    tally = make(tiny, root, hearing, place, slice(2), retries=2)
    assert [step.role for step in tally.failed] == ["source"]
    assert [step.method for step in tally.done] == ["scratch"]
    failed = record.decode(root / tally.failed[0].folder / "run.json", RunRecord)
    assert (failed.attempts, failed.failures) == (3, 3)
    assert "code -9" in failed.error


class Broken:
    """While it is entered, the `at`-th write below a folder fails, and those after it: a disk is full."""

    def __init__(self, at: int, root: Path) -> None:
        self.at, self.root, self.count = at, root, 0
        self._patch = pytest.MonkeyPatch()

    def __enter__(self):
        self._patch.setattr(io, "open", self._guarded(io.open, reads=True))
        for name in ("mkdir", "rename", "replace", "link"):
            self._patch.setattr(os, name, self._guarded(getattr(os, name)))
        return self

    def __exit__(self, *_):
        self._patch.undo()

    def _guarded(self, real, reads=False):
        def call(path, *args, **kwargs):
            mode = args[0] if args else kwargs.get("mode", "r")
            writes = not reads or (isinstance(mode, str) and set(mode) & set("wax+"))
            if writes and isinstance(path, str | os.PathLike) and str(path).startswith(str(self.root)):
                self.count += 1
                if self.count >= self.at:
                    raise OSError(28, "No space left on device", str(path))
            return real(path, *args, **kwargs)

        return call


def survives_a_write_error(tiny, root: Path, at: int, finished) -> bool:
    """Return whether there were as many writes; whatever was broken goes on once it is not."""
    run_folder.write_plan(root, grid.plan_record("tiny", experiment_file.load(tiny), ""))

    def once():
        return make(tiny, root, Hearing(), InProcess(Stop()), slice(1), checkpoint=0.0, retries=0)

    with Broken(at, root) as broken:
        try:
            tally = once()
            storage, done = tally.storage, len(tally.done) == 1
        except StorageError as error:  # the plan could not even be written
            storage, done = error, False
    if broken.count >= at and not done:  # giving the lease back can do without a write
        assert storage is not None, at
        assert storage.full
        assert "No space left on device" in str(storage)
    assert len(once().done) == 1, at
    found = results(root)
    assert found.items() <= results(finished).items(), at
    assert len(found) == 2
    assert left_behind(root) == []
    return broken.count >= at


def test_a_write_error_leaves_a_folder_that_goes_on(tiny, tmp_path, finished):
    for at in (1, 2, 5, 11, 24):
        assert survives_a_write_error(tiny, tmp_path / str(at), at, finished)


@pytest.mark.faults
def test_an_error_at_every_write_leaves_a_folder_that_goes_on(tiny, tmp_path, finished):
    at = 1
    while survives_a_write_error(tiny, tmp_path / str(at), at, finished):
        at += 1
    assert at > 50


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_named(tiny, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir(mode=0o500)
    done = subprocess.run(command(tiny, runs), capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "choose another folder with --runs" in done.stderr


@pytest.mark.parametrize("limit", [3_000, pytest.param(9_000, marks=pytest.mark.slow)])  # the plan; a checkpoint
def test_a_disk_that_is_full_ends_the_command_with_five(tiny, tmp_path, limit):
    """A limit on the size of files stands in for a small disk, which only root could mount."""
    (tiny / "experiment.toml").write_text((tiny / "experiment.toml").read_text() + CHECKPOINTS)
    code = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); "
    code += f"import sys; sys.argv = {['trl-suite', *command(tiny, tmp_path / 'runs', '--quiet')[3:]]!r}; "
    code += "from trl_suite.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr


def damaged(root: Path, how: str) -> str:
    """Spoil one finished run's folder; return it."""
    folder = next(iter(sorted(root.glob("*gravity-1.5/scratch/seed-0*"))))
    path = folder / "run.json"
    run_ = json.loads(path.read_text())
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
        return str(folder.relative_to(root))
    if how == "edited":
        run_["specification"]["steps"] = 7
    elif how == "newer":
        run_["schema"] = 99
    elif how == "copied":
        run_ = json.loads(next(iter(sorted(root.glob("*gravity-1.5/scratch/seed-1*/run.json")))).read_text())
    path.write_text(json.dumps(run_))
    return str(folder.relative_to(root))


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("truncated", "is damaged"),
        ("edited", "was edited"),
        ("newer", "schema 99, newer than this version reads"),
        ("copied", "is of another run"),
    ],
)
def test_a_folder_that_is_not_what_it_claims_is_named_and_left_alone(tiny, tmp_path, finished, how, why):
    shutil.copytree(finished, tmp_path / "runs" / "tiny")
    root = tmp_path / "runs" / "tiny"
    folder = damaged(root, how)
    before = {path: path.read_bytes() for path in (root / folder).rglob("*") if path.is_file()}
    tally = run(tiny, runs=tmp_path / "runs").tally
    assert list(tally.refused) == [folder]
    assert why in tally.refused[folder]
    assert len(tally.done) == 7
    assert {path: path.read_bytes() for path in (root / folder).rglob("*") if path.is_file()} == before
    found = overview(root)
    assert found.counts["refused"] == 1
    assert why in found.refused[folder]


def test_a_changed_file_adds_runs_and_says_which_belong_to_which_version(tiny, tmp_path, finished):
    shutil.copytree(finished, tmp_path / "runs" / "tiny")
    root = tmp_path / "runs" / "tiny"
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("seeds    = [0, 1]", "seeds = [0]").replace("steps = 256", "steps = 128"))
    assert len(run(tiny, runs=tmp_path / "runs", on="here").tally.done) == 4
    found = overview(root)
    assert found.version == 2
    assert found.counts["done"] == 4
    assert len(found.earlier) == 1 + 6  # a source of a seed that is gone, and six targets of another length
    assert set(found.earlier.values()) == {1}
    path.write_text(path.read_text().replace("seeds = [0]", "seeds = [0, 1]").replace("steps = 128", "steps = 256"))
    assert len(run(tiny, runs=tmp_path / "runs", on="here").tally.done) == 8
    assert overview(root).version == 3
    assert set(overview(root).earlier.values()) == {2}


def test_other_versions_are_refused_unless_they_are_allowed(tiny, tmp_path):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("steps = 512", "steps = 12_800"))
    root, place, killed = tmp_path / "runs", Processes(1), []

    def kill(step, news):
        if not killed and list(root.glob("*/*/*/checkpoint/step-*/manifest.json")):
            killed.append(news)
            os.kill(place.pids[0], signal.SIGKILL)

    make(tiny, root, Hearing(kill), place, slice(1), checkpoint=0.0, retries=0)
    for path in root.glob("*/*/*/checkpoint/*/facts.json"):
        table = json.loads(path.read_text())
        table["versions"]["torch"] = "1.0"
        path.write_text(json.dumps(table))
        manifest = json.loads((path.parent / "manifest.json").read_text())
        content = path.read_bytes()
        manifest["facts.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
        (path.parent / "manifest.json").write_text(json.dumps(manifest))
    hearing = Hearing()
    tally = make(tiny, root, hearing, InProcess(Stop()), slice(1), retries=0)
    assert len(tally.failed) == 1
    error = next(news.error for news in hearing.news if news.error)
    assert "was begun with other versions (torch 1.0 -> " in error
    assert "--mix-versions" in error
    assert len(make(tiny, root, Hearing(), InProcess(Stop()), slice(1), mix_versions=True).done) == 1


def test_status_is_machine_readable(finished):
    done = subprocess.run(
        [sys.executable, "-m", "trl_suite.cli", "status", str(finished), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["counts"]["done"] == 8


def test_stale_temporaries_of_the_dead_are_swept_and_those_of_the_living_are_not(tmp_path):
    mine = files.temporary(tmp_path / "plan.json")
    mine.write_text("")
    dead = mine.with_name(mine.name.replace(str(os.getpid()), "999999999"))
    dead.write_text("")
    files.sweep(tmp_path)
    assert mine.exists()
    assert not dead.exists()


def test_a_storage_error_keeps_what_it_says_on_its_way_between_processes():
    error = pickle.loads(pickle.dumps(StorageError("full", full=True)))
    assert (str(error), error.full) == ("full", True)


def test_the_shipped_results_are_what_they_claim(tmp_path):
    """A run's identity comes from what it was asked to do: no later option may change it."""
    with tarfile.open(experiment_file.locate("quickstart") / "results" / run_archive.ARCHIVE_FILE) as kept:
        kept.extractall(tmp_path, filter="data")
    found = [run_state.read(path.parent) for path in tmp_path.glob("*/*/*/run.json")]
    assert len(found) > 10
    assert {state.condition for state in found} == {"done"}


def test_planning_and_status_of_thousands_take_no_time(tiny, tmp_path):
    """A tenth of ten thousand here, so that a slow machine passes; the whole is some 2 s on one core."""
    path = tiny / "experiment.toml"
    seeds = list(range(250))
    path.write_text(path.read_text().replace("seeds    = [0, 1]", f"seeds = {seeds}"))
    root = tmp_path / "runs"
    specification = experiment_file.load(tiny)
    begun = time.process_time()
    steps = grid.run_specs(specification)
    run_folder.write_plan(root, grid.plan_record("tiny", specification, "", steps))
    planned = time.process_time() - begun
    for step in steps:
        (root / step.folder).mkdir(parents=True)
        one = RunRecord(
            experiment="tiny", role=step.role, env=step.env, method=step.method,
            algorithm="ppo", seed=step.seed, steps=step.steps, digest=step.digest,
            specification=step.specification, status="done", seconds=1.0,
        )  # fmt: skip
        (root / step.folder / "run.json").write_bytes(record.encode(one))
    begun = time.process_time()
    assert overview(root).counts["done"] == len(steps) == 1000
    assert planned + time.process_time() - begun < 1.0
    assert msgspec.json.decode((root / "plan.json").read_bytes())["version"] == 1

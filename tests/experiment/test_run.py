"""A whole experiment on a pendulum: what it leaves, what it does not do twice, and how it stops."""

import csv
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trl_suite import record
from trl_suite.errors import InputError
from trl_suite.evidence.report import report_files
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.run_experiment import run
from trl_suite.networks.policy import load
from trl_suite.record import RunRecord

from .conftest import wait_for_step


def runs_in(folder) -> dict[str, RunRecord]:
    return {
        str(path.parent.relative_to(folder)): record.decode(path, RunRecord) for path in folder.glob("*/*/*/run.json")
    }


def evaluations(folder) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "evaluations.csv").read_text().splitlines()))


def test_every_run_is_done_and_recorded(finished):
    runs = runs_in(finished)
    assert len(runs) == 8
    for folder, run_ in runs.items():
        assert run_.status == "done", run_.error
        assert folder.startswith(f"{run_.env}/{run_.method}/seed-{run_.seed}--{run_.digest[:10]}")
        assert run_.versions["torch"]
        assert run_.specification["seed"] == run_.seed
        steps = {int(row["step"]) for row in evaluations(finished / folder)}
        assert steps == ({0, 128, 256} if run_.role == "target" else {*range(0, 512, 52), 512})


def test_the_freeze_is_proved_in_every_record(finished):
    for run_ in runs_in(finished).values():
        assert run_.freeze is not None
        assert run_.freeze.holds
        held = run_.method == "random-frozen"
        assert (run_.freeze.trainable < run_.freeze.total) == held
        assert bool(run_.freeze.before) == held


def test_finetuning_starts_from_the_policy_that_its_source_ended_with(finished):
    for run_ in runs_in(finished).values():
        if run_.method == "finetune":
            assert run_.transplant is not None
            source = load(finished / run_.source / "policy")
            assert run_.transplant.source == source.digest
            assert source.card.training.env == "inverted-pendulum"
            assert (finished / run_.source / "policy" / "curve.csv").is_file()


def test_what_is_done_is_not_done_again(finished, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("run.json")}
    assert len(run(finished.parent.parent / "tiny", runs=finished.parent, workers=1).tally.done) == 8
    assert before == {path: path.stat().st_mtime_ns for path in finished.rglob("run.json")}


def test_tensorboard_finds_sb3s_tags_and_the_evaluation(finished):
    folder = finished / "tensorboard" / "inverted-pendulum.gravity-1.5" / "finetune" / "seed-0"
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    tags = set(events.Tags()["scalars"])
    assert {"rollout/ep_rew_mean", "rollout/ep_len_mean", "eval/mean_reward", "train/approx_kl", "time/fps"} <= tags
    assert [event.step for event in events.Scalars("eval/mean_reward")] == [0, 128, 256]


def test_the_results_can_be_loaded_and_reported(finished):
    found = experiment_results.load(finished)
    assert {row.method for row in found.measures()} == {"scratch", "finetune", "random-frozen"}
    page = report_files.write(finished).read_text()
    assert "Does a balanced pendulum stay balanced" in page


def test_a_failed_run_is_recorded_and_the_others_go_on(tiny, tmp_path, finished):
    root = tmp_path / "runs" / "tiny"
    shutil.copytree(finished, root)
    source = next(root.glob("inverted-pendulum/source/seed-0*"))
    weights = source / "policy" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    for folder in root.glob("*/finetune/*"):
        shutil.rmtree(folder)
    tally = run(tiny, runs=tmp_path / "runs", on="here").tally
    assert [step.seed for step in tally.failed] == [0]
    failed = record.decode(root / tally.failed[0].folder / "run.json", RunRecord)
    assert "sha256 is not the one" in failed.error
    assert len(tally.done) == 7


def test_a_runs_folder_that_cannot_be_made_is_an_error_with_the_way_out(tiny, tmp_path):
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(InputError, match="or choose another folder with --runs"):
        run(tiny, runs=tmp_path / "runs")


@pytest.mark.parametrize("presses", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_ctrl_c_keeps_what_was_evaluated_and_the_report_says_what_is_missing(tiny, tmp_path, presses):
    path = tiny / "experiment.toml"
    text = path.read_text().replace("steps = 256", "steps = 12_000_000")
    path.write_text(text.replace('"random-frozen"]', '"random-frozen", "jsrl"]'))  # which waits for the cohort
    command = [sys.executable, "-m", "trl_suite.cli", "run", str(tiny), "--runs", str(tmp_path / "runs")]
    command += ["--workers", "1"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        wait_for_step(tmp_path / "runs" / "tiny", "*/scratch/*", 128)
        for _ in range(presses):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.1)
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    root = tmp_path / "runs" / "tiny"
    stopped = [folder for folder, run_ in runs_in(root).items() if run_.status != "done"]
    assert all(evaluations(root / folder) for folder in stopped)
    page = report_files.write(root).read_text()
    assert "interrupted" in page or presses == 2
    assert "has not been run" in page

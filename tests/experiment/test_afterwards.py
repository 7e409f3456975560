"""What an experiment may ask for besides its pairs: a reference cohort, retention, probes."""

import json
import math

import numpy as np
import pytest

from trl_suite.errors import InputError
from trl_suite.evidence.results import experiment_results, probe_prediction
from trl_suite.evidence.statistics.similarity import Probes
from trl_suite.experiment.measuring import probe_file, retention
from trl_suite.experiment.planning import grid
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.specification import experiment_file

REFERENCE = "\n[reference]\nseeds = [100, 101]\nsteps = 384\n"


def planned(finished):
    return grid.run_specs(experiment_file.load(finished.parent.parent / "tiny"))


def test_reference_runs_are_scratch_runs_of_their_own_seeds_and_budget(tiny):
    path = tiny / "experiment.toml"
    before = {step.digest for step in grid.run_specs(experiment_file.load(tiny))}
    path.write_text(path.read_text() + REFERENCE)
    steps = grid.run_specs(experiment_file.load(tiny))
    apart = [step for step in steps if step.role == "reference"]
    assert before == {step.digest for step in steps} - {step.digest for step in apart}, "no pair becomes another run"
    assert [(one.seed, one.method, one.source, one.steps) for one in apart] == [
        (100, "scratch", "", 384),
        (101, "scratch", "", 384),
    ]
    assert apart[0].folder.startswith("inverted-pendulum.gravity-1.5/reference/seed-100--")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [("[100, 101]", "[100, 1]", r"reference.seeds: \[1\] are seeds that methods are compared on"),
     ("[100, 101]", "[7, 7]", r"reference.seeds: .* names one twice"),
     ("[100, 101]", "[]", "reference.seeds: Expected `array` of length >= 1")],
)  # fmt: skip
def test_a_reference_that_is_none_is_refused(tiny, old, new, message):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text() + REFERENCE.replace(old, new))
    with pytest.raises(InputError, match=message):
        experiment_file.load(tiny)


def test_a_whole_experiment_with_all_three(tiny, tmp_path):
    path = tiny / "experiment.toml"
    asked = "retention = true\nprobes = 1\nmethods  = "
    text = path.read_text().replace("methods  = ", asked).replace('"finetune", "random-frozen"', '"finetune"')
    path.write_text(text.replace("seeds    = [0, 1]", "seeds = [0]") + REFERENCE)
    found = experiment_results.load(run(tiny, runs=tmp_path, on="here").folder)
    assert not found.irregularities
    assert found.scales["inverted-pendulum.gravity-1.5"].origin.startswith("the 2 scratch runs of their own seeds")
    (row,) = [row for row in found.measures() if row.method == "finetune"]
    assert row.retention.n in (0, 1)  # none where the source learned nothing in its few steps
    (probed,) = probe_prediction.probed(found)
    assert (probed.env, probed.source, len(probed.policies)) == (row.env, "inverted-pendulum", 1)
    assert probed.probes.dynamics > 0


def test_retention_compares_with_the_source_policy_at_home(copied, finished):
    steps = planned(finished)
    assert retention.write(copied, steps) == []
    for step in steps:
        path = copied / step.folder / "retention.csv"
        assert path.is_file() == bool(step.source)
        if step.source:
            lines = [line.split(",") for line in path.read_text().splitlines()[1:]]
            assert [int(line[0]) for line in lines] == [0, 0, 256, 256]
            last = (copied / step.source / "evaluations.csv").read_text().splitlines()[-2:]
            assert [line[2:] for line in lines[:2]] == [line.split(",")[2:] for line in last]
    found = experiment_results.load(copied)
    assert all(member.home is not None for member in found.recorded if member.planned.source)


def test_retention_is_measured_once(copied, finished):
    steps = planned(finished)
    retention.write(copied, steps)
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("retention.csv")}
    retention.write(copied, steps)
    assert before == {path: path.stat().st_mtime_ns for path in copied.rglob("retention.csv")}


def test_probes_are_made_once_and_anew_for_other_policies(copied, finished, monkeypatch):
    steps = planned(finished)
    probe_file.write(copied, steps, 1, {})
    (first,) = json.loads((copied / "probes.json").read_text())
    assert first["env"] == "inverted-pendulum.gravity-1.5"
    assert len(first["probes"]["layers"]) == 3
    probe_file.write(copied, steps, 2, {})
    (second,) = json.loads((copied / "probes.json").read_text())
    assert len(second["policies"]) == 2
    monkeypatch.setattr(probe_file, "probe", None)  # would be called
    probe_file.write(copied, steps, 2, {})


def test_a_probe_that_could_not_be_made_is_left_out():
    found = probe_file.mean([Probes(zero_shot=1.0, dynamics=0.5, layers=(0.5, 1.0)), Probes(zero_shot=0.0)])
    assert (found.zero_shot, found.dynamics, found.layers) == (0.5, 0.5, (0.5, 1.0))
    assert math.isnan(found.critic)
    nothing = probe_file.mean([Probes()])
    assert np.isnan([nothing.zero_shot, nothing.dynamics, nothing.critic]).all()


def test_damaged_probes_are_named(copied, finished):
    (copied / "probes.json").write_text("[{]")
    with pytest.raises(InputError, match=r"probes\.json: .*; remove it"):
        probe_file.write(copied, planned(finished), 1, {})

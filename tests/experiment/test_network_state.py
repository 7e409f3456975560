"""Plasticity and KL to the source, measured on finished runs: for every method, beside its run, once."""

import math

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from trl_suite.evidence.reading.run_records import NETWORK_MEASURES, PLASTICITY, SOURCE_STEP
from trl_suite.evidence.results import experiment_results
from trl_suite.evidence.results.network_curves import network_curves
from trl_suite.experiment.measuring import network_state
from trl_suite.experiment.planning import grid
from trl_suite.experiment.policy_library import ALONG
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.specification import experiment_file


def test_every_finished_target_run_has_the_state_of_its_networks(copied, tiny):
    specs = grid.run_specs(experiment_file.load(tiny))
    assert network_state.write(copied, specs) == []
    written = {path.parent.relative_to(copied).as_posix() for path in copied.rglob(PLASTICITY)}
    assert written == {spec.folder for spec in specs if spec.role == "target"}
    before = {path: path.stat().st_mtime_ns for path in copied.rglob(PLASTICITY)}
    network_state.write(copied, specs)
    assert {path: path.stat().st_mtime_ns for path in copied.rglob(PLASTICITY)} == before, "measured once"
    rows = {row.method: row for row in experiment_results.load(copied).measures()}
    for row in rows.values():
        assert 0 <= row.dormant.value <= 1
        assert 1 <= row.effective_rank.value <= 8
        assert row.weight_norm.value > 0
    assert rows["finetune"].source_kl.value > 0
    assert math.isnan(rows["scratch"].source_kl.value)


def test_an_untrained_copy_is_no_way_from_its_source(copied, tiny):
    specs = grid.run_specs(experiment_file.load(tiny))
    finetune = next(spec for spec in specs if spec.method == "finetune")
    source = network_state.load(copied / finetune.source / "policy")
    before, after = network_state.measured(source, source, finetune)
    assert (before.step, after.step) == (SOURCE_STEP, finetune.steps)
    assert after.source_kl == 0
    assert before[1:4] == after[1:4]


def test_an_experiment_asks_for_it_with_one_key(tiny, tmp_path):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("[source]", "plasticity = true\n\n[source]", 1))
    folder = run(tiny, runs=tmp_path / "runs", on="here").folder
    assert len(list(folder.rglob(PLASTICITY))) == 2 * 3
    assert not list(folder.rglob(ALONG)), "the policies of the evaluations are gone once they were measured"
    results = experiment_results.load(folder)
    env = results.envs[0]
    by_method = {curves.method: curves for curves in network_curves(results, env)}
    for method, curves in by_method.items():
        assert curves.steps.tolist() == results.curves[env, method].steps.tolist(), "at every evaluation"
        assert curves.states.shape == (2, len(curves.steps), len(NETWORK_MEASURES))
    kl = by_method["finetune"].band("source_kl").value
    assert kl[0] == pytest.approx(0, abs=1e-6), "the copy begins as its source"
    assert kl[-1] > 0
    assert by_method["finetune"].band("weight_norm").value[-1] == pytest.approx(
        {row.method: row for row in results.measures()}["finetune"].weight_norm.value
    )
    assert "The networks along the runs" in results.report(tmp_path / "page.html").read_text()
    results.tensorboard()
    run_folder = results.plan.event_folders()[by_folder(results, "finetune")]
    assert scalars(folder / run_folder, "networks/source_kl") == len(curves.steps)
    assert scalars(folder / "tensorboard/mean/finetune", f"{env}/networks/dormant") == len(curves.steps)


def by_folder(results, method: str) -> str:
    return next(p.folder for p in results.plan.runs if p.method == method)


def scalars(folder, tag: str) -> int:
    events = EventAccumulator(str(folder))
    events.Reload()
    return len(events.Scalars(tag))

"""Plasticity and KL to the source, measured on finished runs: for every method, beside its run, once."""

import math

from trl_suite.evidence.reading.run_records import PLASTICITY
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.measuring import network_state
from trl_suite.experiment.planning import grid
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
    assert (before.step, after.step) == (0, finetune.steps)
    assert after.source_kl == 0
    assert before[1:4] == after[1:4]


def test_an_experiment_asks_for_it_with_one_key(tiny, tmp_path):
    path = tiny / "experiment.toml"
    path.write_text(path.read_text().replace("[source]", "plasticity = true\n\n[source]", 1))
    folder = run(tiny, runs=tmp_path / "runs", on="here").folder
    assert len(list(folder.rglob(PLASTICITY))) == 2 * 3

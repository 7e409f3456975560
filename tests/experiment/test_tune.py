"""`[tune]`: read strictly, the same trials for scratch and each method, on seeds of its own, and on the bill."""

import re
import signal

import msgspec
import pytest

from trl_suite.algorithms.ppo import PPOHyperparameters
from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.evidence.report import contents
from trl_suite.evidence.results import experiment_results, tuning_account
from trl_suite.experiment.planning import grid
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.running.stop_request import Stop
from trl_suite.experiment.specification import experiment_file
from trl_suite.experiment.specification.tuning_keys import NumberRange, TuneOptions
from trl_suite.experiment.tuning import search, tuning_file, tuning_rounds
from trl_suite.experiment.tuning.search import Search
from trl_suite.experiment.tuning.tuning_file import Trial
from trl_suite.experiment.tuning.tuning_rounds import tune

TUNE = """
[tune]
trials  = 3
seeds   = [900, 901]
at_once = 2

[tune.ranges]
learning_rate = { low = 1e-4, high = 1e-2, log = true }
n_epochs      = { low = 1, high = 3 }
clip_range    = [0.1, 0.2]

[evaluation]
"""


@pytest.fixture
def tuned(tiny):
    path = tiny / "experiment.toml"
    text = path.read_text().replace('["scratch", "finetune", "random-frozen"]', '["scratch", "finetune"]')
    path.write_text(text.replace("[evaluation]", TUNE.strip()))
    return tiny


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[900, 901]", "[1, 900]", r"tune.seeds: \[1\] are among the experiment's seeds; tune on others"),
        ("[900, 901]", "[900, 900]", r"tune.seeds: \[900, 900\] names one twice"),
        ("[900, 901]", "[]", r"tune.seeds: Expected `array` of length >= 1"),
        ("trials  = 3", "trials = 0", r"tune.trials: Expected `int` >= 1"),
        ("trials  = 3", "trails = 3", r"unknown key 'trails' in \[tune\] \(did you mean 'trials'\?\)"),
        ("learning_rate =", "learning_rte =", r"unknown hyperparameter 'learning_rte' \(did you mean 'learning_rate'"),
        ("low = 1e-4", "low = 1e-1", r"tune.ranges.learning_rate: low 0.1 is not below high 0.01"),
        ("low = 1e-4", "low = 0.0", r"tune.ranges.learning_rate: log = true needs low > 0"),
        ("low = 1, high = 3", "low = 1, high = 2.5", r"tune.ranges.n_epochs: low and high are to be whole numbers"),
        ("low = 1, high = 3", "low = 0, high = 3", r"tune.ranges.n_epochs: .*>= 1"),
        ("[0.1, 0.2]", "[0.1, 0.1]", r"tune.ranges.clip_range: \[0.1, 0.1\] names one twice"),
        ("[0.1, 0.2]", "[0.1]", r"tune.ranges.*"),
        ("[0.1, 0.2]", "[0.1, 'x']", r"tune.ranges.clip_range: Expected `float`, got `str`"),
        ("clip_range    = [0.1, 0.2]", "hidden = [1, 2]", r"tune.ranges.hidden: is that of the source's policies"),
    ],
)
def test_a_wrong_search_is_refused(tuned, old, new, message):
    path = tuned / "experiment.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        experiment_file.load(tuned)


def test_reference_seeds_are_no_tuning_seeds_either(tuned):
    path = tuned / "experiment.toml"
    path.write_text(path.read_text() + "\n[reference]\nseeds = [901]\n")
    with pytest.raises(InputError, match=r"tune.seeds: \[901\] are among the experiment's reference.seeds"):
        experiment_file.load(tuned)


def test_what_was_found_is_not_written_by_hand(tuned):
    path = tuned / "experiment.toml"
    path.write_text(path.read_text() + "\n[tuning]\ndigest = 'x'\n")
    with pytest.raises(InputError, match="unknown key 'tuning'"):
        experiment_file.load(tuned)


def test_a_search_gives_every_method_the_same_trials_and_the_run_takes_what_was_best(tuned, tmp_path, capsys):
    with pytest.raises(InputError, match=r"tuning.json: no such file, and \[tune\] asks for a search: trl-suite tune"):
        run(tuned, runs=tmp_path / "runs", on="here")
    found = tune(tuned, runs=tmp_path / "runs", here=True).tuning
    assert found is not None
    assert [(study.method, len(study.trials)) for study in found.studies] == [("scratch", 3), ("finetune", 3)]
    assert found.source_steps == 2 * 512
    untuned = {"learning_rate": 3e-4, "n_epochs": 2, "clip_range": 0.2}
    for study in found.studies:
        assert study.trials[0].hyperparameters == untuned
        assert all(trial.env_steps == 2 * 256 and len(trial.by_seed) == 2 for trial in study.trials)
        assert study.best.value == max(trial.value for trial in study.trials)
    again = tune(tuned, runs=tmp_path / "runs", here=True).tuning
    assert again == msgspec.structs.replace(found, command=again.command)
    specs = grid.run_specs(experiment_file.load(tuned))
    for study in found.studies:
        spec = next(spec for spec in specs if spec.method == study.method)
        assert spec.preset.endswith(", tuned")
        assert study.best.hyperparameters.items() <= spec.specification["hyperparameters"].items()
    capsys.readouterr()
    folder = run(tuned, runs=tmp_path / "runs", on="here", quiet=False).folder
    said = capsys.readouterr()
    searched = ", ".join(found.options["ranges"])
    note = f"scratch, finetune: {searched} are the best of tuning.json's trials, per target"
    assert note in (said.out + said.err)
    results = experiment_results.load(folder)
    account = tuning_account.account(results)
    assert account.seeds == (900, 901)
    assert [(m.method, m.trials, m.steps) for m in account.methods] == [("scratch", 3, 1536), ("finetune", 3, 1536)]
    for m in account.methods:
        assert m.worst <= m.median <= m.best
    bill = {cost.method: cost.steps for cost in contents.contents(results, 0).costs}
    assert bill["scratch, tuning"] == bill["finetune, tuning"] == 1536
    assert bill["sources of the tuning"] == 1024
    page = results.report(tmp_path / "page.html").read_text()
    assert "How it was tuned" in page
    path = tuned / "experiment.toml"
    path.write_text(path.read_text().replace("trials  = 3", "trials = 4"))
    with pytest.raises(InputError, match=r"tuning.json: is of another search than experiment.toml describes now"):
        run(tuned, runs=tmp_path / "runs", on="here")


def test_a_search_goes_on_where_it_was_stopped(tuned, tmp_path, monkeypatch):
    stopped = Stop()
    stopped.by = signal.SIGINT
    monkeypatch.setattr(tuning_rounds, "Stop", lambda: stopped)
    assert tune(tuned, runs=tmp_path / "runs", here=True).tuning is None
    monkeypatch.undo()
    found = tune(tuned, runs=tmp_path / "runs", here=True).tuning
    assert found is not None
    assert {len(study.trials) for study in found.studies} == {3}


def test_proposals_lie_in_their_ranges_and_failed_trials_count(tmp_path):
    ranges = {
        "learning_rate": NumberRange(low=1e-3, high=1e-2, log=True),
        "n_epochs": NumberRange(low=2, high=5),
        "ortho_init": (True, False),
    }
    options = TuneOptions(trials=12, seeds=(1,), at_once=4, ranges=ranges)

    def begun() -> Search:
        return Search(search.storage(tmp_path), "digest", "env", "method", options, PPOHyperparameters())

    first = begun().proposals()
    assert first[0] == {"learning_rate": 1e-3, "n_epochs": 5, "ortho_init": True}, "the untuned, moved into the ranges"
    assert begun().proposals() == first, "what was not finished is tried first by a call that goes on"
    studied = begun()
    while proposals := studied.proposals():
        for number, values in proposals.items():
            assert 1e-3 <= values["learning_rate"] <= 1e-2
            assert values["n_epochs"] in (2, 3, 4, 5)
            assert isinstance(values["n_epochs"], int)
            value = None if number % 3 == 1 else -abs(values["n_epochs"] - 3)
            studied.tell(Trial(number=number, hyperparameters=dict(values), value=value))
    assert len(studied.ended()) == 12


def test_the_verb_needs_a_search(tiny, capsys):
    with pytest.raises(SystemExit) as left:
        main(["tune", str(tiny)])
    assert left.value.code == 2
    assert re.search(r"no \[tune\] here", capsys.readouterr().err)


def test_a_file_of_another_kind_is_refused(tuned):
    (tuned / tuning_file.TUNING_FILE).write_text("{}")
    with pytest.raises(InputError, match=r"tuning.json: "):
        experiment_file.load(tuned)

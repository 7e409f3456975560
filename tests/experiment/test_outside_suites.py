"""Experiments on envs of outside suites, of the packages that are installed."""

import csv
import json
from pathlib import Path

import pytest

from trl_suite import record
from trl_suite.cli.main import main
from trl_suite.errors import InputError
from trl_suite.experiment.specification import experiment_file
from trl_suite.record import RunRecord
from trl_suite.worlds.outside.suite_table import suites

from .conftest import made_of

FETCH = """
question  = "Does reaching at 1 g help with reaching at 1.5 g?"
methods   = ["scratch", "feature-extraction"]
seeds     = [0]
algorithm = "sac"

[source]
env   = "gymnasium:FetchReach-v4"
steps = 150

[target]
envs  = ["gymnasium:FetchReach-v4?gravity=1.5"]
steps = 150

[evaluation]
every    = 75
episodes = 2

[sac]
hidden = [8, 8]
learning_starts = 64
batch_size = 32
buffer_size = 200
"""
META_WORLD = FETCH.replace("FetchReach-v4?gravity=1.5", "Meta-World/push-v3").replace(
    "FetchReach-v4", "Meta-World/reach-v3"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("package", "text", "goals"), [("gymnasium_robotics", FETCH, 4), ("metaworld", META_WORLD, None)]
)
def test_an_experiment_is_trained_with_success_rates_and_a_proved_freeze(package, text, goals, tmp_path):
    pytest.importorskip(package)
    folder = made_of(text, tmp_path)
    runs = {path.parent: record.decode(path, RunRecord) for path in folder.glob("*/*/*/run.json")}
    assert len(runs) == 3
    suite = next(suite for suite in suites() if suite.package == package)
    for path, run in runs.items():
        assert run.status == "done", run.error
        assert run.specification["hyperparameters"].get("n_sampled_goal") == goals
        assert run.versions[suite.package.replace("_", "-")]
        rows = list(csv.DictReader((path / "evaluations.csv").read_text().splitlines()))
        assert {"0", "75", "150"} <= {row["step"] for row in rows}
        assert {row["success"] for row in rows} <= {"0", "1"}
    [extracted] = [run for run in runs.values() if run.method == "feature-extraction"]
    assert extracted.freeze is not None
    assert extracted.freeze.holds
    assert extracted.freeze.before


def checked(text: str, tmp_path: Path) -> None:
    path = tmp_path / "experiment.toml"
    path.write_text(text)
    experiment_file.load(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[target]", 'variants = ["gravity-2"]\n[target]', "source.variants: 'gymnasium:FetchReach-v4' is of another"),
        ("[target]", "randomise = { gravity = [0.5, 2.0] }\n[target]", "source.randomise: 'gymnasium:FetchReach-v4'"),
        ("?gravity=1.5", "?gravty=1.5", "target.envs: .*did you mean 'gravity'"),
    ],
)
def test_what_a_suite_cannot_do_is_refused_by_name(old, new, message, tmp_path):
    with pytest.raises(InputError, match=message):
        checked(FETCH.replace(old, new), tmp_path)


@pytest.mark.parametrize(("package", "text"), [("gymnasium_robotics", FETCH), ("metaworld", META_WORLD)])
def test_an_experiment_is_read_where_the_package_is_installed(package, text, tmp_path):
    pytest.importorskip(package)
    checked(text, tmp_path)


@pytest.mark.parametrize("suite", suites(), ids=lambda suite: suite.title)
def test_a_suite_that_is_missing_is_listed_with_its_command(suite, capsys, monkeypatch):
    monkeypatch.setattr("trl_suite.cli.verbs.envs.is_installed", lambda _: False)
    with pytest.raises(SystemExit):
        main(["envs"])
    assert f"not installed: {suite.install}" in " ".join(capsys.readouterr().out.split())


def test_a_suite_that_is_installed_is_listed_with_its_ids(capsys, monkeypatch):
    monkeypatch.setattr("trl_suite.cli.verbs.envs.is_installed", lambda _: True)
    with pytest.raises(SystemExit):
        main(["envs", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert listed["gymnasium:FetchPush-v4"]["suite"] == "gymnasium-robotics"
    assert "gymnasium:Meta-World/reach-v3" in listed
    with pytest.raises(SystemExit):
        main(["envs", "gymnasium:AntMaze_UMaze-v5"])
    assert "info['success'] is true, at any step of the episode" in " ".join(capsys.readouterr().out.split())

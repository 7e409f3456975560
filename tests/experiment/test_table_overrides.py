"""An experiment from a file, a table, TOML text or an `Experiment`, and values in place of the file's."""

import json
import sys

import msgspec
import pytest

import trl_suite
from tests.experiment.conftest import TINY
from trl_suite import tables
from trl_suite.cli import main
from trl_suite.errors import InputError
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file, table_overrides
from trl_suite.experiment.specification.experiment_keys import SourceOptions, TargetOptions

TABLE = tables.parse(TINY, "tiny")


def digests(experiment) -> list[str]:
    return [spec.digest for spec in grid.run_specs(experiment)]


def test_all_ways_to_write_an_experiment_are_the_same_runs(tiny):
    of_file = experiment_file.read(tiny)
    same = [TINY, TABLE, tiny / "experiment.toml", str(tiny), of_file.experiment]
    for where in same:
        named = experiment_file.read(where)
        assert digests(named.experiment) == digests(of_file.experiment)
        assert named.on_disk == isinstance(where, (type(tiny), str)) - (where is TINY)
    assert of_file.name == "tiny"
    assert experiment_file.read(TINY).name == "does-a-balanced-pendulum-stay-balanced-when-it-falls-faster"
    assert experiment_file.read(TABLE, name="other").name == "other"


def test_an_experiment_is_built_of_its_parts():
    experiment = trl_suite.Experiment(
        question="?",
        methods=("scratch",),
        seeds=(0,),
        source=SourceOptions(env="inverted-pendulum", steps=512),
        target=TargetOptions(envs=("inverted-pendulum.gravity-1.5",), steps=256),
    )
    assert len(digests(experiment_file.read(experiment).experiment)) == 1
    with pytest.raises(InputError, match=r"^Experiment: target.steps: Expected `int` >= 1|Expected `int` > 0"):
        experiment_file.read(msgspec.structs.replace(experiment, target=TargetOptions(envs=("hopper",), steps=0)))


@pytest.mark.parametrize("where", [7, None, ["a"], b"x\ny"])
def test_anything_else_is_a_type_error(where):
    with pytest.raises(TypeError, match="an experiment is a folder"):
        experiment_file.read(where)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE | {"target": TABLE["target"] | {"stps": 1}}, "unknown key 'stps' in .target"),
        (TABLE | {"seeds": [0.5]}, r"seeds\[0\]: Expected `int`"),
        (TABLE | {"question": float("nan")}, "nan is not a value"),
        (TABLE | {"question": object()}, "holds what a table cannot"),
        (TABLE | {"seeds": [2**60]}, "integers lie within"),
    ],
)
def test_a_table_is_read_as_strictly_as_a_file(table, message):
    with pytest.raises(InputError, match=rf"^experiment: .*{message}"):
        experiment_file.read(table)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("target.steps=50_000", 50_000),
        ("target.steps = 50_000", 50_000),
        ("ppo.hidden=[64, 64]", [64, 64]),
        ("algorithm=sac", "sac"),
        ("algorithm='sac'", "sac"),
        ("source.env=half-cheetah.gravity-1.5", "half-cheetah.gravity-1.5"),
        ("retention=true", True),
        ("ppo.learning_rate=3e-4", 3e-4),
        ("source.randomise={gravity=[0.5, 1.5]}", {"gravity": [0.5, 1.5]}),
        ("question='a=b'", "a=b"),
    ],
)
def test_a_value_is_tomls_and_a_plain_word_needs_no_quotes(text, value):
    [(_, read)] = table_overrides.assignments([text]).items()
    assert read == value


@pytest.mark.parametrize(
    "texts",
    [["steps"], ["=1"], ["a="], ["a=[1"], ["a=1\n[b]"], ["a=nan"], ["a=1", "a=2"], ["a=1 2"]],
)
def test_what_is_no_assignment_is_refused(texts):
    with pytest.raises(InputError, match="^--set "):
        table_overrides.assignments(texts)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"target.stps": 1}, "unknown key 'stps' in .target.*did you mean 'steps'"),
        ({"target.steps": "1"}, "target.steps: Expected `int`, got `str`"),
        ({"target.steps": 0}, "target.steps"),
        ({"methods.x": 1}, "methods.x: 'methods' is no table"),
        ({"ppo.learning_rate": float("inf")}, "must be finite"),
        ({"": 1}, "key"),
        ({"a b": 1}, "key"),
        ({"x = 1\ny": 1}, "no key"),
        ({"seeds": [0, 0]}, "names one twice"),
        ({"methods": ["scratch", "finetun"]}, "unknown method 'finetun'"),
    ],
)
def test_an_override_is_read_as_strictly_as_the_file(tiny, values, message):
    with pytest.raises(InputError, match=message) as caught:
        experiment_file.read(tiny, overrides=values)
    assert "experiment.toml" in str(caught.value)


def test_overrides_enter_the_digest_and_leave_the_file(tiny):
    plain = digests(experiment_file.load(tiny))
    same = digests(experiment_file.read(tiny, overrides={"target.steps": 256}, seeds=[0, 1]).experiment)
    other = digests(experiment_file.read(tiny, overrides={"target.steps": 128}).experiment)
    fewer = digests(experiment_file.read(tiny, seeds=range(1)).experiment)
    assert same == plain
    assert len(set(plain) & set(other)) == 2  # the sources, which train as long as before
    assert fewer == plain[:4]
    assert (tiny / "experiment.toml").read_text() == TINY
    with pytest.raises(InputError, match="seeds: is set twice"):
        experiment_file.read(tiny, overrides={"seeds": [0]}, seeds=[1])


@pytest.mark.parametrize(
    ("text", "seeds"), [("0:5", [0, 1, 2, 3, 4]), ("4", [4]), ("0,3,7", [0, 3, 7]), ("0:2,9", [0, 1, 9])]
)
def test_seeds_are_a_range_or_a_list(text, seeds):
    assert table_overrides.seeds_of(text) == seeds


@pytest.mark.parametrize("text", ["", "5:2", "0:", ":5", "a", "-1", "0:999999999", "1.5", "0;1", "²", "9" * 30])
def test_other_seeds_are_refused(text):
    with pytest.raises(InputError, match="^--seeds"):
        table_overrides.seeds_of(text)


def test_results_of_a_table_that_was_run_are_measured_and_a_command_goes_on_with_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    results = trl_suite.run(TABLE, name="mine", overrides={"target.steps": 128}, seeds=[0], on="here")
    assert {row.method for row in results.measures()} == {"scratch", "finetune", "random-frozen"}
    assert len(results.tally.done) == 4
    assert results.plan.command == "trl-suite run runs/mine"
    with pytest.raises(SystemExit) as ended:
        main(["run", "runs/mine", "--json", "--on", "here"])
    assert ended.value.code == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["done"], outcome["failed"], outcome["folder"]) == (4, [], "runs/mine")


def test_a_plan_counts_what_is_done_and_what_would_be_reused(tiny, finished, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["run", str(tiny), "--plan", "--seeds", "0:3", "--reuse", str(finished)]
    for more, check in (([], lambda out: f"8 of 12 runs are those of {finished}" in out), (["--json"], _reused)):
        with pytest.raises(SystemExit) as ended:
            main([*words, *more])
        assert ended.value.code == 0
        assert check(capsys.readouterr().out)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SystemExit):
        main(["run", str(tiny), "--runs", str(finished.parent), "--plan"])
    assert "8 of 8 runs are done already" in capsys.readouterr().out


def _reused(out: str) -> bool:
    return [bool(run["reused"]) for run in json.loads(out)].count(True) == 8


@pytest.mark.parametrize("value", [1, 0.5, 1e-9, True, 'a  "b"\n\\', [1, [2]], {"a b": {"c": "d"}}, float("inf")])
def test_a_value_is_written_as_toml_reads_it(value):
    assert tables.parse(f"value = {table_overrides.toml_value(value)}", "") == {"value": value}


def test_the_command_of_a_plan_names_what_was_overridden(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    values = {"target.steps": 128, "ppo.hidden": [8, 4]}
    results = trl_suite.run(tiny, overrides=values, seeds=[3], on="here", workers=1)
    command = results.plan.command
    assert command.endswith("--set target.steps=128 --set 'ppo.hidden=[8, 4]' --seeds 3")
    assert sys.executable not in command

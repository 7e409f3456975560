"""Keys about how runs are read: refused by name, and no part of any run."""

import pytest

from trl_suite.errors import InputError
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_file
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.method_differences import differences

from .conftest import TINY

THREE = TINY.replace('"finetune", ', '"finetune", "feature-extraction", "partial-freeze-1", ')
READ = (
    "[contrast]\nvalues = ['feature-extraction', 'random-frozen']\n"
    "help = { methods = ['finetune', 'scratch'], because = 'all at once' }\n"
    "[expected]\nfinetune = { 'inverted-pendulum.gravity-1.5' = 'sooner' }\n"
)


def test_another_reading_makes_the_same_runs():
    plain = grid.run_specs(experiment_file.read(THREE).experiment)
    read = grid.run_specs(
        experiment_file.read(THREE.replace("[source]", "read_at = [128, 256]\n[source]") + READ).experiment
    )
    assert [spec.digest for spec in plain] == [spec.digest for spec in read]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a = ['feature-extraction', 'partial-freeze-1']",
         r"contrast\.a: .* more than one factor: copy of layers, copy of statistics, .*log_std, freeze of"),
        ("a = { methods = ['finetune', 'scratch'], because = ' ' }", "more than one factor: copy of layers"),
        ("a = ['finetune', 'finetune']", "do the same"),
        ("a = ['finetune', 'fintune']", r"contrast\.a: unknown method 'fintune' \(did you mean 'finetune'"),
        ("a = ['finetune', 'ewc']", r"contrast\.a: unknown method 'ewc'; known: feature-extraction"),
        ("a = ['finetune']", r"contrast.*length 2"),
        ("a = { methods = ['finetune', 'scratch'], becuse = 'all' }", "becuse"),
        ("'../a' = ['feature-extraction', 'random-frozen']", "no name"),
    ],
)  # fmt: skip
def test_a_contrast_that_says_nothing_is_refused(line, message):
    with pytest.raises(InputError, match=message):
        experiment_file.read(f"{THREE}\n[contrast]\n{line}\n")


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("[100]", "nothing is evaluated at step 100; the nearest evaluations are at 128 .every 128"),
        ("[300]", "nothing is evaluated at step 300; .* at 256 .every 128 steps up to 256"),
        ("[128, 128]", "names a step twice"),
        ("[0]", "read_at"),
        ("128", "read_at"),
    ],
)
def test_a_step_without_an_evaluation_is_refused(steps, message):
    with pytest.raises(InputError, match=message):
        experiment_file.read(TINY.replace("[source]", f"read_at = {steps}\n[source]"))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "finetune = { 'inverted-pendulum.gravity-1.4' = 'sooner' }",
            r"expected\.finetune: unknown target .*mean",
        ),
        ("finetune = { 'inverted-pendulum.gravity-1.5' = 'worse' }", "expected.*'worse'"),
        ("finetune = 'worse'", "expected.*'worse'"),
    ],
)
def test_an_expectation_of_another_target_is_refused(line, message):
    with pytest.raises(InputError, match=message):
        experiment_file.read(f"{TINY}\n[expected]\n{line}\n")


@pytest.mark.parametrize(
    ("first", "second", "factors"),
    [
        ("finetune", "finetune-frozen-statistics", ["normaliser"]),
        ("partial-freeze-2", "partial-freeze-1", ["freeze of layers"]),
        ("partial-freeze-1", "random-freeze-1", ["fresh of layers"]),
        ("feature-extraction", "random-frozen", ["copy of layers"]),
        ("feature-extraction", "shuffled-frozen", ["shuffle of layers"]),
        ("shrink-perturb", "finetune", ["keep of layers"]),
        ("discriminative-rate", "finetune", ["rate of layers"]),
        ("critic-warmup", "finetune", ["freeze of layers", "freeze of log_std"]),
        ("trunk-only", "scratch", ["copy of layers", "copy of statistics"]),
        ("scratch-log-std", "scratch", ["log_std"]),
        ("finetune", "finetune", []),
    ],
)
def test_factors_are_named(first, second, factors):
    assert list(differences(methods.find(first), methods.find(second))) == factors
    assert list(differences(methods.find(second), methods.find(first))) == factors


def test_every_shipped_method_differs_from_every_other():
    shipped = {name: method for name, method in methods.shipped().items() if "K" not in name}
    for name, method in shipped.items():
        twins = [other for other, second in shipped.items() if other != name and not differences(method, second)]
        assert not twins, name


def test_how_much_is_copied_is_part_of_the_copying():
    replay = methods.Method(copy=("actor", "replay"), keep={"replay": 0.1})
    assert differences(replay, methods.Method(copy=("actor",))) == ("copy of replay",)
    assert differences(replay, methods.Method(copy=("actor", "replay"))) == ("keep of replay",)

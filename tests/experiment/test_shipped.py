"""Policies that one experiment trains, and others start from."""

import shutil

import pytest

from tests.experiment.conftest import TINY
from trl_suite import content, record, tables
from trl_suite.errors import InputError
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment import policy_library
from trl_suite.experiment.planning import grid
from trl_suite.experiment.planning.cohort_keys import CohortPlanner, assignments, summary
from trl_suite.experiment.planning.placement import placement
from trl_suite.experiment.reuse import reproduction, shipped_sources
from trl_suite.experiment.run_experiment import run
from trl_suite.experiment.specification import experiment_file
from trl_suite.experiment.specification.experiment_keys import Experiment
from trl_suite.networks import store

SHIPPED = TINY.replace("steps = 512", "shipped = true").replace(', "random-frozen"', "")
PENDULUM, OTHER = "inverted-pendulum", "inverted-double-pendulum"


@pytest.fixture
def workspace(finished, tmp_path, monkeypatch):
    """A workspace with the sources of the tiny experiment on its shelf."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    monkeypatch.setattr(content, "find_shipped", content.find)  # as if the suite shipped none of these names
    assert len(policy_library.add(finished, tmp_path / "policies")) == 2
    return tmp_path


def study(workspace, text=SHIPPED):
    folder = workspace / "experiments" / "shipped"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.toml").write_text(text)
    return folder


def test_what_an_experiment_trained_is_put_on_the_shelf_once(finished, workspace):
    assert policy_library.add(finished, workspace / "policies") == []
    card = policy_library.card(PENDULUM, "ppo", 1)
    assert (card.training.seed, card.training.steps) == (1, 512)
    folder = workspace / "policies" / f"{PENDULUM}-ppo-seed-1"
    assert sorted(path.name for path in folder.iterdir()) == ["card.toml", "curve.csv", "weights.safetensors"]


def test_a_policy_of_the_workspace_never_stands_for_a_shipped_one(finished, tmp_path, monkeypatch):
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    policy_library.add(finished, tmp_path / "policies")
    own = store.read_card(tmp_path / "policies" / f"{PENDULUM}-ppo-seed-0")
    shipped = store.read_card(content.shipped() / "policies" / f"{PENDULUM}-ppo-seed-0")
    assert policy_library.card(PENDULUM, "ppo", 0).sha256 == shipped.sha256 != own.sha256


def test_another_policy_is_not_written_over(finished, workspace):
    policies = workspace / "policies"
    shutil.rmtree(policies / f"{PENDULUM}-ppo-seed-0")
    shutil.copytree(policies / f"{PENDULUM}-ppo-seed-1", policies / f"{PENDULUM}-ppo-seed-0")
    with pytest.raises(InputError, match="another policy is there already"):
        policy_library.add(finished, policies)
    with pytest.raises(InputError, match="its card says inverted-pendulum ppo 1, which is not what its name says"):
        policy_library.card(PENDULUM, "ppo", 0)


def test_a_run_from_a_shipped_policy_is_the_run_from_its_training(finished, workspace):
    trained = {(m.planned.method, m.planned.seed): m.curve for m in experiment_results.load(finished).recorded}
    found = experiment_results.load(run(study(workspace), runs=workspace / "runs", on="here").folder)
    kinds = {oddity.kind for oddity in found.irregularities}
    assert kinds <= {"no reference"}  # scratch learns nothing in so few steps
    for member in found.recorded:
        assert member.curve is not None
        if member.planned.role == "target":
            theirs = trained[member.planned.method, member.planned.seed]
            assert member.curve.returns.tolist() == theirs.returns.tolist()
    (row,) = [row for row in found.measures() if row.method == "finetune"]
    assert row.source_steps == 512, "the source stays on the bill"


def test_shipped_policies_are_taken_and_not_trained(workspace):
    experiment = experiment_file.load(study(workspace))
    steps = grid.run_specs(experiment)
    assert [step.steps for step in steps if shipped_sources.is_shipped(step)] == [512, 512]
    assert "2 runs: a shipped policy, which is taken as it is" in summary(
        assignments(steps, CohortPlanner(experiment, placement("local", experiment, 1), steps))
    )


def test_a_policy_that_changed_is_another_source(workspace):
    steps = grid.run_specs(experiment_file.load(study(workspace)))
    place = workspace / "policies" / f"{PENDULUM}-ppo-seed-0"
    shutil.rmtree(place)
    shutil.copytree(workspace / "policies" / f"{PENDULUM}-ppo-seed-1", place)
    with pytest.raises(InputError, match="is not the policy that the run was made with"):
        shipped_sources.take(workspace / "runs", "shipped", steps)


def test_a_run_from_a_shipped_policy_can_be_made_again(workspace):
    folder = run(study(workspace), runs=workspace / "runs", on="here").folder
    last = record.decode(folder / "plan.json", record.Plan).runs[-1]
    steps = reproduction.specs_of(folder / last.folder)
    shipped_sources.take(workspace / "reruns", "shipped", steps)
    assert store.read_card(workspace / "reruns" / last.source / policy_library.POLICY).training.seed == 1


def test_each_robot_may_have_a_source_of_its_own(workspace):
    text = SHIPPED.replace(
        'env   = "inverted-pendulum"', f'env = {{ {PENDULUM} = "{PENDULUM}", pole-cart = "{OTHER}" }}'
    )
    folder = study(workspace, text.replace("[target]\nenvs  = [", '[target]\nenvs = ["pole-cart", '))
    experiment = tables.read(folder / experiment_file.EXPERIMENT_FILE, Experiment)  # its networks need not fit here
    assert experiment.sources == (OTHER, PENDULUM)
    assert experiment.source_of(f"{PENDULUM}.gravity-1.5") == PENDULUM


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("shipped = true", "", "give steps to train policies, or shipped = true"),
        ("shipped = true", "shipped = true\nsteps = 512", "give steps to train policies, or shipped = true"),
        (
            "shipped = true",
            "shipped = true\nheads = true\nvariants = ['gravity-0.5', 'gravity-1.5']",
            "only env can be given with them",
        ),
        ('"inverted-pendulum"\n', '{ hopper = "hopper" }\n', "no entry for 'inverted-pendulum'"),
        ("[ppo]", '[method.mine]\ncopy = ["optimiser.actor"]\n[ppo]', "shipped policies keep no optimiser.actor"),
    ],
)
def test_a_source_that_cannot_be_is_refused(workspace, old, new, message):
    text = SHIPPED.replace(old, new, 1)
    text = text.replace('"finetune"', '"mine"') if "mine" in new else text
    with pytest.raises(InputError, match=message):
        experiment_file.load(study(workspace, text))


def test_a_policy_that_is_not_there_is_named(workspace):
    with pytest.raises(InputError, match="unknown policy 'inverted-pendulum-ppo-seed-70'"):
        grid.run_specs(experiment_file.load(study(workspace, SHIPPED.replace("[0, 1]", "[0, 70]"))))

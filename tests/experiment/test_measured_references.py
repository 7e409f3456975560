"""A reference is measured once, kept with its record, used by every experiment of its target, or refused by name."""

import msgspec
import pytest

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.evidence.results import experiment_results
from trl_suite.experiment.planning import measured_references
from trl_suite.experiment.planning.measured_references import REFERENCES_FOLDER
from trl_suite.experiment.run_experiment import run

ENV = "inverted-pendulum.gravity-1.5"


@pytest.fixture(scope="module")
def references(tmp_path_factory):
    """A reference of ten scratch runs, measured once."""
    from tests.experiment.conftest import TINY

    folder = tmp_path_factory.mktemp("measuring")
    text = TINY.replace('["scratch", "finetune", "random-frozen"]', '["scratch"]')
    text = text.replace("seeds    = [0, 1]", f"seeds = {[*range(100, 110)]}").replace("steps = 256", "steps = 2560")
    (folder / "measuring").mkdir()
    (folder / "measuring" / "experiment.toml").write_text(text.replace("every    = 128", "every = 1280"))
    runs = run(folder / "measuring", runs=folder / "runs", on="here").folder
    return measured_references.measured(experiment_results.load(runs))


@pytest.fixture
def workspace(tmp_path, monkeypatch, tiny, references):
    """A workspace with the reference, and an experiment of its target."""
    monkeypatch.setenv(content.WORKSPACE, str(tmp_path))
    measured_references.write(references, tmp_path / REFERENCES_FOLDER)
    text = (tiny / "experiment.toml").read_text().replace('["scratch", "finetune", "random-frozen"]', '["scratch"]')
    (tiny / "experiment.toml").write_text(text.replace("[source]", 'reference = "measured"\n\n[source]', 1))
    return tiny


def changed(workspace, tmp_path, **values) -> None:
    path = next((tmp_path / REFERENCES_FOLDER).iterdir())
    reference = msgspec.structs.replace(measured_references.find(ENV, "ppo"), **values)
    path.write_bytes(msgspec.json.encode(reference))


def test_a_measured_reference_is_the_scale_of_every_experiment_of_its_target(workspace, references, tmp_path):
    (reference,) = references
    assert (reference.env, reference.steps, reference.seeds) == (ENV, 2560, tuple(range(100, 110)))
    found = experiment_results.load(run(workspace, runs=tmp_path / "runs", on="here").folder)
    scale = found.scales[ENV]
    assert scale == reference.scale
    assert scale.random == pytest.approx(sum(reference.random_runs) / 10)
    assert len(scale.draws().reference) > 1, "its own uncertainty is in every score"
    assert f"kept in {REFERENCES_FOLDER}/inverted-pendulum.gravity-1.5-ppo.json" in scale.origin


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"physics": "warp"}, "measured with other physics: warp, and here mujoco"),
        ({"env_digest": "0" * 64}, "measured on another version of the task or the model"),
        ({"episodes": 5}, "measured with another evaluation: 5 episodes, and here 2"),
        ({"seeds": (1, *range(101, 110))}, r"measured on seeds that methods are compared on: \[1\]"),
        ({"steps": 2048, "flat": False}, "measured for 2,048 steps, fewer than 10 times 256, and not until flat"),
    ],
)
def test_a_reference_that_was_measured_otherwise_is_refused_by_name(workspace, tmp_path, values, message):
    changed(workspace, tmp_path, **values)
    with pytest.raises(InputError, match=rf"references/inverted-pendulum.gravity-1.5-ppo.json: {message}"):
        run(workspace, runs=tmp_path / "runs", on="here")
    path = workspace / "experiment.toml"
    path.write_text(path.read_text().replace('reference = "measured"\n', ""))
    found = experiment_results.load(run(workspace, runs=tmp_path / "runs", on="here").folder)
    assert found.scales[ENV].paired, "not asked for by name it is said, and the scratch runs set the scale"


def test_a_target_without_a_reference_is_refused_by_name(workspace, tmp_path):
    path = workspace / "experiment.toml"
    path.write_text(path.read_text().replace("gravity-1.5", "gravity-0.5"))
    with pytest.raises(InputError, match=r"unknown reference 'inverted-pendulum.gravity-0.5-ppo' \(did you mean"):
        run(workspace, runs=tmp_path / "runs", on="here")


def test_a_reference_needs_ten_seeds_and_stays_as_it_is(references, tmp_path, finished):
    with pytest.raises(InputError, match=r"2 complete scratch runs; a reference has 10 or more"):
        measured_references.measured(experiment_results.load(finished))
    (path,) = measured_references.write(references, tmp_path / REFERENCES_FOLDER)
    assert measured_references.write(references, tmp_path / REFERENCES_FOLDER) == [path]
    other = [msgspec.structs.replace(reference, runs=("x",)) for reference in references]
    with pytest.raises(InputError, match="another reference is there, which experiments may have used"):
        measured_references.write(other, tmp_path / REFERENCES_FOLDER)

import numpy as np
import pytest
from tbparse import SummaryReader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from trl_suite.evidence.report import tensorboard_hparams
from trl_suite.evidence.results.experiment_results import load
from trl_suite.record import Plan, PlannedRun

from .conftest import ENV, STEPS


@pytest.fixture
def written(experiment):
    return load(experiment.root).tensorboard()


def read(folder) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0, "images": 0})
    found.Reload()
    return found


def test_methods_are_runs_that_overlay(experiment, written):
    results = load(experiment.root)
    for method in ("scratch", "finetune", "feature-extraction", "random-frozen"):
        found = read(written / "mean" / method)
        assert set(found.Tags()["scalars"]) == {f"{ENV}/{name}" for name in ("mean", "low", "high", "iqm")}
        lines = found.Scalars(f"{ENV}/mean")
        assert [event.step for event in lines] == STEPS.tolist()
        np.testing.assert_allclose([event.value for event in lines], results.curves[ENV, method].returns.mean(axis=0),
                                   rtol=1e-5)  # fmt: skip
        low, high = (found.Scalars(f"{ENV}/{name}")[3].value for name in ("low", "high"))
        assert low < lines[3].value < high


def test_the_layout_of_the_custom_scalars_shows_bands(written):
    (event,) = read(written / "mean" / "finetune").Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == [ENV]
    band = layout.category[0].chart[0].margin.series[0]
    assert (band.value, band.lower, band.upper) == (f"{ENV}/mean", f"{ENV}/low", f"{ENV}/high")


def test_hparams_has_a_row_per_run_with_its_measures(experiment, written):
    results = load(experiment.root)
    frame = results.runs()
    rows = frame[frame["role"] == "target"]
    folders = results.plan.event_folders()
    for row in rows.to_dict("records"):
        found = read(experiment.root / folders[row["run"]])
        assert found.Scalars("measures/area")[0].value == pytest.approx(row["area"], rel=1e-6)
        plugin = found.PluginTagToContent("hparams")
        start = metadata.parse_session_start_info_plugin_data(plugin[metadata.SESSION_START_INFO_TAG])
        assert start.hparams["method"].string_value == row["method"]
        assert start.hparams["seed"].number_value == row["seed"]
        assert (start.hparams["axis"].string_value, start.hparams["value"].number_value) == ("gravity", 1.5)
    plugin = read(written / "experiment").PluginTagToContent("hparams")
    described = metadata.parse_experiment_plugin_data(plugin[metadata.EXPERIMENT_TAG])
    assert "measures/asymptote" in [info.name.tag for info in described.metric_infos]
    named = {info.name: info.differs for info in described.hparam_infos}
    wanted = {"env", "method", "source", "seed", "algorithm", "preset", "learning rate", "network", "steps", "device"}
    assert wanted <= set(named)
    assert named["method"]
    assert named["seed"]
    assert not named["env"]


def test_names_of_runs_have_no_digests_and_tell_several_sources_apart():
    runs = [
        PlannedRun(folder=f"{env}/source/seed-0--abc{i}", role="source", env=env, method="source", seed=0)
        for i, env in enumerate(("hopper", "walker2d"))
    ]
    runs += [
        PlannedRun(folder=f"ant/finetune/seed-0--d{i}", role="target", env="ant", method="finetune", seed=0,
                   source=source.folder)
        for i, source in enumerate(runs)
    ]  # fmt: skip
    runs.append(PlannedRun(folder="ant/scratch/seed-0--e", role="target", env="ant", method="scratch", seed=0))
    plan = Plan(name="", question="", command="", runs=tuple(runs), every=1, episodes=1, specification={})
    assert list(plan.event_folders().values()) == [
        "tensorboard/hopper/source/seed-0",
        "tensorboard/walker2d/source/seed-0",
        "tensorboard/ant/finetune-from-hopper/seed-0",
        "tensorboard/ant/finetune-from-walker2d/seed-0",
        "tensorboard/ant/scratch/seed-0",
    ]


def test_a_run_that_is_being_made_keeps_its_one_file(experiment):
    for planned in experiment.planned:
        experiment.write(planned, np.arange(3) + planned.seed, status="running")
    root = load(experiment.root).tensorboard()
    assert not list(root.rglob(f"*{tensorboard_hparams.SUFFIX}"))


def test_pictures_are_images(written):
    found = read(written / "experiment")
    assert f"figures/learning-{ENV}" in found.Tags()["images"]
    image = found.Images(f"figures/learning-{ENV}")[0]
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.width > 500
    assert image.width / image.height > 1.4  # a card is wider than high


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # tbparse 0.0.9 sorts as pandas 3.1 no longer likes
def test_tbparse_reads_it(written):
    scalars = SummaryReader(str(written), extra_columns={"dir_name"}).scalars
    mine = scalars[(scalars["dir_name"] == "mean/scratch") & (scalars["tag"] == f"{ENV}/iqm")]
    assert mine["step"].tolist() == STEPS.tolist()
    assert {"mean/finetune", "mean/scratch"} <= set(scalars["dir_name"])


def test_writing_again_replaces_and_a_report_still_reads_the_folder(experiment, written):
    before = sorted(path.parent for path in written.rglob("events*"))
    load(experiment.root).tensorboard()
    assert sorted(path.parent for path in written.rglob("events*")) == before
    assert load(experiment.root).irregularities == ()


def test_an_incomplete_experiment_has_event_files_too(experiment):
    for planned in experiment.planned[5:]:
        experiment.write(planned, np.arange(3) + planned.seed, status="interrupted")
    found = read(load(experiment.root).tensorboard() / "mean" / "scratch")
    assert len(found.Scalars(f"{ENV}/mean")) == 3
    assert f"{ENV}/iqm" not in found.Tags()["scalars"]

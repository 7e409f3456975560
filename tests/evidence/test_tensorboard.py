import numpy as np
import pytest
from tbparse import SummaryReader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import metadata

from trl_suite.evidence.report import tensorboard_events
from trl_suite.evidence.results.experiment_results import load

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
        found = read(written / method)
        assert set(found.Tags()["scalars"]) == {f"{ENV}/{name}" for name in ("mean", "low", "high", "iqm")}
        lines = found.Scalars(f"{ENV}/mean")
        assert [event.step for event in lines] == STEPS.tolist()
        np.testing.assert_allclose([event.value for event in lines], results.curves[ENV, method].returns.mean(axis=0),
                                   rtol=1e-5)  # fmt: skip
        low, high = (found.Scalars(f"{ENV}/{name}")[3].value for name in ("low", "high"))
        assert low < lines[3].value < high


def test_the_layout_of_the_custom_scalars_shows_bands(written):
    (event,) = read(written / "finetune").Tensors("custom_scalars__config__")
    layout = layout_pb2.Layout.FromString(event.tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == [ENV]
    band = layout.category[0].chart[0].margin.series[0]
    assert (band.value, band.lower, band.upper) == (f"{ENV}/mean", f"{ENV}/low", f"{ENV}/high")


def test_hparams_has_methods_and_measures(experiment, written):
    row = next(row for row in load(experiment.root).measures() if row.method == "finetune")
    found = read(written / "measures" / ENV / "finetune")
    assert found.Scalars("measures/speed_up")[0].value == pytest.approx(row.speed_up.value, rel=1e-6)
    plugin = found.PluginTagToContent("hparams")
    start = metadata.parse_session_start_info_plugin_data(plugin[metadata.SESSION_START_INFO_TAG])
    assert start.hparams["method"].string_value == "finetune"
    assert (start.hparams["axis"].string_value, start.hparams["value"].number_value) == ("gravity", 1.5)
    plugin = read(written / "measures").PluginTagToContent("hparams")
    described = metadata.parse_experiment_plugin_data(plugin[metadata.EXPERIMENT_TAG])
    assert "measures/speed_up" in [info.name.tag for info in described.metric_infos]
    assert [info.name for info in described.hparam_infos][:2] == ["method", "env"]


def test_pictures_are_images(written):
    found = read(written / "figures")
    assert f"figures/learning-{ENV}" in found.Tags()["images"]
    image = found.Images(f"figures/learning-{ENV}")[0]
    assert image.encoded_image_string.startswith(b"\x89PNG")
    assert image.width > 500


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # tbparse 0.0.9 sorts as pandas 3.1 no longer likes
def test_tbparse_reads_it(written):
    scalars = SummaryReader(str(written), extra_columns={"dir_name"}).scalars
    mine = scalars[(scalars["dir_name"] == "scratch") & (scalars["tag"] == f"{ENV}/iqm")]
    assert mine["step"].tolist() == STEPS.tolist()
    assert {"finetune", f"measures/{ENV}/finetune"} <= set(scalars["dir_name"])


def test_writing_again_replaces_and_a_report_still_reads_the_folder(experiment, written):
    before = sorted(path.parent for path in written.rglob("events*"))
    load(experiment.root).tensorboard()
    assert sorted(path.parent for path in written.rglob("events*")) == before
    assert load(experiment.root).irregularities == ()


def test_an_incomplete_experiment_has_event_files_too(experiment):
    for planned in experiment.planned[5:]:
        experiment.write(planned, np.arange(3) + planned.seed, status="interrupted")
    found = read(load(experiment.root).tensorboard() / "scratch")
    assert len(found.Scalars(f"{ENV}/mean")) == 3
    assert f"{ENV}/iqm" not in found.Tags()["scalars"]
    assert tensorboard_events.FOLDER == "tensorboard"

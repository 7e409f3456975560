"""An experiment as TensorBoard shows it: methods overlaid, a row for each run, pictures; written without torch.

The trainings write their own events as they go on; these are about the experiment as a whole, and stand beside them.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto import summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2

from trl_suite.evidence.figures import gallery
from trl_suite.evidence.figures.learning_curves import mean
from trl_suite.evidence.figures.style import drawn_for_cards, png
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.reading.run_records import NETWORK_MEASURES
from trl_suite.evidence.report import tensorboard_hparams
from trl_suite.evidence.report.event_writer import EventWriter
from trl_suite.evidence.results import across_targets
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.results.network_curves import NetworkCurves, network_curves
from trl_suite.evidence.statistics.estimates import interquartile_mean
from trl_suite.files import storing
from trl_suite.record import EVENTS

MEANS, EXPERIMENT = "mean", "experiment"  # runs beside those of the trainings
PICTURED = 6  # targets whose pictures are written
CARD_DPI, RGBA = 160, 4

_summary: Any = summary_pb2  # protobuf's modules are made when they are imported, so that no checker knows their names
_tensor: Any = tensor_pb2
_types: Any = types_pb2
_layout: Any = layout_pb2


def write(results: Results) -> Path:
    """Write the experiment's events into its folder `tensorboard/`, in place of earlier ones of its own; return it.

    Runs `mean/METHOD`: per target env the tags `ENV/mean`, `ENV/low`, `ENV/high` (95 % t interval of the mean) and
    `ENV/iqm` of the deterministic policy's return against target env steps, and `ENV/networks/MEASURE` where the
    networks were measured along the runs; the custom scalars show one band per method
    and env. Run `experiment`: pictures. The HParams tab has one row per run. The trainings' own events stay.

    Raises:
        StorageError: the folder cannot be written.
    """
    root = results.folder / EVENTS
    with storing(root):
        for folder in (MEANS, EXPERIMENT):
            if (root / folder).exists():
                shutil.rmtree(root / folder)
        networks = [(env, curves) for env in results.envs for curves in network_curves(results, env)]
        for method in dict.fromkeys(method for _, method in results.curves):
            with EventWriter(root / MEANS / _name(method)) as events:
                _method(events, [c for (_, name), c in results.curves.items() if name == method])
                _networks(events, [(env, curves) for env, curves in networks if curves.method == method])
        rows = tensorboard_hparams.write(results)
        with EventWriter(root / EXPERIMENT) as events:
            events.add(rows)
            _figures(events, results)
    return root


def _name(method: str) -> str:
    """Return a method's name as the name of one folder."""
    return method.replace("/", "-")


def _method(events: EventWriter, curves: list[Curves]) -> None:
    events.add(_charts([env_curves.env for env_curves in curves]))
    for env_curves in curves:
        band = mean(env_curves)
        middle = (
            interquartile_mean(env_curves.returns[env_curves.complete])
            if env_curves.complete.any()
            else band.value * np.nan
        )
        lines = {"mean": band.value, "low": band.low, "high": band.high, "iqm": middle}
        for name, values in lines.items():
            for step, value in zip(env_curves.steps, values, strict=False):
                events.scalar(f"{env_curves.env}/{name}", float(value), int(step))


def _networks(events: EventWriter, networks: list[tuple[str, NetworkCurves]]) -> None:
    for env, curves in networks:
        for measure in NETWORK_MEASURES:
            for step, value in zip(curves.steps, curves.band(measure).value, strict=True):
                events.scalar(f"{env}/networks/{measure}", float(value), int(step))


def _charts(envs: list[str]) -> Any:
    """Return the layout of the custom scalars: a band of the mean and the interquartile mean, per env."""
    categories: list[Any] = []
    for env in envs:
        series = _layout.MarginChartContent.Series(value=f"{env}/mean", lower=f"{env}/low", upper=f"{env}/high")
        band = _layout.Chart(title="mean and 95 % interval", margin=_layout.MarginChartContent(series=[series]))
        line = _layout.MultilineChartContent(tag=[f"^{_escaped(env)}/iqm$"])
        middle = _layout.Chart(title="interquartile mean", multiline=line)
        categories.append(_layout.Category(title=env, chart=[band, middle]))
    content = _layout.Layout(category=categories).SerializeToString()
    plugin = _summary.SummaryMetadata.PluginData(plugin_name="custom_scalars")
    tensor = _tensor.TensorProto(dtype=_types.DT_STRING, string_val=[content])
    described = _summary.SummaryMetadata(plugin_data=plugin)
    value = _summary.Summary.Value(tag="custom_scalars__config__", tensor=tensor, metadata=described)
    return _summary.Summary(value=[value])


def _escaped(name: str) -> str:
    """Return a name as a pattern of the browser's regular expressions."""
    return "".join(f"\\{sign}" if sign in r"\^$.|?*+()[]{}/" else sign for sign in name)


def _figures(events: EventWriter, results: Results) -> None:
    """Add the pictures, drawn narrow: a card is half as wide as a page."""
    rows = results.measures()
    with drawn_for_cards():
        figures = gallery.across(results, rows, across_targets.overall(results))
        for env in results.envs[:PICTURED]:
            figures += gallery.of_target(results, env, [row for row in rows if row.env == env])
    for picture in figures:
        width, height = picture.figure.get_size_inches() * CARD_DPI
        data = png(picture.figure, CARD_DPI)
        image = _summary.Summary.Image(encoded_image_string=data, width=int(width), height=int(height), colorspace=RGBA)
        value = _summary.Summary.Value(tag=f"figures/{picture.name}", image=image)
        events.add(_summary.Summary(value=[value]))

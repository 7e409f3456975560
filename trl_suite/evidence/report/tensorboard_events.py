"""An experiment as TensorBoard shows it: methods overlaid, a table of measures, pictures; written without torch.

Run folders hold event files of their own; these are about the experiment as a whole and stand in `tensorboard/`.
"""

import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, types_pb2
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from trl_suite.errors import InputError
from trl_suite.evidence.figures import gallery
from trl_suite.evidence.figures.learning_curves import mean
from trl_suite.evidence.figures.style import png
from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.curve import Curves
from trl_suite.evidence.results import across_targets
from trl_suite.evidence.results.comparison import MeasureRow
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.evidence.statistics.estimates import Estimate, interquartile_mean

FOLDER = "tensorboard"
METRICS = (
    "area_gain", "end_gain", "area_over_finetune", "end_over_finetune", "speed_up", "late_speed_up", "jumpstart",
    "area_difference", "asymptote_difference", "dip",
    "net_speed_up", "break_even", "retention",
)  # fmt: skip
PICTURED = 6  # targets whose pictures are written

_event: Any = event_pb2  # protobuf's modules are made when they are imported, so that no checker knows their names
_summary: Any = summary_pb2
_tensor: Any = tensor_pb2
_types: Any = types_pb2
_layout: Any = layout_pb2
_api: Any = api_pb2
_plugin: Any = plugin_data_pb2


def write(results: Results) -> Path:
    """Write the experiment's event files into its folder `tensorboard/`, in place of earlier ones, and return it.

    Runs `METHOD`: per target env the tags `ENV/mean`, `ENV/low`, `ENV/high` (95 % t interval of the mean) and `ENV/iqm`
    of the deterministic policy's return against target env steps. Runs `measures/ENV/METHOD`: one session of the
    HParams tab each. Run `figures`: the report's pictures. The custom scalars show one band per method and env.

    Raises:
        InputError: the folder cannot be written.
    """
    root = results.folder / FOLDER
    try:
        if root.exists():
            shutil.rmtree(root)
        for method in dict.fromkeys(method for _, method in results.curves):
            _method(root / _name(method), [c for (_, name), c in results.curves.items() if name == method])
        _measures(root / "measures", results)
        _figures(root / "figures", results)
    except OSError as error:
        raise InputError(f"{root}: cannot be written: {error.strerror}") from None
    return root


class _Events:
    """One run's event file."""

    def __init__(self, folder: Path) -> None:
        self._writer = EventFileWriter(str(folder))

    def __enter__(self) -> "_Events":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def scalar(self, tag: str, value: float, step: int = 0) -> None:
        """Add one number; TensorBoard has no place for one that is not finite."""
        if np.isfinite(value):
            self.add(_summary.Summary(value=[_summary.Summary.Value(tag=tag, simple_value=value)]), step)

    def add(self, summary: Any, step: int = 0) -> None:
        """Add a summary."""
        self._writer.add_event(_event.Event(wall_time=time.time(), step=step, summary=summary))


def _name(method: str) -> str:
    """Return a method's name as the name of one folder."""
    return method.replace("/", "-")


def _method(folder: Path, curves: list[Curves]) -> None:
    with _Events(folder) as events:
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


def _measures(folder: Path, results: Results) -> None:
    rows = results.measures()
    sessions = [(row, _session(results, row)) for row in rows]
    end = _plugin.SessionEndInfo(status=_api.STATUS_SUCCESS)
    with _Events(folder) as events:
        events.add(_experiment([session for _, session in sessions]))
    for row, session in sessions:
        with _Events(folder / row.env.replace("/", "-") / _name(row.method)) as events:
            events.add(_start(session))
            for name in METRICS:
                estimate: Estimate = getattr(row, name)
                for tag, value in (
                    (name, estimate.value),
                    (f"{name}_low", estimate.low),
                    (f"{name}_high", estimate.high),
                ):
                    events.scalar(f"measures/{tag}", value)
            events.scalar("measures/fraction_reached", row.reached / row.timed if row.timed else np.nan)
            events.add(_hparams(metadata.SESSION_END_INFO_TAG, session_end_info=end))


def _session(results: Results, row: MeasureRow) -> dict[str, str | float]:
    """Return the values that the HParams tab can sort and filter by."""
    depth = conditions.depth(row.base or row.method)
    hparams: dict[str, str | float] = {"method": row.method, "env": row.env, "source": row.source or "none"}
    if row.jumpstart.n:
        hparams |= {"claim": row.area_claim, "claim on time": row.time_claim}
    hparams |= {"runs": float(row.complete), "episodes": float(results.plan.episodes)}
    if shift := results.shifts.get(row.env):
        hparams |= {"axis": shift.axis, "value": shift.value}
    return hparams | ({"frozen layers": float(depth)} if depth is not None else {})


def _experiment(sessions: list[dict[str, str | float]]) -> Any:
    names = dict.fromkeys(name for session in sessions for name in session)
    infos = [_hparam(name, [session[name] for session in sessions if name in session]) for name in names]
    tags = [f"measures/{name}" for name in (*METRICS, "fraction_reached")]
    metrics = [_api.MetricInfo(name=_api.MetricName(tag=tag), display_name=tag.split("/")[1]) for tag in tags]
    return _hparams(metadata.EXPERIMENT_TAG, experiment=_api.Experiment(hparam_infos=infos, metric_infos=metrics))


def _start(session: dict[str, str | float]) -> Any:
    info = _plugin.SessionStartInfo()
    for name, value in session.items():
        setattr(info.hparams[name], "string_value" if isinstance(value, str) else "number_value", value)
    return _hparams(metadata.SESSION_START_INFO_TAG, session_start_info=info)


def _hparams(tag: str, **content: Any) -> Any:
    """Return a summary of the HParams plugin; its own functions for it need TensorFlow."""
    data = _plugin.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **content)
    plugin = _summary.SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString())
    described = _summary.SummaryMetadata(plugin_data=plugin)
    return _summary.Summary(value=[_summary.Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])


def _hparam(name: str, values: list[str | float]) -> Any:
    info = _api.HParamInfo(name=name)
    if any(isinstance(value, str) for value in values):
        info.type = _api.DATA_TYPE_STRING
        info.domain_discrete.extend(sorted({str(value) for value in values}))
    else:
        info.type = _api.DATA_TYPE_FLOAT64
    return info


def _figures(folder: Path, results: Results) -> None:
    rows = results.measures()
    figures = gallery.across(results, rows, across_targets.overall(results))
    for env in results.envs[:PICTURED]:
        figures += gallery.of_target(results, env, [row for row in rows if row.env == env])
    with _Events(folder) as events:
        for picture in figures:
            image = _summary.Summary.Image(encoded_image_string=png(picture.figure), **_size(picture))
            value = _summary.Summary.Value(tag=f"figures/{picture.name}", image=image)
            events.add(_summary.Summary(value=[value]))


def _size(picture: gallery.CaptionedFigure) -> Mapping[str, int]:
    width, height = picture.figure.get_size_inches() * 110
    return {"width": int(width), "height": int(height), "colorspace": 4}

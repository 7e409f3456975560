"""TensorBoard's HParams tab: one row per run, with what it was made by and its measures; written without torch.

A run's row stands beside the events of its training, under the same name: a click leads from the row to the curves.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto import summary_pb2
from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

from trl_suite.evidence.reading import conditions
from trl_suite.evidence.reading.run_records import NETWORK_MEASURES, RecordedRun
from trl_suite.evidence.report.event_writer import EventWriter
from trl_suite.evidence.results import dataframes
from trl_suite.evidence.results.experiment_results import Results
from trl_suite.record import RunRecord

SUFFIX = ".hparams"  # of the file with a run's row
METRICS = ("zero_shot", "area", "asymptote", "time_to_threshold", "reached", *NETWORK_MEASURES)

_summary: Any = summary_pb2  # protobuf's modules are made when they are imported, so that no checker knows their names
_api: Any = api_pb2
_plugin: Any = plugin_data_pb2

Session = dict[str, str | float]


def write(results: Results) -> Any:
    """Write each target run's row beside its events, in place of an earlier one; return the summary of all rows.

    A run that is being made has none yet: TensorBoard would take a second file for the end of the first.
    """
    measured, folders = dataframes.run_measures(results), results.plan.event_folders()
    sessions: list[Session] = []
    for member in results.recorded:
        if member.run is None or member.planned.role != "target" or member.run.status in ("running", "waiting"):
            continue
        sessions.append(_session(results, member, member.run))
        folder = results.folder / folders[member.planned.folder]
        _write_row(folder, sessions[-1], member, measured.get(member.planned.folder, {}))
    return _experiment(sessions)


def _write_row(folder: Path, session: Session, member: RecordedRun, measured: Mapping[str, float]) -> None:
    run = member.run
    assert run is not None
    for stale in folder.glob(f"*{SUFFIX}"):
        stale.unlink()
    status = _api.STATUS_SUCCESS if run.status == "done" else _api.STATUS_FAILURE
    with EventWriter(folder, SUFFIX) as events:
        events.add(_start(session))
        for name in METRICS:
            events.scalar(f"measures/{name}", float(measured.get(name, math.nan)), run.steps)
        for state in member.networks:
            for name in NETWORK_MEASURES:
                events.scalar(f"networks/{name}", float(getattr(state, name)), state.step)
        events.add(_hparams(metadata.SESSION_END_INFO_TAG, session_end_info=_plugin.SessionEndInfo(status=status)))


def _session(results: Results, member: RecordedRun, run: RunRecord) -> Session:
    """Return the values that the HParams tab can sort and filter by."""
    hyperparameters: Mapping[str, Any] = run.specification.get("hyperparameters", {})
    network = "x".join(str(width) for width in hyperparameters.get("hidden", ()))
    session: Session = {
        "env": run.env,
        "method": member.condition.name,
        "source": member.condition.source or "none",
        "seed": float(run.seed),
        "algorithm": run.algorithm,
        "preset": run.preset or "none",
        "learning rate": float(hyperparameters.get("learning_rate", math.nan)),
        "network": f"{network} {hyperparameters.get('activation', '')}".strip(),
        "steps": float(run.steps),
        "engine": run.engine,
        "device": run.device,
        "physics": run.physics,
    }
    if shift := results.shifts.get(run.env):
        session |= {"axis": shift.axis, "value": shift.value}
    layers = conditions.depth(member.condition.method)
    return session | ({"frozen layers": float(layers)} if layers is not None else {})


def _experiment(sessions: list[Session]) -> Any:
    """Return the summary that names the tab's columns."""
    names = dict.fromkeys(name for session in sessions for name in session)
    infos = [_hparam(name, [session[name] for session in sessions if name in session]) for name in names]
    metrics = [
        _api.MetricInfo(name=_api.MetricName(tag=f"measures/{name}"), display_name=name.replace("_", " "))
        for name in METRICS
    ]
    return _hparams(metadata.EXPERIMENT_TAG, experiment=_api.Experiment(hparam_infos=infos, metric_infos=metrics))


def _start(session: Session) -> Any:
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
    info = _api.HParamInfo(name=name, differs=len(set(values)) > 1)  # TensorBoard shows those that differ first
    if any(isinstance(value, str) for value in values):
        info.type = _api.DATA_TYPE_STRING
        info.domain_discrete.extend(sorted({str(value) for value in values}))
    else:
        info.type = _api.DATA_TYPE_FLOAT64
    return info

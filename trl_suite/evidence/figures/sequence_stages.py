"""Pictures of a sequence: each task's performance after every stage, and the matrix of stages and tasks."""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from trl_suite.evidence.figures.style import FAINT, INK, SOFT, Look, canvas, grid_canvas, styled
from trl_suite.evidence.results.number_format import number
from trl_suite.evidence.results.task_sequence import TaskSequence
from trl_suite.evidence.statistics import estimates

STEPS_UNIT = 1_000  # env steps of a mark on the axis
TURN_DEGREES = 25  # of the tasks' names below a grid


def stages(sequence: TaskSequence, looked: Mapping[str, Look]) -> Figure:
    """Return a panel for each task: its performance after every stage; its own stages are shaded."""
    count = len(sequence.tasks)
    with styled():
        figure = canvas(0.9 + 1.45 * count)
        panels: list[Axes] = list(np.atleast_1d(figure.subplots(count, 1, sharex=True)))
        for column, (panel, env) in enumerate(zip(panels, sequence.tasks, strict=True)):
            _panel(panel, sequence, column, env, looked)
        panels[-1].set_xlabel(f"env steps of all stages, in {STEPS_UNIT:,}")
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=min(4, len(labels)), frameon=False)
    return figure


def _panel(panel: Axes, sequence: TaskSequence, column: int, env: str, looked: Mapping[str, Look]) -> None:
    ends = np.arange(len(sequence.stages) + 1) * sequence.steps / STEPS_UNIT
    for stage, stage_env in enumerate(sequence.stages):
        if stage_env == env:
            panel.axvspan(ends[stage], ends[stage + 1], color="#f0ead6", linewidth=0)
        panel.axvline(ends[stage + 1], color=FAINT, linewidth=0.5)
    for method, performance in sequence.performance.items():
        look, band = looked[method], estimates.band(performance[:, :, column])
        panel.plot(ends, band.value, label=method, color=look.colour, linestyle=look.dash, marker=look.marker,
                   markersize=5, linewidth=1.6)  # fmt: skip
        if np.isfinite(band.low).all():
            panel.fill_between(ends, band.low, band.high, color=look.colour, alpha=0.13, linewidth=0)
    panel.set_title(env, loc="left", fontsize=9.5, color=SOFT)
    panel.set_ylabel("score" if sequence.scored else "return")
    panel.margins(x=0.01)


def performance_matrix(sequence: TaskSequence, method: str) -> Figure:
    """Return a grid of stage by task: the mean performance on each task after each stage, its own framed."""
    values = sequence.performance[method][:, 1:].mean(axis=0)  # (stages, tasks)
    rows, columns = values.shape
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    span = (high - low) or 1.0
    with styled():
        stage_names = [f"{place}. {env}" for place, env in enumerate(sequence.stages, 1)]
        figure = grid_canvas(stage_names, sequence.tasks, TURN_DEGREES, (1.05, 0.42))
        axis: Axes = figure.subplots()
        for y in range(rows):
            for x in range(columns):
                share = (values[y, x] - low) / span
                framed = sequence.stages[y] == sequence.tasks[x]
                axis.add_patch(Rectangle((x - 0.48, y - 0.44), 0.96, 0.88, facecolor=mpl.colormaps["cividis"](share),
                                         edgecolor=INK if framed else FAINT,
                                         linewidth=2.0 if framed else 0.4))  # fmt: skip
                axis.text(x, y, number(float(values[y, x])), ha="center", va="center", fontsize=8.5,
                          color=INK if share > 0.55 else "white")  # fmt: skip
        axis.set_xlim(-0.5, columns - 0.5)
        axis.set_ylim(rows - 0.5, -0.5)
        axis.set_xticks(range(columns), sequence.tasks, rotation=TURN_DEGREES, ha="right")
        axis.set_yticks(range(rows), stage_names)
        axis.tick_params(length=0)
        axis.set_xlabel("evaluated on")
        axis.set_ylabel("after stage")
        for spine in axis.spines.values():
            spine.set_visible(False)
    return figure

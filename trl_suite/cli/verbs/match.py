"""`trl-suite match`: which slots and components of a policy would be copied into an env, before any training."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich import box
from rich.table import Table
from rich.text import Text

from trl_suite.cli.arguments import Match, aliases
from trl_suite.errors import InputError, suggestion
from trl_suite.files import whole
from trl_suite.interface import Interface
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.preview import Preview, SlotMatch, preview
from trl_suite.networks.align import align, other_quantities
from trl_suite.networks.exchange.onnx_import import ImportedPolicy
from trl_suite.networks.exchange.slot_fit import differences
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.policy_import import EXCHANGE_SUFFIXES, FileArguments, load_foreign, load_policy, spaces_of
from trl_suite.worlds.deployment import deployment_of

PICTURE_SUFFIXES = (".png", ".svg", ".pdf")
INK, FAINT, MATCHED, ALONE = "#1a1a1a", "#8a8a8a", "#0072b2", "#d55e00"  # Okabe & Ito's blue and vermilion
_LEFT, _RIGHT, _GAP = 0.36, 0.64, 2.0  # the columns' places, and rows between observations and actions
_STYLE: Any = {"font.family": ["DejaVu Sans"], "font.size": 9.0, "text.parse_math": False, "svg.fonttype": "none"}


def execute(arguments: Match) -> int:
    """Print both tables, draw the picture if one is asked for, and return the exit code."""
    if arguments.out:
        _refuse_unless_picture(arguments.out)
    alias, target = aliases(arguments.alias), spaces_of(arguments.env)
    policy, notes = _loaded(arguments, alias)
    alias = {} if arguments.policy.endswith(EXCHANGE_SUFFIXES) else alias  # it is in the env's slots by now
    name = arguments.method or ("actor-only" if policy.card.network.actor_only else "finetune")
    seen = preview(policy, target.interface, name, methods.find(name), alias)
    if arguments.out:
        _draw(arguments.out, policy.interface, seen, (policy.card.training.env, arguments.env))
    if arguments.json:
        print_json(seen)
        return 0
    console = Terminal()
    console.print(_slots(seen), highlight=False)
    console.print(_parts(seen), highlight=False)
    quantities = other_quantities(
        policy.interface, target.interface, align(policy.interface, target.interface, alias, True)
    )
    for line in (*_rest(seen, policy.interface), *quantities, *notes):
        console.print(line, highlight=False, soft_wrap=True)
    if arguments.out:
        console.print(f"picture: {arguments.out}", highlight=False, soft_wrap=True)
    return 0


def _loaded(arguments: Match, alias: Mapping[str, str]) -> ImportedPolicy:
    """Return the policy, and what differs between its world and the target besides the slots."""
    if arguments.policy.endswith(EXCHANGE_SUFFIXES):
        return load_foreign(Path(arguments.policy), FileArguments(env=arguments.env, alias=alias))
    policy = load_policy(arguments.policy)
    try:
        home = deployment_of(policy.card.training.env)
    except InputError as error:
        return ImportedPolicy(policy, (f"rates, scales and poses are not compared: {error}",))
    return ImportedPolicy(policy, differences(home, deployment_of(arguments.env), arguments.env, alias))


def _slots(seen: Preview) -> Table:
    table = Table("", "target", "unit", "source", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    before = ""
    for match in seen.slots:
        source = Text("none", style="yellow") if match.source is None else match.source
        table.add_row(match.kind if match.kind != before else "", match.slot, match.unit, source)
        before = match.kind
    return table


def _parts(seen: Preview) -> Table:
    table = Table("component", "shape", seen.method, "of its slots", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for part in seen.parts:
        fate = f"{part.fate}, frozen" if part.frozen else part.fate
        shapes = ", ".join("x".join(map(str, shape)) or "1" for shape in part.shapes.values())
        table.add_row(part.name, shapes, fate, part.matched or ("all" if part.fate == "copied" else ""))
    return table


def _rest(seen: Preview, source: Interface) -> list[str]:
    names = {"observation": source.observation_names, "action": source.action_names}
    unmatched = [
        f"{match.slot}{suggestion(match.slot, names[match.kind])}" for match in seen.slots if match.source is None
    ]
    lines = {"not in the source": unmatched, "unused of the source": seen.unused, "left over": seen.left_over}
    return [f"{label}: {', '.join(names)}" for label, names in lines.items() if names]


# --- the picture: the source's slots on the left, the target's on the right, a line from each to its own ---


def _refuse_unless_picture(path: Path) -> None:
    """Refuse a path that no picture can be written to.

    Raises:
        InputError: its ending is none of `PICTURE_SUFFIXES`, or its folder does not exist.
    """
    if path.suffix not in PICTURE_SUFFIXES:
        raise InputError(f"{path}: a picture ends with one of {', '.join(PICTURE_SUFFIXES)}")
    if not path.parent.is_dir():
        raise InputError(f"{path}: no folder {path.parent}")


def _draw(path: Path, source: Interface, seen: Preview, names: tuple[str, str]) -> None:
    """Write the picture; `names` are those of the source and the target, above the columns."""
    with mpl.rc_context(_STYLE):
        rows = max(_height(source.observation_names, source.action_names), _height(*_targets(seen)))
        figure = Figure(figsize=(8.4, 1.3 + 0.21 * rows), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0, 1)
        axes.set_ylim(rows - 0.4, -3.4)
        _draw_head(axes, seen, names)
        _draw_columns(axes, source, seen)
        with whole(path) as unfinished:
            figure.savefig(unfinished, dpi=150, format=path.suffix[1:])


def _height(observations: Sequence[str], actions: Sequence[str]) -> float:
    return len(observations) + _GAP + len(actions)


def _targets(seen: Preview) -> tuple[list[str], list[str]]:
    return [m.slot for m in seen.slots if m.kind == "observation"], [m.slot for m in seen.slots if m.kind == "action"]


def _draw_head(axes: Axes, seen: Preview, names: tuple[str, str]) -> None:
    matched = sum(match.source is not None for match in seen.slots)
    axes.text(_LEFT, -1.9, names[0], ha="right", weight="bold", color=INK)
    axes.text(_RIGHT, -1.9, names[1], ha="left", weight="bold", color=INK)
    axes.text(0.5, -3.0, f"{seen.method}: {matched} of {len(seen.slots)} slots matched", ha="center", color=INK)
    legend = "\N{WHITE CIRCLE} nothing stands for it"
    axes.text(0.5, -1.9, legend, ha="center", color=ALONE, size=8)


def _draw_columns(axes: Axes, source: Interface, seen: Preview) -> None:
    """Draw both kinds of slots, each kind from a common height, so that lines between equal spaces are level."""
    top = 0.0
    for kind, names in (("observation", source.observation_names), ("action", source.action_names)):
        matches = [match for match in seen.slots if match.kind == kind]
        axes.text(0.5, top - 0.75, f"{kind}s", ha="center", color=FAINT, size=8)
        _draw_kind(axes, names, matches, top)
        top += max(len(names), len(matches)) + _GAP


def _draw_kind(axes: Axes, names: Sequence[str], matches: Sequence[SlotMatch], top: float) -> None:
    used = {match.source for match in matches}
    for row, name in enumerate(names):
        _draw_slot(axes, _LEFT, top + row, name, name in used)
    for row, match in enumerate(matches):
        _draw_slot(axes, _RIGHT, top + row, f"{match.slot}  [{match.unit}]", match.source is not None)
        if match.source is not None:
            heights = (top + names.index(match.source), top + row)
            axes.plot((_LEFT, _RIGHT), heights, color=MATCHED, linewidth=0.9, alpha=0.8)


def _draw_slot(axes: Axes, column: float, height: float, text: str, matched: bool) -> None:
    side = "right" if column == _LEFT else "left"
    away = -0.015 if column == _LEFT else 0.015
    colour = INK if matched else ALONE
    mark, filled = (MATCHED, "full") if matched else (ALONE, "none")
    axes.plot(column, height, "o", markersize=4, color=mark, fillstyle=filled)
    axes.text(column + away, height, text, ha=side, va="center", color=colour, style="normal" if matched else "italic")

"""`trl-suite probe`: what is known of a policy on a target before any training, and the method that the rules name."""

import math

import msgspec
from rich import box
from rich.table import Table

from trl_suite.cli.arguments import Probe, aliases
from trl_suite.evidence.reading.conditions import FULL
from trl_suite.evidence.results.number_format import number
from trl_suite.evidence.statistics import similarity
from trl_suite.experiment.measuring.transfer_probe import ProbeReport, probe
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.policy_import import load_policy
from trl_suite.training.reproducibility import threads

UNPROVEN = "no rule on these numbers has been shown to beat always fine-tuning; the suite's own would have"
JOINTS_NAMED_MAX = 4  # joints that are named


def execute(arguments: Probe) -> int:
    """Print the probes with the suggestion and its rule, and return the exit code."""
    target = f"{arguments.env}.{arguments.variant}" if arguments.variant else arguments.env
    policy, alias = load_policy(arguments.policy), aliases(arguments.alias)
    with threads(1):
        report = probe(policy, target, alias=alias, episodes=arguments.episodes, reference=arguments.reference)
    suggestion = similarity.suggest(report.probes)
    if arguments.json:
        advice = {"suggestion": suggestion._asdict(), "rules_beat_finetuning": similarity.RULES_BEAT}
        table = msgspec.to_builtins(report) | advice
        print_json(table)
        return 0
    console = Terminal()
    console.print(_table(report, arguments.reference), highlight=False)
    for note in report.notes:
        console.print(note, style="yellow", highlight=False, soft_wrap=True)
    depth = f", of whose trunk {suggestion.freeze_depth} layers may be held" if suggestion.method != "scratch" else ""
    if not similarity.RULES_BEAT:
        console.print(f"suggested: {FULL}", style="bold", highlight=False)
        console.print(f"{UNPROVEN} {suggestion.method}{depth}: {suggestion.rule}", highlight=False, soft_wrap=True)
        return 0
    console.print(f"suggested: {suggestion.method}{depth}", style="bold", highlight=False)
    console.print(f"by the rule: {suggestion.rule}", highlight=False, soft_wrap=True)
    return 0


def _table(report: ProbeReport, reference: float | None) -> Table:
    probes = report.probes
    upper_anchor = "its return at home" if reference is None else "the reference given"
    returns = f"{number(report.target_return)} on the target, {number(report.source_return)} at home"
    table = Table("probe", "value", "what it says", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    zero = f"0: random actions ({number(report.random_return)}), 1: {upper_anchor}; returns: {returns}"
    table.add_row("zero-shot", number(probes.zero_shot), zero)
    apart = f"0: the same world, 1: as far apart as two steps{_joints(report)}"
    table.add_row("dynamics", number(probes.dynamics), apart)
    table.add_row(
        "critic", number(probes.critic), "1: its critic predicts the returns there, 0: no more than a constant"
    )
    layer_meaning = "share of return and motion to come that can be read off it"
    for layer, value in enumerate(probes.layers):
        table.add_row(f"layer {layer}" if layer else "observation", number(value), "" if layer else layer_meaning)
    return table


def _joints(report: ProbeReport) -> str:
    most = sorted(report.joints.items(), key=lambda joint: -joint[1])[:JOINTS_NAMED_MAX]
    listed = ", ".join(f"{name} {number(distance)}" for name, distance in most if 0 < distance < math.inf)
    return f"; most: {listed}" if listed else ""

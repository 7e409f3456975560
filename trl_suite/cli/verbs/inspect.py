"""`trl-suite inspect`: a policy's card, its slots with their units, its components with their shapes."""

import msgspec
import torch
from rich import box
from rich.table import Table

from trl_suite.cli.arguments import Inspect
from trl_suite.networks.card import Card
from trl_suite.networks.policy import Policy
from trl_suite.terminal import Terminal, print_json
from trl_suite.training.policy_import import load_policy


def execute(arguments: Inspect) -> int:
    """Print the policy and return the exit code."""
    policy = load_policy(arguments.policy)
    if arguments.json:
        print_json(as_table(policy))
        return 0
    console = Terminal()
    for table in (_card(policy), _slots(policy.card), _components(policy)):
        console.print(table, highlight=False)
    return 0


def as_table(policy: Policy) -> dict[str, object]:
    """Return the card, and every tensor's shape, type and size, as plain values."""
    components = {
        name: {tensor: _described(value) for tensor, value in tensors.items()}
        for name, tensors in policy.components.items()
    }
    return {"card": msgspec.to_builtins(policy.card), "digest": policy.digest, "components": components}


def _described(value: torch.Tensor) -> dict[str, object]:
    return {"shape": list(value.shape), "type": str(value.dtype).removeprefix("torch."), "bytes": value.nbytes}


def _card(policy: Policy) -> Table:
    card, training = policy.card, policy.card.training
    value = "" if training.return_mean is None else f"{training.return_mean:,.1f} over {training.episodes} episodes"
    facts = {
        "env": training.env,
        "algorithm": card.algorithm.upper(),
        "network": f"actor {_widths(card.network.actor)}, critic {_widths(card.network.critic)}, "
        + card.network.activation
        + (f", a residual within {card.network.residual:g}" if card.network.residual else "")
        + (f", behind {card.network.composed.modules} frozen policies" if card.network.composed else ""),
        "normalises": _normalises(card),
        "keeps": _memory(card),
        "steps": f"{training.steps:,}",
        "seed": "" if training.seed < 0 else str(training.seed),
        "return": value,
        "origin": training.origin,
        "hyperparameters": ", ".join(f"{key}={setting}" for key, setting in training.hyperparameters.items()),
        "versions": ", ".join(f"{name} {version}" for name, version in training.versions.items()),
        "commit": training.commit + (" with uncommitted changes" if training.dirty else ""),
        "weights": f"sha256 {policy.digest}",
    }
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        if fact:
            table.add_row(name, fact)
    return table


def _widths(widths: tuple[int, ...]) -> str:
    return "-".join(map(str, widths)) or "linear"


def _normalises(card: Card) -> str:
    normaliser = card.normaliser
    switches = (("observations", normaliser.observation), ("rewards", normaliser.reward)) if normaliser else ()
    return ", ".join(what for what, on in switches if on) or "nothing"


def _memory(card: Card) -> str:
    """Return the list of everything that lies beside the weights."""
    if card.memory is None:
        return ""
    transitions = (f"{card.memory.transitions:,} transitions",) if card.memory.transitions else ()
    return ", ".join((*transitions, *card.memory.moments))


def _slots(card: Card) -> Table:
    table = Table("", "slot", "unit", "limits", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, slot in enumerate(card.interface.observation):
        table.add_row("observation" if i == 0 else "", slot.name, slot.unit, "")
    bounds = zip(card.network.action_low, card.network.action_high, strict=True)
    for i, (slot, (low, high)) in enumerate(zip(card.interface.action, bounds, strict=True)):
        table.add_row("action" if i == 0 else "", slot.name, slot.unit, f"{low:g} to {high:g}")
    return table


def _components(policy: Policy) -> Table:
    table = Table("component", "tensors", "numbers", "kB", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in table.columns[2:]:
        column.justify = "right"
    count = size = 0
    for name, tensors in policy.components.items():
        numbers, taken = sum(t.numel() for t in tensors.values()), sum(t.nbytes for t in tensors.values())
        shapes = ", ".join(f"{key} {'x'.join(map(str, value.shape)) or '1'}" for key, value in tensors.items())
        table.add_row(name, shapes, f"{numbers:,}", f"{taken / 1000:,.1f}")
        count, size = count + numbers, size + taken
    table.add_row("all", "", f"{count:,}", f"{size / 1000:,.1f}")
    return table

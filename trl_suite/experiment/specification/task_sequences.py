"""`[sequence]` stands in place of `[source]` and `[target]`: its tasks are the targets, its stages the sources."""

from collections.abc import Mapping
from typing import Any

import msgspec

from trl_suite import tables
from trl_suite.errors import InputError
from trl_suite.experiment.specification.experiment_keys import (
    Experiment,
    SequenceOptions,
    SourceOptions,
    TargetOptions,
)
from trl_suite.mechanisms import methods
from trl_suite.mechanisms.adapters import Residual
from trl_suite.mechanisms.methods import Method
from trl_suite.mechanisms.source_replay import remembered
from trl_suite.record import SCRATCH
from trl_suite.training.policy_import import trainable_spaces


class _Sequence(msgspec.Struct):
    sequence: SequenceOptions


def in_full(table: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Return an experiment's table, where it has a sequence with the source and target that follow from it.

    Raises:
        InputError: the sequence is wrong, or a source or target of its own stands beside it.
    """
    if table.get("sequence") is None:
        return dict(table)
    sequence = tables.convert({"sequence": table["sequence"]}, _Sequence, label).sequence
    implied = {"source": SourceOptions(), "target": TargetOptions(envs=sequence.tasks, steps=sequence.steps)}
    for key, options in implied.items():
        if key in table and tables.convert(table[key], type(options), f"{label}: {key}") != options:
            raise InputError(f"{label}: {key}: give either [sequence], or [source] and [target]")
    return dict(table) | {"source": {}, "target": {"envs": list(sequence.tasks), "steps": sequence.steps}}


def stage_method(experiment: Experiment, name: str) -> Method:
    """Return a method as the experiment asks for it: with heads per task where its sequence has them.

    Raises:
        InputError: it cannot have such heads.
    """
    method, sequence = methods.find(name, experiment.method), experiment.sequence
    if sequence is None or not sequence.heads or not method.needs_source:
        return method
    try:
        return msgspec.structs.replace(method, heads=sequence.heads)
    except ValueError as error:
        raise InputError(f"sequence.heads: method '{name}': {error}") from None


def check(where: str, experiment: Experiment) -> None:
    """Refuse what a sequence cannot do.

    Raises:
        InputError: the key, method or env is named.
    """
    for key, asked in (
        ("tune", experiment.tune is not None),
        ("retention", experiment.retention),
        ("probes", bool(experiment.probes)),
    ):
        if asked:
            raise InputError(f"{where}: {key}: not in a sequence, whose every policy is evaluated on every task")
    for name in experiment.methods:
        method = methods.find(name, experiment.method)
        stored = remembered(method)
        if method.head_start:
            raise InputError(f"{where}: methods: '{name}' is charged a source's steps, and a sequence has no source")
        if stored:
            raise InputError(f"{where}: methods: '{name}' copies {', '.join(stored)}, which no stage keeps")
        if isinstance(method.adapter, Residual) and len(experiment.sequence.stages if experiment.sequence else ()) > 2:
            raise InputError(f"{where}: methods: '{name}' is a residual, which a third stage could not start from")
        if name != SCRATCH and not method.needs_source:
            raise InputError(f"{where}: methods: '{name}' takes nothing from the stage before; 'scratch' is the reset")
    if experiment.methods == (SCRATCH,):
        raise InputError(f"{where}: methods: a sequence needs a method besides scratch: 'finetune'")


def check_slots(where: str, experiment: Experiment) -> None:
    """Refuse tasks of different slots, which no policy could be evaluated on.

    Raises:
        InputError: the first env that differs, and a slot of it.
    """
    assert experiment.sequence is not None
    first, *others = experiment.sequence.tasks
    first_interface = trainable_spaces(first).interface
    for env in others:
        interface = trainable_spaces(env).interface
        if interface != first_interface:
            slots = [set(side.observation + side.action) for side in (first_interface, interface)]
            slot = min((slot.name for slot in slots[0] ^ slots[1]), default="their order")
            raise InputError(
                f"{where}: sequence.envs: '{env}' has other slots than '{first}': {slot}; with heads and alias too, "
                "a sequence is of one robot, whose variants share their slots"
            )

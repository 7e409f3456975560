"""`probes.json`: what was known of every target before its training, to be compared with how it went."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence.statistics.similarity import Probed, Probes
from trl_suite.experiment.measuring.probe import probe
from trl_suite.experiment.planning.grid import Step
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running.run_folder import state_of
from trl_suite.files import write_atomically
from trl_suite.networks.align import Alias
from trl_suite.networks.policy import load

FILE = "probes.json"


def write(root: Path, steps: Sequence[Step], count: int, alias: Alias) -> None:
    """Probe each target's first finished source policies on it and write the means; what is there already is kept.

    Args:
        root: the experiment's folder.
        steps: the plan's runs.
        count: number of source policies of each target.
        alias: names in the target -> names in the source.
    """
    done = {step.planned.folder: step.planned for step in steps if step.planned.role == "source" and _done(root, step)}
    found = {one.env: one for one in _read(root / FILE)}
    for env in dict.fromkeys(step.planned.env for step in steps if step.planned.role == "target"):
        used = dict.fromkeys(step.planned.source for step in steps if step.planned.env == env)
        policies = tuple(folder for folder in used if folder in done)[:count]
        if not policies or (env in found and found[env].policies == policies):
            continue
        each = [probe(load(root / folder / POLICY), env, alias=alias).probes for folder in policies]
        found[env] = Probed(env=env, source=done[policies[0]].env, policies=policies, probes=mean(each))
        write_atomically(root / FILE, _encoded(list(found.values())))


def _done(root: Path, step: Step) -> bool:
    return state_of(root, step).condition == "done"


def mean(each: Sequence[Probes]) -> Probes:
    """Return the mean of each probe over those policies where it could be made."""
    return Probes(
        zero_shot=_mean([one.zero_shot for one in each]),
        dynamics=_mean([one.dynamics for one in each]),
        critic=_mean([one.critic for one in each]),
        layers=tuple(_mean(layer) for layer in zip(*(one.layers for one in each if one.layers), strict=True)),
    )


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.mean(known)) if known else math.nan


def _encoded(found: Sequence[Probed]) -> bytes:
    """Return the probes as JSON, which knows no NaN: what was not made is left out."""
    table: list[dict[str, Any]] = [msgspec.to_builtins(one) for one in found]
    for one in table:
        one["probes"] = {name: value for name, value in one["probes"].items() if np.isfinite(value).all()}
    return msgspec.json.format(msgspec.json.encode(table), indent=2)


def _read(path: Path) -> list[Probed]:
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Probed])
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}; remove it to have it made anew") from None

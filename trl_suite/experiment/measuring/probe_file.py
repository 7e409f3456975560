"""`probes.json`: what was known of every target before its training, to be compared with how it went."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trl_suite.errors import InputError
from trl_suite.evidence.results.probe_prediction import PROBES_FILE
from trl_suite.evidence.statistics.similarity import Probed, Probes
from trl_suite.experiment.measuring.transfer_probe import probe
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import POLICY
from trl_suite.experiment.running.run_folder import state_of
from trl_suite.files import write_atomically
from trl_suite.networks.align import Alias
from trl_suite.networks.policy import load


def write(root: Path, specs: Sequence[RunSpec], count: int, alias: Alias) -> None:
    """Probe each target's first finished source policies on it and write the means; what is there already is kept.

    Args:
        root: the experiment's folder.
        specs: the plan's runs.
        count: number of source policies of each target.
        alias: names in the target -> names in the source.
    """
    done = {spec.folder: spec.planned for spec in specs if spec.role == "source" and _done(root, spec)}
    probed = {entry.env: entry for entry in _read(root / PROBES_FILE)}
    for env in dict.fromkeys(spec.env for spec in specs if spec.role == "target"):
        used = dict.fromkeys(spec.source for spec in specs if spec.env == env)
        policies = tuple(folder for folder in used if folder in done)[:count]
        if not policies or (env in probed and probed[env].policies == policies):
            continue
        probes = [probe(load(root / folder / POLICY), env, alias=alias).probes for folder in policies]
        probed[env] = Probed(env=env, source=done[policies[0]].env, policies=policies, probes=mean(probes))
        write_atomically(root / PROBES_FILE, _encoded(list(probed.values())))


def _done(root: Path, spec: RunSpec) -> bool:
    return state_of(root, spec).condition == "done"


def mean(probes: Sequence[Probes]) -> Probes:
    """Return the mean of each probe over those policies where it could be made."""
    return Probes(
        zero_shot=_mean([single.zero_shot for single in probes]),
        dynamics=_mean([single.dynamics for single in probes]),
        critic=_mean([single.critic for single in probes]),
        layers=tuple(
            _mean(layer) for layer in zip(*(single.layers for single in probes if single.layers), strict=True)
        ),
    )


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _encoded(probed: Sequence[Probed]) -> bytes:
    """Return the probes as JSON, which knows no NaN: what was not made is left out."""
    table: list[dict[str, Any]] = [msgspec.to_builtins(entry) for entry in probed]
    for entry in table:
        entry["probes"] = {name: value for name, value in entry["probes"].items() if np.isfinite(value).all()}
    return msgspec.json.format(msgspec.json.encode(table), indent=2)


def _read(path: Path) -> list[Probed]:
    if not path.is_file():
        return []
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Probed])
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}; remove it to have it made anew") from None

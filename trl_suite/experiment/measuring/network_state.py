"""Plasticity and distance from the source along finished runs: measured on the policies of their evaluations."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trl_suite import files
from trl_suite.errors import InputError
from trl_suite.evidence.reading.run_records import PLASTICITY, SOURCE_STEP, NetworkState, plasticity_text
from trl_suite.evidence.statistics import plasticity
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import ALONG, POLICY
from trl_suite.experiment.running.run_folder import state_of
from trl_suite.mechanisms.distillation import divergence
from trl_suite.networks import activations
from trl_suite.networks.actor import SourceActor, source_actor
from trl_suite.networks.align import align
from trl_suite.networks.policy import Policy, load
from trl_suite.training.acting.source_states import visited_states
from trl_suite.training.reproducibility import seed_for

STATES = 1_000  # of the target, visited by the trained policy, on which networks are compared


def write(root: Path, specs: Sequence[RunSpec]) -> list[str]:
    """Write `plasticity.csv` beside every finished target run that has none yet; return what could not be.

    Args:
        root: the experiment's folder.
        specs: the plan's runs.
    """
    notes: dict[str, None] = {}
    for spec in specs:
        path = root / spec.folder / PLASTICITY
        if spec.role not in ("target", "revisit") or path.is_file() or state_of(root, spec).condition != "done":
            continue
        try:
            along = _along(root / spec.folder)
            states = measured(load(root / spec.folder / POLICY), _source(root, spec), spec, along)
        except InputError as error:
            notes[f"no plasticity of {spec.env}, {spec.method}: {error}"] = None
            continue
        with files.storing(path):
            files.write_atomically(path, plasticity_text(states).encode())
            shutil.rmtree(root / spec.folder / ALONG, ignore_errors=True)
    return list(notes)


def _source(root: Path, spec: RunSpec) -> Policy | None:
    return load(root / spec.source / POLICY) if spec.source else None


def _along(folder: Path) -> dict[int, Policy]:
    """Policies of a run's evaluations by step; of a run that kept none, nothing."""
    places = [place for place in (folder / ALONG).glob("*") if place.name.isdecimal()]
    return {int(place.name): load(place) for place in sorted(places, key=lambda place: int(place.name))}


def measured(
    policy: Policy, source: Policy | None, spec: RunSpec, along: Mapping[int, Policy] | None = None
) -> list[NetworkState]:
    """State of the source's networks, where the run has one, and of its own at each evaluation and at the end.

    Args:
        policy: after the training; all are measured on the states that it visits.
        source: what the training started from.
        spec: of the run.
        along: policies of its evaluations by step.

    Raises:
        InputError: the source does not fit the target.
    """
    seen = visited_states(policy, STATES, seed_for(spec.seed, "evaluation", 2))
    policies = {**(along or {}), spec.steps: policy}
    if source is None:
        return [_state(step, by_step, seen, float("nan")) for step, by_step in policies.items()]
    actor = source_actor(
        source, policy.interface, align(source.interface, policy.interface, spec.specification["alias"])
    )
    trained = [_state(step, by_step, seen, _divergence(actor, by_step, seen)) for step, by_step in policies.items()]
    return [_state(SOURCE_STEP, source, seen[:, actor.observation], 0.0), *trained]


def _state(step: int, policy: Policy, seen: npt.NDArray[np.float64], kl: float) -> NetworkState:
    _, *layers = activations.trunk(policy, seen)
    weights = [
        np.asarray(tensors["weight"], dtype=np.float64)
        for name, tensors in policy.components.items()
        if name.startswith("actor.") and "weight" in tensors
    ]
    return NetworkState(
        step=step,
        dormant=plasticity.dormant_share(layers),
        effective_rank=plasticity.effective_rank(layers[-1]),
        weight_norm=plasticity.weight_norm(weights),
        source_kl=kl,
    )


def _divergence(actor: SourceActor, policy: Policy, seen: npt.NDArray[np.float64]) -> float:
    """KL(source || policy), meaned over states; for TD3 the squared distance of the actions."""
    with torch.no_grad():
        learner: Any = policy.gaussian(torch.as_tensor(policy.normalised(seen)), policy.components)
        if learner[1] is None:
            learner = torch.tanh(learner[0]), None
        return float(divergence(actor.gaussian(seen), learner))

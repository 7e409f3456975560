"""Plasticity and distance from the source of finished runs: measured on their policies, which stay as they are."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from trl_suite import files
from trl_suite.errors import InputError
from trl_suite.evidence.reading.run_records import PLASTICITY, NetworkState, plasticity_text
from trl_suite.evidence.statistics import plasticity
from trl_suite.experiment.planning.run_spec import RunSpec
from trl_suite.experiment.policy_library import POLICY
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
        if spec.role != "target" or path.is_file() or state_of(root, spec).condition != "done":
            continue
        try:
            states = measured(load(root / spec.folder / POLICY), _source(root, spec), spec)
        except InputError as error:
            notes[f"no plasticity of {spec.env}, {spec.method}: {error}"] = None
            continue
        with files.storing(path):
            files.write_atomically(path, plasticity_text(states).encode())
    return list(notes)


def _source(root: Path, spec: RunSpec) -> Policy | None:
    return load(root / spec.source / POLICY) if spec.source else None


def measured(policy: Policy, source: Policy | None, spec: RunSpec) -> list[NetworkState]:
    """State of the source's networks before the run, where it has one, and of its own afterwards.

    Raises:
        InputError: the source does not fit the target.
    """
    seen = visited_states(policy, STATES, seed_for(spec.seed, "evaluation", 2))
    if source is None:
        return [_state(spec.steps, policy, seen, float("nan"))]
    actor = source_actor(
        source, policy.interface, align(source.interface, policy.interface, spec.specification["alias"])
    )
    return [
        _state(0, source, seen[:, actor.observation], 0.0),
        _state(spec.steps, policy, seen, _divergence(actor, policy, seen)),
    ]


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

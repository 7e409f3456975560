"""The moments of an SB3 learner's optimisers, by whose parameters they are."""

from collections.abc import Iterator, Sequence

import torch
from stable_baselines3 import SAC

from trl_suite.networks.components import Components
from trl_suite.networks.policy_memory import MOMENTS, STEP, owner
from trl_suite.training.sb3 import sb3_model as sb3
from trl_suite.training.sb3.learners import Model
from trl_suite.training.sb3.rates import optimisers


def moments(model: Model) -> dict[str, dict[str, torch.Tensor]]:
    """Return copies of Adam's moments and steps, `optimiser.actor` and the like; zeros where there was no step."""
    found: dict[str, dict[str, torch.Tensor]] = {}
    for name, optimiser, parameter in _learned(model):
        state = optimiser.state.get(parameter, {})
        mine = found.setdefault(owner(name.rpartition(".")[0]), {})
        mine |= {f"{name}.{key}": state.get(key, torch.zeros_like(parameter)).detach().clone() for key in MOMENTS}
        mine[f"{name}.{STEP}"] = torch.as_tensor(state.get(STEP, 0.0), dtype=torch.float32).clone()
    return found


def write_moments(model: Model, memories: Components, names: Sequence[str]) -> None:
    """Put the named moments into the learner's optimisers; their rates stay as they are."""
    for name, optimiser, parameter in _learned(model):
        if (mine := owner(name.rpartition(".")[0])) in names:
            optimiser.state[parameter] = {key: memories[mine][f"{name}.{key}"].clone() for key in (*MOMENTS, STEP)}


def _learned(model: Model) -> Iterator[tuple[str, torch.optim.Optimizer, torch.Tensor]]:
    """Yield `component.tensor`, optimiser and parameter of all that an optimiser moves."""
    named = {v: f"{name}.{key}" for name, tensors in sb3.components_of(model).items() for key, v in tensors.items()}
    tuned = [model.ent_coef_optimizer] if isinstance(model, SAC) and model.ent_coef_optimizer is not None else []
    for optimiser in (*optimisers(model), *tuned):
        for group in optimiser.param_groups:
            for parameter in group["params"]:
                yield named[parameter], optimiser, parameter

"""Adam's moments by the components that they belong to, as a source keeps them and a learner takes them up."""

from collections.abc import Collection, Iterator, Mapping

import torch

from trl_suite.networks.components import Components
from trl_suite.networks.policy_memory import MOMENTS, STEP, owner
from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.parameter_layout import LayoutPlace
from trl_suite.training.cohort.stacked.stack import Stack, Tensors


def take(optimisers: Mapping[str, Adam], member: int, like: Components) -> dict[str, Tensors]:
    """Return copies of a member's moments and steps by `optimiser.actor` and the like.

    Args:
        optimisers: of the cohort.
        member: its place.
        like: its components, whose shapes the moments have.
    """
    states: dict[str, Tensors] = {}
    for adam, place, tensor, views in _moments(optimisers, member):
        state, name = states.setdefault(owner(place.component), {}), f"{place.component}.{tensor}"
        shape = like[place.component][tensor].shape
        state |= {f"{name}.{key}": view.reshape(shape).detach().cpu().clone() for key, view in views.items()}
        state[f"{name}.{STEP}"] = torch.tensor(float(adam.count[place.row, member, place.part]))
    return states


def put(optimisers: Mapping[str, Adam], member: int, memories: Components, names: Collection[str]) -> None:
    """Put the named moments into a member's optimisers; their rates stay as they are."""
    for adam, place, tensor, views in _moments(optimisers, member):
        if (state_owner := owner(place.component)) not in names:
            continue
        for key, view in views.items():
            view.copy_(memories[state_owner][f"{place.component}.{tensor}.{key}"].reshape(view.shape))
        adam.count[place.row, member, place.part] = int(memories[state_owner][f"{place.component}.{tensor}.{STEP}"])
        adam.resumed()


def _moments(optimisers: Mapping[str, Adam], member: int) -> Iterator[tuple[Adam, LayoutPlace, str, Tensors]]:
    """Yield the optimiser, the place, the tensor's name and both moments of all that a member learns, in place."""
    for adam in optimisers.values():
        layout = adam.stack.layout
        stacks = dict(zip(MOMENTS, (Stack(layout, adam.mean), Stack(layout, adam.square)), strict=True))
        for place in layout.places:
            moments = {key: stack.at(member, place) for key, stack in stacks.items()}
            for tensor in moments[MOMENTS[0]]:
                yield adam, place, tensor, {key: tensors[tensor] for key, tensors in moments.items()}

"""Adam's moments by the components that they belong to, as a source keeps them and a learner takes them up."""

from collections.abc import Collection, Iterator, Mapping

import torch

from trl_suite.networks.components import Components
from trl_suite.networks.policy_memory import MOMENTS, STEP, owner
from trl_suite.training.cohort.adam import Adam
from trl_suite.training.cohort.layout import Place
from trl_suite.training.cohort.stack import Stack, Tensors


def take(optimisers: Mapping[str, Adam], member: int, like: Components) -> dict[str, Tensors]:
    """Return copies of a member's moments and steps by `optimiser.actor` and the like.

    Args:
        optimisers: of the cohort.
        member: its place.
        like: its components, whose shapes the moments have.
    """
    found: dict[str, Tensors] = {}
    for adam, place, tensor, views in _moments(optimisers, member):
        mine, name = found.setdefault(owner(place.component), {}), f"{place.component}.{tensor}"
        shape = like[place.component][tensor].shape
        mine |= {f"{name}.{key}": view.reshape(shape).detach().cpu().clone() for key, view in views.items()}
        mine[f"{name}.{STEP}"] = torch.tensor(float(adam.count[place.row, member, place.part]))
    return found


def put(optimisers: Mapping[str, Adam], member: int, memories: Components, names: Collection[str]) -> None:
    """Put the named moments into a member's optimisers; their rates stay as they are."""
    for adam, place, tensor, views in _moments(optimisers, member):
        if (mine := owner(place.component)) not in names:
            continue
        for key, view in views.items():
            view.copy_(memories[mine][f"{place.component}.{tensor}.{key}"].reshape(view.shape))
        adam.count[place.row, member, place.part] = int(memories[mine][f"{place.component}.{tensor}.{STEP}"])
        adam.resumed()


def _moments(optimisers: Mapping[str, Adam], member: int) -> Iterator[tuple[Adam, Place, str, Tensors]]:
    """Yield the optimiser, the place, the tensor's name and both moments of all that a member learns, in place."""
    for adam in optimisers.values():
        layout = adam.stack.layout
        stacks = dict(zip(MOMENTS, (Stack(layout, adam.mean), Stack(layout, adam.square)), strict=True))
        for place in layout.places:
            held = {key: stack.at(member, place) for key, stack in stacks.items()}
            for tensor in held[MOMENTS[0]]:
                yield adam, place, tensor, {key: tensors[tensor] for key, tensors in held.items()}

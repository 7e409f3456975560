"""Low-rank products (LoRA, Hu et al. 2021) on the trunks of all members: what they amount to, and their gradient.

Axes: N = rows * members (all members' first networks first); `up` (N, outputs, rank), `down` (N, rank, inputs) and
`shift` (N, outputs) of each trunk layer.
"""

import torch

from trl_suite.networks.components import ADAPTER
from trl_suite.training.cohort.stacked.parameter_layout import LayoutPart
from trl_suite.training.cohort.stacked.stack import Stack


class LowRankTrunks:
    """Trunk layers with the product of two thin matrices and a shift on their weights and biases.

    The networks compute with `plain`; what is learned and what is held lie in the stack, apart from each other.

    Args:
        stack: the parameters.
        gradient: of the same layout.
    """

    def __init__(self, stack: Stack, gradient: Stack) -> None:
        self.plain = stack.zeros_like()
        self._stack, self._gradient = stack, gradient
        parts = adapters(stack)
        self._thin, self._thin_grads = (
            [whole_stack.beside(part) for part in parts] for whole_stack in (stack, gradient)
        )
        members, places = stack.members, stack.layout.places
        adapted = {place.row for place in places if stack.layout.parts[place.part] in parts}
        self._adapted = [slice(row * members, (row + 1) * members) for row in sorted(adapted)]
        self.fold()

    def fold(self) -> None:
        """Let the plain networks be what the parameters are now."""
        self.plain.flat.copy_(self._stack.flat)
        for layer, thin in enumerate(self._thin):
            torch.baddbmm(self._stack.weights[layer], thin["up"], thin["down"], out=self.plain.weights[layer])
            torch.add(self._stack.biases[layer], thin["shift"][:, None], out=self.plain.biases[layer])

    def differentiate(self) -> None:
        """Write the gradient of the thin matrices, given that of the plain networks' trunks."""
        for layer, (thin, grad) in enumerate(zip(self._thin, self._thin_grads, strict=True)):
            whole = self._gradient.weights[layer]
            # W = W_0 + U D: dL/dU = dL/dW D^T, dL/dD = U^T dL/dW (Hu et al. 2021, section 4.1)
            torch.bmm(whole, thin["down"].transpose(1, 2), out=grad["up"])
            torch.bmm(thin["up"].transpose(1, 2), whole, out=grad["down"])
            for nets in self._adapted:  # thin matrices of 0 stay 0 by themselves, a shift would not
                grad["shift"][nets].copy_(self._gradient.biases[layer][nets, 0])


def adapters(stack: Stack) -> list[LayoutPart]:
    """Return the parts that are adapters of the trunk's layers, from the bottom up; none where there are none."""
    return [part for part in stack.layout.free if part.name.startswith(ADAPTER)]

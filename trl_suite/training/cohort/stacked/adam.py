"""Adam over the stacked parameters: every part of every member has its own rate, step count and freeze."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from trl_suite.mechanisms.freeze_schedule import WARMUP_UPDATES
from trl_suite.training.cohort.stacked.stack import Stack

BETAS = (0.9, 0.999)
Cells = npt.NDArray[np.bool_]  # (rows, members, parts)
RateFactors = npt.NDArray[np.float64]  # of the learning rate (rows, members, parts)


@dataclass(kw_only=True)
class _Slices:
    """Stretches of numbers that move at one rate."""

    spans: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    counts: list[int] = field(default_factory=list[int])  # steps made so far
    tensors: tuple[list[torch.Tensor], ...] = ()  # parameters, gradients, both moments
    steps: torch.Tensor = field(default_factory=lambda: torch.zeros(0))  # the counts, where the numbers are
    steps_of: list[torch.Tensor] = field(default_factory=list[torch.Tensor])  # each span's in `steps`


class Adam:
    """The optimiser of a cohort.

    A part that does not learn is in none of the slices that are passed on, so that it stays to the bit and costs
    nothing; when it is thawed it counts its own steps from 0. Neighbouring parts with the same rate and count are one
    slice: in the common case there is a single one.
    """

    def __init__(
        self,
        stack: Stack,
        gradient: Stack,
        rate: float | npt.NDArray[np.float64],
        epsilon: float,
        factors: npt.NDArray[np.float64] | None = None,
        gentle: bool = True,
    ) -> None:
        """Start with all parts learning.

        Args:
            stack: the parameters.
            gradient: of the same layout.
            rate: of learning; of all members, or one per member (members, 1).
            epsilon: added to the root of the second moment.
            factors: of the rate (rows, members, parts); 1 where none are given.
            gentle: whether the rate of what is thawed rises slowly.
        """
        self.stack, self.gradient = stack, gradient
        self._annealed: torch.Tensor | None = None  # share of the rate that is left; None without a schedule
        self.before: list[Callable[[], None]] = []  # called before every step, with the gradient in place
        self.after: list[Callable[[], None]] = []  # called after it
        self._epsilon, self._gentle = epsilon, gentle
        self._parameters, self._gradient = stack.flat.view(-1), gradient.flat.view(-1)
        self.mean, self.square = torch.zeros_like(stack.flat), torch.zeros_like(stack.flat)
        self._parts, self._size = stack.layout.parts, stack.layout.size
        shape = (stack.layout.rows, stack.members, len(self._parts))
        self.count = np.zeros(shape, dtype=np.int64)
        self._learning = np.ones(shape, dtype=bool)
        # (rows, members, parts)
        self._base_rates = np.broadcast_to(np.asarray(rate, dtype=np.float64), (stack.members, 1))
        self._device_rates = torch.from_numpy(self._base_rates[:, 0].copy()).to(stack.flat.device)
        self._rates = self._base_rates * (np.ones(shape) if factors is None else factors)
        self.warming = np.zeros(shape, dtype=bool)  # parts whose rate rises after a thaw
        self.masks: torch.Tensor | None = None  # 1 where a number may learn (rows, members, size); None: everywhere
        self._plan: dict[float, _Slices] | None = None
        self.edition = 0  # of the plan: another one moves other numbers, or at other rates

    @property
    def learning(self) -> Cells:
        """Which parts move."""
        return self._learning

    def set_learning(self, cells: Cells) -> None:
        """Let exactly these parts move from now on."""
        if not np.array_equal(cells, self._learning):
            self._learning = cells.copy()
            self._change()

    def mask(self, member: int, numbers: torch.Tensor) -> None:
        """Let only the numbers of a member's rows (rows, size) learn where these are 1: elsewhere gradients are 0.

        A number whose every gradient was 0 does not move, to the bit; `restart` what was moved before.
        """
        if self.masks is None:
            self.masks = torch.ones_like(self.stack.flat)
            self._change()
        self.masks[:, member] = numbers.to(self.masks)

    def apply_masks(self) -> None:
        """Take the gradient from all that is masked."""
        if self.masks is not None:
            self.gradient.flat.mul_(self.masks)

    def anneal(self, share: float) -> None:
        """Learn at this share of the rate from now on; on a device a captured step reads it anew."""
        if self._annealed is None:
            on_cpu = self._parameters.device.type == "cpu"
            dtype = torch.float64 if on_cpu else torch.float32  # those that fused Adam takes there
            self._annealed = torch.ones((), dtype=dtype, device=self._parameters.device)
            self._change()
        self._annealed.fill_(share)

    def rates_of(self, members: torch.Tensor) -> torch.Tensor:
        """Rates (n,) at which these members learn now, without the factors of their parts; where the numbers are."""
        rates = self._device_rates.index_select(0, members)
        return rates if self._annealed is None else rates * self._annealed

    def rates(self) -> npt.NDArray[np.float64]:
        """Rates at which the members learn now (members,), without the factors of their parts."""
        return self._base_rates[:, 0] * (1.0 if self._annealed is None else float(self._annealed))

    def restart(self, cells: Cells, thawed: bool = True) -> None:
        """Forget the moments and the count of these parts.

        The rate of thawed parts rises over their first `WARMUP_UPDATES` steps: Adam's first step is as long as the
        rate, however small the gradient, and would throw a layer off at once.
        """
        self.count[cells], self.warming[cells] = 0, self._gentle and thawed
        for row, member, part in np.argwhere(cells):
            span = slice(self._parts[part].start, self._parts[part].stop)
            self.mean[row, member, span] = 0.0
            self.square[row, member, span] = 0.0
        self._change()

    def step(self) -> None:
        """Move what learns by the gradient."""
        for act in self.before:
            act()
        self.apply_masks()
        if self._plan is None:
            self._plan = self._planned()
        for rate, slices in self._plan.items():
            slices.steps.add_(1.0)
            now = rate if self._annealed is None else rate * self._annealed
            self._move(slices.tensors, slices.steps_of, now)
        for act in self.after:
            act()
        self.count[self._learning] += 1
        if self.warming.any():
            self.warming &= self.count < WARMUP_UPDATES
            self._change()

    def resumed(self) -> None:
        """Take notice that moments and counts were written from outside."""
        self._change()

    def _move(
        self, tensors: tuple[list[torch.Tensor], ...], counts: list[torch.Tensor], rate: float | torch.Tensor
    ) -> None:
        """Move the parameters in `tensors` by a step."""
        _fused(tensors, counts, rate, self._epsilon)

    def _change(self) -> None:
        self._plan, self.edition = None, self.edition + 1

    def _planned(self) -> dict[float, _Slices]:
        plan: dict[float, _Slices] = {}
        rates = np.where(self.warming, self._rates * (self.count + 1) / WARMUP_UPDATES, self._rates)
        cells = (cells_of.reshape(-1).tolist() for cells_of in (self._learning, rates, self.count))
        for cell, (learns, rate, count) in enumerate(zip(*cells, strict=True)):
            if not learns:
                continue
            row, part = divmod(cell, len(self._parts))
            start = row * self._size + self._parts[part].start
            slices, stop = plan.setdefault(rate, _Slices()), row * self._size + self._parts[part].stop
            if slices.spans and slices.spans[-1][1] == start and slices.counts[-1] == count:
                slices.spans[-1] = (slices.spans[-1][0], stop)
            else:
                slices.spans.append((start, stop))
                slices.counts.append(count)
        for slices in plan.values():
            tensors = (self._parameters, self._gradient, self.mean.view(-1), self.square.view(-1))
            slices.tensors = tuple([numbers[start:stop] for start, stop in slices.spans] for numbers in tensors)
            slices.steps = torch.tensor(slices.counts, dtype=torch.float32, device=self._parameters.device)
            slices.steps_of = list(slices.steps.unbind())
        return plan


def _fused(
    tensors: tuple[list[torch.Tensor], ...], counts: list[torch.Tensor], rate: float | torch.Tensor, epsilon: float
) -> None:
    """Make one step of Adam in place, with what `torch.optim.Adam(fused=True)` calls.

    The public class cannot do it: its groups are whole tensors, and a part of a tensor may be frozen here.
    """
    # m <- b1 m + (1 - b1) g; v <- b2 v + (1 - b2) g^2 (Kingma & Ba 2015, alg. 1)
    # theta <- theta - rate (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
    parameters, gradients, means, squares = tensors
    adam = torch.ops.aten._fused_adam_
    step = adam.tensor_lr if isinstance(rate, torch.Tensor) else adam.default
    step(
        parameters,
        gradients,
        means,
        squares,
        [],
        counts,
        lr=rate,
        beta1=BETAS[0],
        beta2=BETAS[1],
        weight_decay=0.0,
        eps=epsilon,
        amsgrad=False,
        maximize=False,
    )


class RMSprop(Adam):
    """RMSprop as `torch.optim.RMSprop` computes it, which SB3's A2C uses."""

    decay = 0.99  # of the mean of squared gradients

    def _move(
        self, tensors: tuple[list[torch.Tensor], ...], counts: list[torch.Tensor], rate: float | torch.Tensor
    ) -> None:
        """Move the parameters in `tensors` by a step."""
        for parameters, grads, _, squares in zip(*tensors, strict=True):
            # v <- a v + (1 - a) g^2; theta <- theta - rate g / (sqrt(v) + eps) (Tieleman & Hinton 2012)
            squares.mul_(self.decay).addcmul_(grads, grads, value=1 - self.decay)
            deviations = squares.sqrt().add_(self._epsilon)
            if isinstance(rate, torch.Tensor):
                parameters.sub_(grads.div(deviations).mul_(rate))
            else:
                parameters.addcdiv_(grads, deviations, value=-rate)

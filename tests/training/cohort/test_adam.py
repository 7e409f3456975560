"""The stacked Adam is torch's Adam for every part of every member, whatever is frozen and when."""

import numpy as np
import torch

from trl_suite.training.cohort.stacked.adam import Adam
from trl_suite.training.cohort.stacked.parameter_layout import on_policy
from trl_suite.training.cohort.stacked.stack import Stack

LAYOUT = on_policy(5, 3, (7, 6))
PARTS = len(LAYOUT.parts)


def made(members: int, factors: np.ndarray | None = None) -> tuple[Stack, Stack, Adam]:
    stack = Stack.zeros(LAYOUT, members, torch.device("cpu"))
    stack.flat.normal_(generator=torch.Generator().manual_seed(0))
    gradient = stack.zeros_like()
    return stack, gradient, Adam(stack, gradient, 1e-3, 1e-5, factors)


def part(stack: Stack, row: int, member: int, index: int) -> torch.Tensor:
    where = LAYOUT.parts[index]
    return stack.flat[row, member, where.start : where.stop]


def test_each_part_is_torchs_adam_with_its_own_thaw():
    factors = np.ones((2, 3, PARTS))
    factors[0, 1] = 0.3
    stack, gradient, adam = made(3, factors)
    cells = list(np.ndindex(2, 3, PARTS))
    theirs = [torch.nn.Parameter(part(stack, *cell).clone()) for cell in cells]
    optimisers = [
        torch.optim.Adam([one], lr=1e-3 * factors[cell], eps=1e-5) for cell, one in zip(cells, theirs, strict=True)
    ]
    rng = torch.Generator().manual_seed(1)
    learning = np.ones((2, 3, PARTS), dtype=bool)
    learning[0, 2, 0] = False
    adam.set_learning(learning)
    for step in range(60):
        optimisers[cells.index((0, 2, 0))].param_groups[0]["lr"] = 1e-3 * min(1.0, (step - 19) / 10)  # it rises
        if step == 20:
            learning[0, 2, 0] = True
            adam.restart(np.zeros_like(learning) | (np.arange(PARTS) == 0) & ~adam.learning)
            adam.set_learning(learning)
        if step == 40:
            learning[1, 0, 1] = False
            adam.set_learning(learning)
        gradient.flat.normal_(generator=rng)
        for cell, one, optimiser in zip(cells, theirs, optimisers, strict=True):
            if learning[cell]:
                one.grad = part(gradient, *cell).clone()
                optimiser.step()
        adam.step()
    for cell, one in zip(cells, theirs, strict=True):
        assert float((part(stack, *cell) - one.detach()).abs().max()) < 2e-7, cell


def test_what_is_frozen_stays_to_the_bit_for_thousands_of_steps():
    stack, gradient, adam = made(2)
    gradient.flat.normal_(generator=torch.Generator().manual_seed(1))
    for _ in range(10):
        adam.step()  # there are moments that would go on moving it
    frozen = np.zeros((2, 2, PARTS), dtype=bool)
    frozen[0, 1, 1] = frozen[1, 0, 0] = True
    before = stack.flat.clone()
    adam.set_learning(~frozen)
    for _ in range(5_000):
        adam.step()
    for cell in np.ndindex(2, 2, PARTS):
        start, stop = LAYOUT.parts[cell[2]].start, LAYOUT.parts[cell[2]].stop
        moved = not torch.equal(stack.flat[cell[0], cell[1], start:stop], before[cell[0], cell[1], start:stop])
        assert moved != frozen[cell]


def test_one_slice_serves_a_cohort_that_learns_everything():
    _, _, adam = made(4)
    adam.step()
    assert [slices.spans for slices in adam._plan.values()] == [[(0, 2 * 4 * LAYOUT.size)]]

"""SB3's `train/` scalars of an on-policy update, for all members.

Axes: M minibatches, Q scalars, P members.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

APPROX_KL = "train/approx_kl"  # of the last epoch; all others are means over the whole update, as in SB3

Numbers = npt.NDArray[np.float64]
UpdateScalars = dict[str, Numbers]  # SB3's tag -> a number per member (P,)


class UpdateMetrics:
    """Scalars of every minibatch of an update, left on the device until the end; of members that stopped, until then.

    Args:
        names: SB3's tags (Q).
        members: how many (P).
    """

    def __init__(self, names: Sequence[str], members: int) -> None:
        self._names, self._members = names, members
        self._reports: list[torch.Tensor] = []  # (minibatches of an epoch, or 1; Q, P)
        self._active: list[npt.NDArray[np.bool_]] = []  # who made each of them (P,)
        self._epochs: list[int] = []

    def add(self, reports: torch.Tensor, active: npt.NDArray[np.bool_], epoch: int) -> None:
        """Take the scalars of some minibatches (M, Q, P) of one epoch, and which members made them (P,)."""
        self._reports.append(reports.clone())  # a graph writes the next epoch's into the same memory
        self._active += [active] * len(reports)
        self._epochs += [epoch] * len(reports)

    def means(self) -> UpdateScalars:
        """Return each scalar's mean over the minibatches that a member made; `train/approx_kl` is of its last epoch."""
        if not self._reports:
            return {}
        values, active = torch.cat(self._reports).double().cpu().numpy(), np.stack(self._active)
        epochs = np.array(self._epochs)[:, None]
        last = epochs == np.where(active, epochs, -1).max(axis=0)
        return {
            name: _mean(values[:, index], active & last if name == APPROX_KL else active)
            for index, name in enumerate(self._names)
        }

    def last(self) -> UpdateScalars:
        """Return each scalar of the last minibatch that a member made."""
        if not self._reports:
            return {}
        active = np.stack(self._active)
        index = len(active) - 1 - active[::-1].argmax(axis=0)  # (P,)
        values = torch.cat(self._reports).double().cpu().numpy()
        return {name: values[index, place, np.arange(self._members)] for place, name in enumerate(self._names)}


def _mean(values: Numbers, counted: npt.NDArray[np.bool_]) -> Numbers:
    """Return the means of those values (M, P) that count."""
    return np.where(counted, values, 0.0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)


def explained_variance(advantage: torch.Tensor, value_target: torch.Tensor) -> Numbers:
    """Return 1 - Var(target - value) / Var(target) per member (P,), as SB3; NaN where the targets do not vary.

    Args:
        advantage: target - value (P, n).
        value_target: (P, n).
    """
    residual, variance = advantage.var(1, correction=0), value_target.var(1, correction=0)
    explained = torch.where(variance == 0, torch.nan, 1.0 - residual / variance)
    return explained.double().cpu().numpy()

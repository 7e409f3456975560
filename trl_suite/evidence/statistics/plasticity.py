"""How much a network can still learn, read off its units: dormant ones, the rank of its features, its weights.

Axes: states, units.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
DORMANT_BELOW = 0.025  # of its layer's mean activity, as Sokar et al. use
RANK_SHARE = 0.99  # of the singular values' sum


def dormant_share(layers: Sequence[Floats]) -> float:
    """Share of dormant units among those of all layers (Sokar et al. 2023, def. 3.1).

    Args:
        layers: outputs of each layer (states, units).
    """
    # s_i = E|h_i(x)| / (mean over the layer's units of E|h(x)|); dormant where s_i <= tau
    activities = [np.abs(outputs).mean(axis=0) for outputs in layers]
    dormant = [activity <= DORMANT_BELOW * activity.mean() for activity in activities]
    return float(np.concatenate(dormant).mean())


def effective_rank(features: Floats) -> float:
    """Effective rank of features (states, units): srank with delta = 0.01 (Kumar et al. 2021, sec. 3).

    0 where all features are 0.
    """
    # srank = min k such that sum_{i<=k} sigma_i / sum_i sigma_i >= 1 - delta
    values = np.linalg.svd(features, compute_uv=False)
    total = values.sum()
    if not total:
        return 0.0
    return float(1 + np.searchsorted(np.cumsum(values) / total, RANK_SHARE))


def weight_norm(weights: Sequence[Floats]) -> float:
    """Euclidean norm of all weights together."""
    return float(np.sqrt(sum(float(np.square(weight).sum()) for weight in weights)))

"""Conversion between units of one quantity, by their names as slots have them."""

import math

UNKNOWN_UNIT = "?"

_IN_SI = {  # name -> (quantity, its number of SI units)
    "rad": ("angle", 1.0),
    "deg": ("angle", math.pi / 180),
    "rev": ("angle", 2 * math.pi),
    "rad/s": ("angular velocity", 1.0),
    "deg/s": ("angular velocity", math.pi / 180),
    "rpm": ("angular velocity", 2 * math.pi / 60),
    "m": ("length", 1.0),
    "cm": ("length", 0.01),
    "mm": ("length", 0.001),
    "m/s": ("velocity", 1.0),
    "cm/s": ("velocity", 0.01),
    "mm/s": ("velocity", 0.001),
    "km/h": ("velocity", 1 / 3.6),
    "N": ("force", 1.0),
    "kN": ("force", 1000.0),
    "N m": ("torque", 1.0),
    "Nm": ("torque", 1.0),
    "N·m": ("torque", 1.0),
    "kg": ("mass", 1.0),
    "g": ("mass", 0.001),
    "s": ("time", 1.0),
    "ms": ("time", 0.001),
}


def conversion(unit: str, into: str) -> float | None:
    """Factor by which a number in `unit` becomes one in `into`; None where they are of different quantities."""
    if unit == into:
        return 1.0
    if unit not in _IN_SI or into not in _IN_SI or _IN_SI[unit][0] != _IN_SI[into][0]:
        return None
    return _IN_SI[unit][1] / _IN_SI[into][1]

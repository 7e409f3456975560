"""The worlds that there are, as rows for a table; reads the tables of the envs and loads no physics."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from trl_suite import content
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.env_spec import load
from trl_suite.worlds.registration import gymnasium_id


class CatalogueRow(NamedTuple):
    """One env, or one named variant of it."""

    address: str  # `half-cheetah.gravity-1.5`
    id: str  # `trl_suite/HalfCheetah-v0`
    variant: str  # "" for the env as it stands
    change: str  # `gravity x 1.5`
    about: str


def rows(env: str | None = None) -> list[CatalogueRow]:
    """Return every env followed by its variants, or one env and its variants.

    Raises:
        InputError: there is no such env, or a table is wrong.
    """
    return [row for name in ([env] if env else content.names("envs")) for row in _rows_of(name)]


def _rows_of(name: str) -> list[CatalogueRow]:
    spec = load(name)
    registered = gymnasium_id(name, spec)
    variants = [
        CatalogueRow(f"{name}.{variant}", registered, variant, described(change), change.about)
        for variant, change in spec.variants.items()
    ]
    return [CatalogueRow(name, registered, "", "", spec.title), *variants]


def described(variation: Variation) -> str:
    """Return a variation in words: `gravity x 1.5, mass of torso x 2`."""
    return ", ".join(_axis(axis, msgspec.to_builtins(value)) for axis, value in variation.axes())


def _axis(axis: str, value: Any) -> str:
    words = axis.replace("_", " ")
    if axis in _PHRASES:
        return _PHRASES[axis](value)
    if isinstance(value, str):
        return f"{words} {value}"
    if isinstance(value, list | tuple):
        if all(isinstance(element, str) for element in value):
            return f"{words} of {', '.join(value)}"
        return ", ".join(_axis(axis, element) for element in value)
    if isinstance(value, dict):
        return _change(words, value)
    if isinstance(value, bool):
        return words if value else f"no {words}"
    return f"{words} x {value:g}"


def _change(words: str, value: dict[str, Any]) -> str:
    """Return one change in words: of which element, what of it, by how much."""
    element = next((value[key] for key in ("body", "geom", "actuator", "joint") if value.get(key)), "")
    what = f"{value['only']} of {element}" if value.get("only") else words + (f" of {element}" if element else "")
    parts = [f"{what} x {value['scale']:g}"] if "scale" in value else []
    parts += [f"{what} = {value['value']}"] if "value" in value else []
    parts += [f"{words} tilted by {value['tilt']:g}°"] if "tilt" in value else []
    parts += [f"{value['frame_skip']} of them a control step"] if "frame_skip" in value else []
    return ", ".join(parts)


def _listed(names: Sequence[str] | None) -> str:
    return f" on {', '.join(names)}" if names else ""


def _each(value: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {_plain(number)}" for name, number in value.items())


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "(" + ", ".join(f"{number:g}" for number in value) + ")"
    return f"{value:g}"


def _shown(value: dict[str, bool]) -> str:
    return ", ".join(f"{name} {'shown' if visible else 'hidden'}" for name, visible in value.items())


_PHRASES: dict[str, Callable[[Any], str]] = {
    "direction": lambda value: f"paid for running {'backwards' if value == -1 else 'forwards'}",
    "target_speed": lambda value: f"paid for a speed of {value:g} m/s",
    "terminates": lambda value: "ends when unhealthy" if value else "goes on when unhealthy",
    "reward": lambda value: ", ".join(f"reward of {name} x {scale:g}" for name, scale in value.items()),
    "shape": _each,
    "fluid": _each,
    "goal": lambda value: f"goals from {_plain(value['low'])} to {_plain(value['high'])}",
    "observe": _shown,
    "observation_mask": lambda value: f"{', '.join(value)} read 0",
    "observation_delay": lambda value: f"seen {value} steps late",
    "action_delay": lambda value: f"acts {value} steps late",
    "observation_noise": lambda value: _noise("observation", value),
    "action_noise": lambda value: _noise("action", value),
    "action_inversion": lambda value: "every action inverted" if value is True else f"inverted: {', '.join(value)}",
    "terrain": lambda value: _terrain(value) if isinstance(value, dict) else f"hills of {value:g} m",
    "backlash": lambda value: ", ".join(map(_play, value if isinstance(value, list | tuple) else [value])),
    "cripple": lambda value: f"no force from {', '.join(value)}",
    "randomise": lambda value: (
        "drawn anew at each episode: " + ", ".join(value["ranges"])
        if isinstance(value, dict)
        else "drawn anew at each episode"
    ),
}


def _terrain(value: dict[str, Any]) -> str:
    form = "steps" if value.get("form") == "steps" else "hills"
    numbers = (f"{key} {_plain(number)}" for key, number in value.items() if key not in ("form", "height"))
    return ", ".join([f"{form} of {value['height']:g} m", *numbers])


def _play(value: Any) -> str:
    number, joint = (value["value"], value.get("joint")) if isinstance(value, dict) else (value, "")
    return f"play of {number:g} in {joint or 'every driven joint'}"


def _noise(what: str, value: Any) -> str:
    std, slots = (value["std"], value.get("slots")) if isinstance(value, dict) else (value, None)
    return f"{what} noise of standard deviation {std:g}{_listed(slots)}"

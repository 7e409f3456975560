"""`docs/env-table.md`, every key, kind, reward term and axis of `env.toml` with its unit, and the schema for editors.

`python -m tools.site.env_table_page` writes both; a test compares.
"""

import inspect
import types
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import mujoco

from trl_suite.table_schema import sentences, structs_of
from trl_suite.worlds.axes.variation import Variant, Variation
from trl_suite.worlds.env_schema import SCHEMA_FILE, env_schema
from trl_suite.worlds.env_spec import MAX_NUMBER, EnvSpec
from trl_suite.worlds.terms.memory import MEMORY_KINDS
from trl_suite.worlds.terms.model_sensors import SENSOR_KINDS
from trl_suite.worlds.terms.rewards import REWARD_TERMS
from trl_suite.worlds.terms.sensors import QUANTITIES, element

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/env-table.md"
SCHEMA = ROOT / "envs" / SCHEMA_FILE

# one joint of each kind, a body and a site: every number that a quantity can have
_EACH_KIND = """<mujoco><worldbody>
<body name="body"><freejoint name="free"/><geom size=".1"/><site name="site"/>
  <body><joint name="ball" type="ball"/><geom size=".1"/></body>
  <body><joint name="hinge"/><joint name="slide" type="slide"/><geom size=".1"/></body></body>
</worldbody></mujoco>"""
_WORDS = {str: "text", float: "number", int: "whole number", bool: "true or false"}
_HEAD = """<!-- written by `python -m tools.site.env_table_page` from the source: edit that -->

# The table of an env

Every key of `env.toml`, every kind of quantity, reward term and axis, with its unit. [Worlds](worlds.md) has an
example. `trl-suite new NAME --from robot.xml` writes a first table from a model. An unknown key or name is an error
that names the nearest right one. So is a pattern that fits nothing of the robot, unless another robot of its family
has what it fits.

Editors complete and check a table by its JSON schema: a first line `#:schema ../env.schema.json` is understood by
Even Better TOML, Taplo and others. `trl-suite new` writes that file into `envs/`, and `trl-suite schema` prints it.
`trl-suite schema experiment` prints that of `experiment.toml`.
"""


def page() -> str:
    """The page."""
    tables = [struct for struct in structs_of(EnvSpec) if not issubclass(struct, Variation)]
    own_tables = [struct for struct in tables if struct.__module__ == EnvSpec.__module__]
    axis_tables = [struct for struct in tables if struct not in own_tables]
    parts = [_HEAD, "## Keys\n"]
    parts += [_keys(struct, "###" if struct is not EnvSpec else "") for struct in own_tables]
    parts += ["## Kinds\n", _kinds(), "## Reward terms\n", _terms(), "## Axes\n", _axes(), "## Tables of axes\n"]
    parts += [_keys(struct, "###") for struct in axis_tables]
    return "\n".join(parts)


def schema() -> str:
    """The schema as a file."""
    return msgspec.json.format(msgspec.json.encode(env_schema()), indent=1).decode() + "\n"


def write() -> None:
    """Write the page and the schema."""
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")


def _keys(struct: type[msgspec.Struct], level: str) -> str:
    texts = sentences(struct)
    rows = [
        (f"`{field.encode_name}`", _type(field.type), _default(field), texts.get(field.encode_name, ""))
        for field in msgspec.structs.fields(struct)
    ]
    head = f"{level} {struct.__name__}\n\n{inspect.getdoc(struct)}\n\n" if level else ""
    return head + _table(("key", "type", "where not given", ""), rows)


def _kinds() -> str:
    model = mujoco.MjSpec.from_string(_EACH_KIND).compile()
    rows: list[tuple[str, ...]] = []
    for kind, quantity in QUANTITIES.items():
        units: dict[str, list[str]] = {}
        sensed = SENSOR_KINDS[kind].parts if kind in SENSOR_KINDS else ()
        for part, unit in sensed:
            units.setdefault(unit, []).append(f"`.{part}`" if part else "the number")
        for number in () if sensed else quantity.find(model):
            name = "world" if number.name.startswith("world") else number.name
            if name != "world":
                units.setdefault(quantity.unit or number.unit, []).append(_part(number.name))
        numbers = "; ".join(f"{unit}: {', '.join(dict.fromkeys(parts))}" for unit, parts in units.items())
        rows.append((f"`{kind}`", element(kind), quantity.about, numbers, f"`{quantity.field}`"))
    rows += [(f"`{kind}`", word, about, "", "") for kind, (word, about) in MEMORY_KINDS.items()]
    note = (
        "Kinds of `sensordata` are MuJoCo's sensors: the suite adds them to the model where a table reads them. A\n"
        "body stands for a site at the origin of its frame. `sensor` reads one that the model has. Their numbers\n"
        "are a physics step old, as those of bodies and contacts.\n\n"
        "A number is named `JOINT`, or `ELEMENT.PART`: `thigh_joint`, `torso.z`. A slot of the observation is that\n"
        "name and the kind: `thigh_joint.velocity`, `torso.z.place`. `slide` and `hinge` are joints of that kind.\n\n"
    )
    return note + _table(("kind", "of a", "", "unit: parts", "MuJoCo's array"), rows)


def _part(name: str) -> str:
    return f"`{name}`" if name in ("hinge", "slide") else f"`.{name.rpartition('.')[2]}`"


def _terms() -> str:
    rows = [
        (
            f"`{name}`",
            term.of or "nothing",
            term.label.replace("{target:g}", "`target`").format(
                of="of", relative_to="relative_to", kind="kind", aim="`command` or `target`", bounds="`bounds`"
            ),
            term.unit,
            (inspect.getdoc(term.function) or "").partition("\n")[0],
        )
        for name, term in sorted(REWARD_TERMS.items())
    ]
    note = "Units are those of a sliding joint; of a hinge m reads rad. Each term is multiplied by its `weight`.\n\n"
    return note + _table(("term", "of a", "value", "unit", "formula"), rows)


def _axes() -> str:
    texts = sentences(Variation)
    rows = [
        (f"`{field.encode_name}`", _type(field.type), texts.get(field.encode_name, ""))
        for field in msgspec.structs.fields(Variant)
    ]
    note = (
        'A variant is a table of these, `"gravity-1.5" = { gravity = 1.5 }`; so are the arguments of `gym.make` and '
        "`hopper?gravity=1.5`. A bare number is a scale of the nominal value. `about` describes a variant.\n\n"
    )
    return note + _table(("axis", "value", ""), rows)


def _type(annotation: Any) -> str:
    """A type in words: `text`, `number`, [Gravity](#gravity), a list of them."""
    if annotation in _WORDS:
        return _WORDS[annotation]
    if annotation is Any:
        return "value"
    if annotation is Variant:
        return "[axes](#axes)"
    if isinstance(annotation, type) and issubclass(annotation, msgspec.Struct):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(parts[0]) + "".join(_limits(extra) for extra in parts[1:])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, types.UnionType):
        return ", or ".join(dict.fromkeys(_type(part) for part in parts if part is not types.NoneType))
    if origin is dict:
        return f"table of {_plural(_type(parts[1]))}"
    if parts[-1] is Ellipsis:
        return f"list of {_plural(_type(parts[0]))}"
    return f"[{', '.join(_type(part) for part in parts)}]"


def _plural(words: str) -> str:
    return words.replace("number", "numbers").replace("text", "texts") if "[" not in words else words


def _limits(extra: Any) -> str:
    if not isinstance(extra, msgspec.Meta):
        return ""
    signs = {"gt": "above", "ge": "from", "lt": "below", "le": "to"}
    limits = {word: getattr(extra, name) for name, word in signs.items()}
    listed = [f"{word} {limit:,}" for word, limit in limits.items() if limit is not None and abs(limit) < MAX_NUMBER]
    return " ".join(["", *listed])


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "needed"
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if isinstance(value, int | float) else ""


def _table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"


if __name__ == "__main__":
    write()

"""`envs/README.md` and the README of each env, generated from the tables and the compiled models.

`python -m tools.site.env_pages` writes them; a test compares.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tools.site import axis_table
from trl_suite import content, tables
from trl_suite.errors import InputError
from trl_suite.worlds.axes.model_axes import edit_task
from trl_suite.worlds.axes.randomisation import ranges_of
from trl_suite.worlds.axes.variation import Variation
from trl_suite.worlds.catalogue import described, rows
from trl_suite.worlds.env_spec import Block, Bound, EnvSpec, Spread, Term, load
from trl_suite.worlds.model.compilation import compiled
from trl_suite.worlds.registration import gymnasium_id
from trl_suite.worlds.stepping.env import RobotEnv
from trl_suite.worlds.terms.displacement import bind_displacement
from trl_suite.worlds.terms.memory import MemoryLayout, block_readings
from trl_suite.worlds.terms.rewards import REWARD_TERMS
from trl_suite.worlds.terms.sensors import reading

_GENERATED = "<!-- written by `python -m tools.site.env_pages` from env.toml: edit that -->"

# a value of each axis that some env may refuse as a whole
_PROBES: dict[str, Any] = dict.fromkeys(
    ("gravity", "friction", "mass", "joint_range", "damping", "stiffness", "armature", "gear", "timestep"), 0.5
) | {"direction": -1, "target_speed": 1.0, "terminates": False, "goal": {"low": [-0.1, -0.1], "high": [0.1, 0.1]}}

_FOREIGN = """## Envs from elsewhere

Any Gymnasium id is an env: `gymnasium:CartPole-v1`, without variants, its slots named `obs.0 ...` unless it is one of
the eleven above. Gymnasium-Robotics is no extra of this suite. Under MuJoCo 4.0 its Fetch tasks fail when they are made
(version 1.4.2, `set_joint_qpos` in `utils/mujoco_utils.py`). It compares a joint's type, a number, with MuJoCo's
enumeration, and the two are no longer equal. They need an older MuJoCo, in an environment without these worlds.

A model of your own: put `robot.xml` beside an `env.toml` in `envs/<name>/` of your workspace, and name it there,
`model = "robot.xml"`. It is compiled in a child process with limits; includes and meshes must lie in that folder."""


def readme(name: str) -> str:
    """Return the README of one env."""
    spec, env = load(name), RobotEnv(name)
    sections = [
        f"{_GENERATED}\n\n# {name}\n\n{spec.title}. {spec.about}" if spec.about else f"# {name}\n\n{spec.title}.",
        _use(name, spec, env),
        "## Observation\n\n" + _observation(spec, env),
        "## Action\n\n" + _action(env),
        "## Reward\n\nThe sum of these terms, each of them in `info` as `reward_<term>`.\n\n" + _reward(spec.reward),
        "## Episode\n\n" + _episode(spec, env),
        "## Variants\n\n" + _variants(name, spec),
        "## The originals\n\n" + "\n".join(f"- {note}" for note in spec.notes) if spec.notes else "",
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def index() -> str:
    """Return the page that lists all envs and variants."""
    envs = [
        (f"[{row.address}]({row.address}/README.md)", f"`{row.id}`", row.about) for row in rows() if not row.variant
    ]
    variants = [(f"`{row.address}`", row.change, row.about) for row in rows() if row.variant]
    return (
        "\n\n".join(
            [
                f"{_GENERATED}\n\n# Worlds\n\nAn env is a folder with an `env.toml`; a variant is a numeric change. "
                "Every variant is an edit of the model before it is compiled, of the task, or of what lies between "
                "policy and world. It has a certificate in `certificates.json` beside its table: what it changes in "
                "the compiled model, how far the motion parts from the env's, and a random policy's return.",
                _table(("env", "Gymnasium id", ""), envs),
                f"## Variants\n\n{len(variants)} named ones; any other value goes by axis: "
                "`gym.make(id, gravity=1.3)`, on the command line `half-cheetah?gravity=1.3`.",
                _table(("address", "change", ""), variants),
                axis_table.section(),
                _FOREIGN,
            ]
        )
        + "\n"
    )


def pages() -> dict[str, str]:
    """Return all pages of the shipped envs, by their path inside the folder of envs."""
    shipped = [path.parent.name for path in (content.shipped() / "envs").glob("*/env.toml")]
    return {"README.md": index()} | {f"{name}/README.md": readme(name) for name in sorted(shipped)}


def write(folder: Path) -> list[Path]:
    """Write all pages into the folder of envs; return what was written."""
    paths: list[Path] = []
    for place, text in pages().items():
        (folder / place).write_text(text, encoding="utf-8")
        paths.append(folder / place)
    return paths


def _use(name: str, spec: EnvSpec, env: RobotEnv) -> str:
    env_id = gymnasium_id(name, spec)
    equal = f" Observation, reward and termination are those of Gymnasium's `{spec.equals}`." if spec.equals else ""
    variant = next(iter(spec.variants), "")
    varied = f'\nenv = gym.make("{env_id}", variant="{variant}")' if variant else ""
    return (
        f"```python\nimport gymnasium as gym\nimport trl_suite\n\n"
        f'env = gym.make("{env_id}"){varied}\n```\n\n'
        f"Model `{spec.model}`; a control step is {spec.frame_skip} x {env.model.opt.timestep * 1000:g} ms "
        f"= {env.dt * 1000:g} ms.{equal}"
    )


def _observation(spec: EnvSpec, env: RobotEnv) -> str:
    slots = env.interface.observation
    visible = [block for block in spec.observation if block.visible]
    counts = [
        sum(len(part.slots) for part in block_readings(block, env.model, MemoryLayout(spec, env.model, env.dt)))
        for block in visible
    ]
    limits = [_limit(block) for block, count in zip(visible, counts, strict=True) for _ in range(count)]
    body = [(i, f"`{slot.name}`", slot.unit, limit) for i, (slot, limit) in enumerate(zip(slots, limits, strict=True))]
    return _table(("", "slot", "unit", "clipped to"), body)


def _limit(block: Block) -> str:
    return "" if block.limit is None else f"±{block.limit:g}"


def _action(env: RobotEnv) -> str:
    effects = _effects(env)
    rows = zip(env.interface.action, env.action_limits.T, effects, strict=True)
    body = [
        (i, f"`{slot.name}`", slot.unit, f"{low:g} to {high:g}", effect)
        for i, (slot, (low, high), effect) in enumerate(rows)
    ]
    return _table(("", "slot", "unit", "range", "gear (N or N m per unit)"), body)


def _effects(env: RobotEnv) -> list[str]:
    """Effect of a unit of each action: a gear, or how far a hand is displaced in a control step."""
    gears, displacement = env.model.actuator_gear[:, 0], bind_displacement(env.table, env.model)
    if displacement is None:
        return [f"{gear:g}" for gear in gears]
    spec = displacement.spec
    displacing = [f"{spec.scale:g} m in a control step"] * 3
    displacing += [f"{spec.turn:g} rad in a control step"] if spec.turn else []
    return displacing + [f"{gears[index]:g}" for index in displacement.passed]


def _reward(parts: Sequence[Term]) -> str:
    body = [
        (
            part.label,
            f"{part.weight:g}",
            REWARD_TERMS[part.term].described(part) + _held(part),
            REWARD_TERMS[part.term].unit,
        )
        for part in parts
    ]
    return _table(("term", "weight", "of", "unit"), body)


def _held(part: Term) -> str:
    limit = "" if part.limit is None else f", each clipped to ±{part.limit:g}"
    return limit + ("" if part.cap is None else f"; the weighted value is held within ±{part.cap:g}")


def _episode(spec: EnvSpec, env: RobotEnv) -> str:
    key = f"keyframe `{spec.reset.keyframe}`" if spec.reset.keyframe else "nominal state"
    start = f"It starts at the model's {key} plus noise: positions {_noise(spec.reset.position)}, "
    lines = [
        start + f"velocities {_noise(spec.reset.velocity)}.{_goal(spec, env)}",
        f"It is cut after {spec.episode_steps} steps.",
    ]
    if spec.healthy:
        lines.append("It ends as soon as one of these leaves its interval:\n\n" + _bounds(spec.healthy))
    else:
        lines.append("It never ends before that.")
    return " ".join(lines)


def _goal(spec: EnvSpec, env: RobotEnv) -> str:
    goal = spec.reset.goal
    if goal is None:
        return ""
    unit = reading(env.model, "position", goal.joints).slots[0].unit
    ends = [f"less than {goal.within:g} {unit} from the origin"] if goal.within else []
    ends += [f"more than {goal.beyond:g} {unit} from the origin"] if goal.beyond else []
    names = ", ".join(f"`{joint}`" for joint in goal.joints)
    verb, place = ("stand", "Their place") if len(goal.joints) > 1 else ("stands", "Its place")
    limits = f", {' and '.join(ends)}" if ends else ""
    box = f"from {_point(goal.low)} to {_point(goal.high)} {unit}{limits}"
    return f" {names} {verb} still at first. {place} is drawn uniformly {box}."


def _point(numbers: Iterable[float]) -> str:
    return "(" + ", ".join(f"{number:g}" for number in numbers) + ")"


def _noise(noise: Spread) -> str:
    if noise.spread == 0.0:
        return "without noise"
    kind = "uniform within" if noise.shape == "uniform" else "normal with standard deviation"
    return f"{kind} {'±' if noise.shape == 'uniform' else ''}{noise.spread:g}"


def _bounds(bounds: Iterable[Bound]) -> str:
    body = [(f"`{name}` {bound.kind}", _interval(bound)) for bound in bounds for name in bound.of]
    return _table(("slot", "healthy within"), body)


def _interval(bound: Bound) -> str:
    left, right = ("[", "]") if bound.closed else ("(", ")")
    return f"{left}{bound.range[0]:g}, {bound.range[1]:g}{right}"


def _variants(name: str, spec: EnvSpec) -> str:
    body = [(f"`{variant}`", described(change), change.about) for variant, change in spec.variants.items()]
    refused = [f"- `{axis}`: {reason}" for axis, reason in refusals(spec).items()]
    note = "\n\nAxes that do not apply:\n\n" + "\n".join(refused) if refused else ""
    return f"By address `{name}.<variant>`.\n\n" + _table(("variant", "change", ""), body) + note + _ranges(name, spec)


def _ranges(name: str, spec: EnvSpec) -> str:
    """The ranges that episodes are drawn from where they are asked for."""
    if spec.randomisation is None:
        return ""
    ranges = ranges_of(spec.randomisation, name)
    body = [(f"`{entry.name}`", f"{entry.low:g}", f"{entry.high:g}") for entry in ranges]
    return f"\n\nDrawn anew at each episode by `{name}?randomise=true`:\n\n" + _table(("number", "from", "to"), body)


def refusals(spec: EnvSpec) -> dict[str, str]:
    """Return the axes that do not apply to an env, each with the reason."""
    reasons: dict[str, str] = {}
    for axis, value in _PROBES.items():
        if axis == "goal" and spec.reset.goal:
            continue  # it applies, to boxes of as many numbers as the env's own
        variation = tables.convert({axis: value}, Variation, axis)
        try:
            edit_task(spec, variation, compiled(spec, variation))
        except InputError as error:
            reasons[axis] = str(error).partition("does not apply: ")[2]
    return reasons


def _table(head: Sequence[object], body: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    write(content.shipped() / "envs")

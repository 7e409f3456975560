"""Mutated models and tables: an InputError in one line or success, never another exception, a crash or a hang."""

import functools
import multiprocessing
import os
import random
import re
import shutil
import tempfile
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.worlds.axes.model_axes import MODEL, SHAPE
from trl_suite.worlds.model import mjcf
from trl_suite.worlds.stepping.env import RobotEnv

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each example runs in a fork of the test's process")
ZOO = sorted((Path(__file__).parent / "zoo").glob("*.xml"))
SECONDS = 20  # of one example, on a busy machine
NUMBERS = ("0", "-1", "1", "nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "1e10", "1e-9", "2147483648", "1 2", "")
WORDS = ("", "world", "j", "nope", "0", "true", "mesh", "a b", "a.b", "a*", "!a", "é", "x" * 300, "../x", "a'b\"c")
TABLE = """title = "m"
about = ""
model = "robot.xml"
version = 0
frame_skip = 2
episode_steps = 100
terminates = true
observation = [{ kind = "position", of = ["*"] }, { kind = "velocity", of = ["*"], limit = 10.0, name = "v" }]
reward = [{ term = "effort", weight = -0.1 }, { term = "alive", weight = 1.0 }]
reset = { position = { spread = 0.1, shape = "uniform" }, velocity = { spread = 0.1, shape = "normal" } }
healthy = [{ kind = "position", of = ["j"], range = [-1.0, inf] }]
[camera]
distance = 4.0
[variants]
"gravity-1.5" = { gravity = 1.5 }
light = { mass = { body = "b", scale = 0.5 }, action_noise = 0.1 }
"""
AXES = (
    *({axis: 0.5} for axis in ("gravity", "mass", "friction", "joint_range", "damping", "stiffness", "armature")),
    *({axis: 0.5} for axis in ("frictionloss", "gear", "control_range", "timestep")),
    {"size": {"scale": 0.5}},
    {"size": {"scale": 1.3, "only": "radius"}},
    {"length": {"body": "b", "scale": 1.3}},
    {"cripple": ["m"]},
    {"fluid": {"density": 1.2, "wind": [1.0, 0.0, 0.0]}},
    {"mass": {"body": "b", "value": 3.0}},
    {"damping": {"joint": "j", "value": 2.0}},
    {"joint_range": {"value": [-0.5, 0.5]}},
    {"gravity": {"value": [0.0, 0.0, 0.0]}},
    {"observation_delay": 2, "action_noise": 0.1, "direction": -1},
    {"terrain": 0.05},
    {"terrain": {"height": 0.1, "form": "steps", "extent": [4.0, 3.0], "flat": 1.5, "seed": 3}},
    {"backlash": 0.05},
    {"backlash": {"joint": "j", "value": 0.5}, "armature": {"value": 0.05}},
    {"terrain": 0.05, "backlash": 0.05, "size": {"scale": 0.5}},
    {"integrator": "RK4", "cone": "elliptic"},
    {"integrator": "implicitfast", "solver": "CG", "contact_softness": 2.0},
)


def mutated_model(text: str, rng: random.Random) -> str:
    """Change a few numbers, names, attributes or elements of an MJCF, or cut it off."""
    root = ElementTree.fromstring(text)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        elements = list(root.iter())
        parents = {child: parent for parent in elements for child in parent}
        element = rng.choice(elements)
        keys = list(element.attrib)
        kind = rng.choice(("number", "number", "number", "word", "drop", "rename", "delete", "copy", "move"))
        if kind == "number" and keys:
            key = rng.choice(keys)
            parts = element.attrib[key].split() or [""]
            parts[rng.randrange(len(parts))] = rng.choice(NUMBERS)
            element.attrib[key] = " ".join(parts)
        elif kind == "word" and keys:
            element.attrib[rng.choice(keys)] = rng.choice(WORDS)
        elif kind == "drop" and keys:
            del element.attrib[rng.choice(keys)]
        elif kind == "rename" and keys:
            element.attrib[rng.choice(("name", "type", "class", "mass", "pos", "range", "group"))] = rng.choice(WORDS)
        elif kind == "delete" and element in parents:
            parents[element].remove(element)
        elif kind == "copy" and element in parents:
            parents[element].append(element)
        elif kind == "move" and element in parents:
            target = rng.choice([other for other in elements if other not in set(element.iter())])
            parents[element].remove(element)
            target.append(element)
    written = ElementTree.tostring(root, encoding="unicode")
    return written[: rng.randrange(len(written))] if rng.random() < 0.03 else written


def mutated_table(text: str, rng: random.Random) -> str:
    """Change a few numbers, names, keys or lines of a table."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        tokens = list(re.finditer(r'"[^"\n]*"|-?\d+(\.\d+)?|\b[a-z_]+\b|[\[\]{}=,]', text))
        if not tokens:
            return text
        token = rng.choice(tokens)
        numbers = (
            "0",
            "-1",
            "nan",
            "inf",
            "1e400",
            "1e308",
            "10000000000000000000000",
            "0.5",
            "true",
            '"a"',
            "[]",
            "{}",
        )
        words = ("model", "kind", "of", "position", "healthy", "x", "gravity", "alive", "")
        new = rng.choice([*numbers, *words, *(f'"{word}"' for word in WORDS if '"' not in word)])
        text = text[: token.start()] + new + text[token.end() :]
    lines = text.splitlines()
    if rng.random() < 0.2:
        lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    if rng.random() < 0.2:
        del lines[rng.randrange(len(lines))]
    return "\n".join(lines)


def use(folder: Path, change: dict[str, Any], said: Connection) -> None:
    """Make the env, plain and changed, and act in it a little."""
    variants: list[dict[str, Any]] = [{}, change, {"variant": "gravity-1.5"}, {"variant": "light"}]
    said.send("vetted")
    for arguments in variants:
        try:
            env = RobotEnv("mine", **arguments)
            env.reset(seed=0)
            for action in (env.action_space.sample(), np.zeros(env.action_space.shape, np.float32)):
                env.step(action)
        except InputError as error:
            if "\n" in str(error):
                raise ValueError(f"more than one line: {error}") from None
        except FloatingPointError:
            pass  # an unlimited action
    said.send("done")


def _child(folder: Path, change: dict[str, Any], said: Connection) -> None:
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 1)
    os.dup2(devnull, 2)
    os.environ[content.WORKSPACE] = str(folder)
    try:
        mjcf.wrong(_plainly_compiled(folder / "envs/mine/robot.xml"))
        mjcf.vet = mjcf.digest  # what the vetting child does beside it was done here
        use(folder, change, said)
    except Exception:
        said.send(traceback.format_exc())


def _plainly_compiled(path: Path) -> Any:
    try:
        return mujoco.MjSpec.from_file(str(path)).compile()
    except (ValueError, MemoryError, RuntimeError):
        return mujoco.MjSpec().compile()  # refused by the vetting: go on to what the suite says


def outcome_of(folder: Path, change: dict[str, Any]) -> str:
    """What a fork of this process says of an env and a change: `done`, `refused`, a traceback, or how it ended."""
    context: Any = multiprocessing.get_context("fork")
    hears, says = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(folder, change, says))
    process.start()
    says.close()
    stages: list[str] = []
    try:
        while hears.poll(SECONDS):
            stages.append(hears.recv())
    except EOFError:
        pass
    else:
        process.kill()
        stages.append("hangs")
    process.join()
    if stages in ([], ["hangs"]):
        return "refused"  # MuJoCo itself crashed or hung on it: the vetting child's end is an InputError
    return stages[-1] if stages[-1] != "vetted" else f"it ended with code {process.exitcode}"


def survives(model: Path, seed: int, mutate: Callable[..., str], what: str) -> None:
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "envs" / "mine"
        shutil.copytree(model.parent / "files", folder / "files")
        text, table = model.read_text(), TABLE
        if what == "model":
            text = mutate(text, rng)
        else:
            table = mutate(table, rng)
        (folder / "robot.xml").write_text(text)
        (folder / "env.toml").write_text(table)
        change = rng.choice(AXES)
        said = outcome_of(Path(name), change)
        assert said in ("done", "refused"), f"{said}\n--- {model.stem}, seed {seed}, {change}\n{text}\n{table}"


def test_every_axis_of_the_model_is_among_those_that_are_drawn():
    assert {axis for change in AXES for axis in change} >= {*MODEL, *SHAPE}


quick = functools.partial(settings, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@quick(max_examples=10)
@given(model=st.sampled_from(ZOO), seed=st.integers(0, 10**6))
def test_a_few_mutated_models_are_used_or_refused(model: Path, seed: int):
    survives(model, seed, mutated_model, "model")


@quick(max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_a_few_mutated_tables_are_used_or_refused(seed: int):
    survives(next(path for path in ZOO if path.stem == "plain"), seed, mutated_table, "table")


@pytest.mark.slow
@quick(max_examples=300)
@given(model=st.sampled_from(ZOO), seed=st.integers(0, 10**6))
def test_many_mutated_models_are_used_or_refused(model: Path, seed: int):
    survives(model, seed, mutated_model, "model")


@pytest.mark.slow
@quick(max_examples=300)
@given(seed=st.integers(0, 10**6))
def test_many_mutated_tables_are_used_or_refused(seed: int):
    survives(next(path for path in ZOO if path.stem == "plain"), seed, mutated_table, "table")

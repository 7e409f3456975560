"""What an experiment names: folders that stay inside, envs that import nothing, and errors that name file and key."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.experiment.conftest import TINY
from trl_suite import content
from trl_suite.errors import InputError
from trl_suite.experiment.planning import grid
from trl_suite.experiment.specification import experiment_checks, experiment_file

ALPHABET = "abcXYZ019._+?=,-/\\:;<>|*'\" \n\t\x00\x07\x1b\x7f\x9b\u202e\u00e9%~$&"


def test_a_plain_name_is_one_component_of_a_path_and_prints_as_it_is():
    draw = random.Random(0)
    names = ["".join(draw.choices(ALPHABET, k=draw.randint(0, 8))) for _ in range(20_000)] + [".", "..", "", "a" * 300]
    plain = [name for name in names if content.is_plain(name)]
    assert len(plain) > 100
    for name in plain:
        assert Path(name).parts == (name,)
        assert name.isprintable()
        assert name.isascii()


@pytest.mark.parametrize(
    "name", ["../../../../escaped", "..", "a/b", "a\\\\b", "\\u001b[31m", "a b", "é", "x" * 230, ""]
)
def test_a_method_that_would_be_another_folder_is_refused(tiny, name):
    path = tiny / "experiment.toml"
    path.write_text(TINY.replace('"finetune"', f'"{name}"') + f'\n[method."{name}"]\ncopy = ["actor"]\n')
    with pytest.raises(InputError, match=r"experiment\.toml: methods: .* is no name of a folder"):
        experiment_file.load(tiny)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Does a balanced", "\\u001b[2J", "question: holds a control character"),
        ('env   = "inverted-pendulum"', 'env = "gymnasium:evilmod:X-v0"', "source.env: .* would import a module"),
        ('["inverted-pendulum.gravity-1.5"]', '["gymnasium:a:b:X-v0"]', "target.envs: .* would import a module"),
        ('env   = "inverted-pendulum"', f'env = "{"x" * 300}"', "source.env: unknown env"),
        ('env   = "inverted-pendulum"', 'env = "../envs/hopper"', "source.env: unknown env"),
        ('["inverted-pendulum.gravity-1.5"]', '["inverted-pendulum.x"]', "target.envs: .*'x'"),
        ('"finetune"', '"finetun"', r"methods: unknown method 'finetun' \(did you mean 'finetune'"),
        ("steps = 256", f"steps = {10**12}", "target.steps: .* raise evaluation.every"),
        ("steps = 512", f"steps = {10**15}", r"source.steps: .* at most"),
    ],
)
def test_an_error_names_the_file_and_the_key(tiny, old, new, message):
    path = tiny / "experiment.toml"
    assert old in TINY
    path.write_text(TINY.replace(old, new))
    with pytest.raises(InputError, match=rf"experiment\.toml: {message}"):
        experiment_file.load(tiny)


def test_what_is_allowed_and_hardly_meant_is_said(tiny):
    table = "\n[sac]\ntau = 0.0\nbuffer_size = 10\nbatch_size = 32\n"
    (tiny / "experiment.toml").write_text(TINY.replace("[source]", 'algorithm = "sac"\n[source]') + table)
    lines = "\n".join(experiment_checks.cautions(experiment_file.load(tiny)))
    assert "tau = 0" in lines
    assert "buffer_size 10 is below batch_size 32" in lines


@pytest.mark.parametrize(
    "shape", ["plain", *(pytest.param(one, marks=pytest.mark.slow) for one in ("guarded", "stdin"))]
)
def test_a_script_runs_an_experiment_with_and_without_a_guard(tiny, shape):
    text = TINY.replace("seeds    = [0, 1]", "seeds = [0]")
    (tiny / "experiment.toml").write_text(text)
    call = "print(len(trl_suite.run('experiments/tiny', workers=1).tally.done))"
    code = (
        f"import trl_suite\nif __name__ == '__main__':\n    {call}\n"
        if shape == "guarded"
        else f"import trl_suite\n{call}\n"
    )
    script = tiny.parent.parent / "study.py"
    script.write_text(code)
    command = [sys.executable, "-"] if shape == "stdin" else [sys.executable, str(script)]
    done = subprocess.run(
        command, input=code, capture_output=True, text=True, cwd=script.parent, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    specs = grid.run_specs(experiment_file.load(tiny))
    assert done.stdout.split()[-1] == str(len(specs))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("tau = 0.0\nbuffer_size = 200", "sac: tau = 0 never moves the target networks"),
        ("buffer_size = 10", "sac: buffer_size 10 is below batch_size 32"),
        ("gradient_steps = 0", "sac: gradient_steps = 0 learns nothing"),
    ],
)
def test_a_valid_table_that_learns_nothing_is_cautioned_about(tiny, keys, message):
    text = TINY.replace("[source]", 'algorithm = "sac"\n\n[source]')
    (tiny / "experiment.toml").write_text(
        f"{text}\n[sac]\nhidden = [8]\nlearning_starts = 64\nbatch_size = 32\n{keys}\n"
    )
    assert any(line.startswith(message) for line in experiment_checks.cautions(experiment_file.load(tiny)))

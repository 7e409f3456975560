"""The command line as a user meets it: what it prints, what it refuses, and its exit codes."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

import trl_suite
from trl_suite.cli.main import main
from trl_suite.worlds.warp import warp_library


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C as it was: `main` ignores it at its end, where a process ends too."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


def call(*words: str, cwd=None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trl_suite.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env={**os.environ, **environment})


def test_help_needs_no_heavy_import():
    code = (
        "import sys\nfrom trl_suite.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        "heavy = ('torch', 'mujoco', 'stable_baselines3', 'scipy', 'matplotlib')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
    for verb in ("envs", "policies", "inspect", "match", "probe", "import", "export", "train", "run", "report", "film",
                 "doctor"):  # fmt: skip
        assert verb in done.stdout


@pytest.mark.slow
def test_help_answers_at_once():
    def seconds(*command: str) -> float:
        started = time.perf_counter()
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        return time.perf_counter() - started

    bare = min(seconds("-c", "import gymnasium, tyro") for _ in range(3))
    ours = min(seconds("-m", "trl_suite.cli", "--help") for _ in range(3))
    assert ours < 3 * bare, "heavy imports have crept in: the promise is half a second"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "experiments/quickstar"), "unknown experiment 'quickstar' (did you mean 'quickstart'?)"),
        (("train", "half-chetah"), "unknown env 'half-chetah' (did you mean 'half-cheetah'?)"),
        (("train", "half-cheetah.gravity-9"), "unknown variant 'gravity-9'"),
        (("train", "half-cheetah", "--steps", "0"), "--steps 0"),
        (("train", "half-cheetah", "--steps", "100"), "fewer than one rollout of 2,048 steps"),
        (("report", "nowhere"), "no plan.json"),
        (("envs", "--workspace", "nowhere"), "workspace 'nowhere' is not a folder"),
        (("inspect", "hoper"), "unknown policy 'hoper'"),
        (("match", "nobody", "hopper"), "unknown policy 'nobody'"),
        (("probe", "nobody", "hopper"), "unknown policy 'nobody'"),
        (("film", "nowhere"), "no plan.json"),
        (("film", "nowhere", "-o", "film.avi"), "a film ends with one of .gif, .png, .webp, .mp4"),
        (("match", "nobody", "hopper", "-o", "picture.gif"), "a picture ends with one of .png, .svg, .pdf"),
        (("import", "nowhere.zip", "--env", "hopper"), "nowhere.zip: no such file"),
        (("export", "nobody", "out.zip"), "unknown policy 'nobody'"),
        (("fly",), "Unrecognized options: fly"),
        (("train", "half-cheetah", "--step", "10"), "--steps"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(words)
    printed = capsys.readouterr()
    assert end.value.code == 2
    assert message in printed.err.replace("\n", " ") or message in printed.out
    assert not list(tmp_path.iterdir()), "nothing may be written"


def test_bad_input_is_no_traceback_in_a_process_of_its_own(tmp_path):
    done = call("train", "half-chetah", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr


def test_envs_lists_robots_and_variants(capsys):
    with pytest.raises(SystemExit) as end:
        main(["envs", "--json"])
    assert end.value.code == 0
    table = json.loads(capsys.readouterr().out)
    assert table["half-cheetah"]["id"] == "trl_suite/HalfCheetah-v0"
    assert "gravity-1.5" in table["half-cheetah"]["variants"]


def test_train_makes_a_policy_folder_that_is_found_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ("train", "inverted-pendulum", "--steps", "2048", "--seed", "3")
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 0, capsys.readouterr().err
    folder = tmp_path / "policies" / "inverted-pendulum-ppo-seed-3-2048-steps"
    assert sorted(path.name for path in folder.iterdir()) == ["card.toml", "curve.csv", "weights.safetensors"]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert end.value.code == 2
    assert "exists already" in capsys.readouterr().err
    assert trl_suite.load_policy(folder.name).card.training.seed == 3
    assert [path.name for path in tmp_path.iterdir()] == ["policies"], "no MUJOCO_LOG.TXT, no litter"


def test_doctor_says_what_is_there_and_survives_a_wrong_display():
    done = call("doctor", "--json", MUJOCO_GL="bogus")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["torch"]
    assert "MUJOCO_GL=bogus" in found["rendering"]
    assert "half-cheetah" in found["envs"]


@pytest.mark.slow
def test_doctor_says_what_a_world_takes_on_a_device():
    found = json.loads(call("doctor", "--json").stdout)["physics on the gpu"]
    assert "half-cheetah" in found if not warp_library.obstacle() else "pip install 'trl-suite[gpu]'" in found


def test_a_reader_that_stops_reading_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m trl_suite.cli envs | head -n 1", shell=True, capture_output=True, text=True
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("closed", ["2>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-", "0<&-"])
def test_a_closed_stream_leads_nowhere_and_no_other_stream_takes_its_place(closed, tmp_path):
    """The file opened next would get its number, and all that is printed."""
    program = tmp_path / "program.py"
    program.write_text(
        "import os, sys, pathlib\nfrom trl_suite.cli.main import main\n"
        "try:\n    main(['envs', 'nope'])\nexcept SystemExit as end:\n    code = end.code\n"
        "file = os.open('file', os.O_CREAT | os.O_RDWR)\n"
        "pathlib.Path('told').write_text(f'{code} {file > 2} {None in (sys.stdin, sys.stdout, sys.stderr)}')\n"
    )
    command = f"{sys.executable} {program} {closed}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert (tmp_path / "told").read_text() == "2 True False"
    assert done.stdout == ""
    assert ("nope" in done.stderr) == ("2>" not in closed)

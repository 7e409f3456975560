"""What is shipped: the wheel's contents and metadata, and pins for all that is needed."""

import re
import subprocess
import sys
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REPOSITORY = PROJECT["project"]["urls"]["Homepage"]
EXTRAS = PROJECT["project"]["optional-dependencies"]

pytestmark = pytest.mark.xdist_group("wheel")


def metadata(wheel: Path):
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return message_from_string(archive.read(name).decode())


def test_the_wheel_holds_the_content_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"trl_suite"}
    assert "trl_suite/_content/envs/hopper/env.toml" in names
    assert "trl_suite/py.typed" in names
    assert not [name for name in names if name.startswith("trl_suite/_content") and name.endswith(".py")]
    assert wheel.stat().st_size < 5_000_000


def test_the_installed_content_is_the_wheels(installed, tmp_path):
    code = "from trl_suite import content; print(content.find('envs', 'hopper'))"
    output = subprocess.check_output([installed / "bin/python", "-c", code], cwd=tmp_path, env={}, text=True)
    assert output.strip().startswith(str(installed))


def test_no_link_of_the_description_is_relative(wheel):
    description = metadata(wheel).get_payload()
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert len(links) > 10
    assert not [link for link in links if not link.startswith("https://")]


def test_the_metadata_say_who_where_and_for_which_python(wheel):
    fields = metadata(wheel)
    assert fields["Author"]
    assert {"Homepage", "Documentation", "Issues", "Changelog"} <= {
        url.split(",")[0] for url in fields.get_all("Project-URL")
    }
    versions = {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13, 14)}
    assert versions <= set(fields.get_all("Classifier"))
    assert "notebook" in fields.get_all("Provides-Extra")


def test_one_version_and_one_address_stand_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {PROJECT['project']['version']}\n" in citation
    assert f'repository-code: "{REPOSITORY}"' in citation
    assert all(url.startswith(REPOSITORY) for url in PROJECT["project"]["urls"].values())


def names(requirements: list[str]) -> set[str]:
    found = {re.match(r"[\w-]+", entry)[0].lower().replace("-", "_") for entry in requirements}
    return found - {"trl_suite"}


def test_every_dependency_is_pinned():
    pinned = names((ROOT / "constraints.txt").read_text().split())
    groups = [entry for group in PROJECT["dependency-groups"].values() for entry in group]
    extras = [entry for extra in EXTRAS.values() for entry in extra]
    needed = names([*PROJECT["project"]["dependencies"], *PROJECT["build-system"]["requires"], *groups, *extras])
    assert needed <= pinned, needed - pinned


def test_every_extra_is_on_the_page_and_all_takes_the_light_ones():
    page = (ROOT / "docs/install.md").read_text()
    assert set(re.findall(r"^\| `(\w+)` \|", page, flags=re.MULTILINE)) == set(EXTRAS)
    [everything] = EXTRAS["all"]
    assert set(re.search(r"\[(.*)\]", everything)[1].split(",")) == set(EXTRAS) - {"all", "ray", "gpu"}


def test_the_image_installs_what_is_pinned_and_runs_the_quickstart():
    lines = (ROOT / "Dockerfile").read_text()
    assert (
        f"torch=={dict(line.split('==') for line in (ROOT / 'constraints.txt').read_text().split())['torch']}" in lines
    )
    assert 'ENTRYPOINT ["trl-suite"]\nCMD ["run", "experiments/quickstart"]' in lines
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert not {"experiments", "envs", "policies", "trl_suite", "README.md"} & set(ignored)


@pytest.mark.slow
def test_the_source_distribution_makes_the_same_wheel(wheel, tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-d", str(tmp_path)]
    subprocess.run([*build, "-t", "sdist"], cwd=ROOT, check=True)
    [archive] = tmp_path.glob("*.tar.gz")
    subprocess.run(["tar", "xzf", archive, "-C", tmp_path], check=True)
    [tree] = [path for path in tmp_path.iterdir() if path.is_dir()]
    subprocess.run([*build, "-t", "wheel"], cwd=tree, check=True)
    [again] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(again) as second, zipfile.ZipFile(wheel) as first:
        assert {name: second.read(name) for name in second.namelist() if "RECORD" not in name} == {
            name: first.read(name) for name in first.namelist() if "RECORD" not in name
        }

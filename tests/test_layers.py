"""The direction of imports, read from the source: see CONTRIBUTING.md."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "trl_suite"
FILES = sorted(PACKAGE.rglob("*.py"))

# what each room may import of the suite; rooms that stand below it in the same package are always allowed
ALLOWED = {
    "errors": set(),
    "files": {"errors", "machine_resources"},
    "content": {"errors"},
    "tables": {"errors", "files"},
    "table_schema": set(),
    "interface": set(),
    "html_tables": set(),
    "record": {"errors", "files", "html_tables"},
    "provenance": set(),
    "terminal": {"errors"},
    "machine_resources": set(),
    "algorithms": {"errors"},
    "worlds": {"errors", "files", "content", "tables", "table_schema", "interface", "machine_resources"},
    "networks": {"algorithms", "errors", "files", "content", "tables", "interface", "record", "html_tables"},
    "mechanisms": {"algorithms", "errors", "content", "tables", "interface", "record", "networks"},
    "evidence": {"errors", "files", "content", "tables", "interface", "record", "html_tables"},
    "training": {
        "algorithms", "errors", "files", "content", "tables", "interface", "record", "provenance", "networks", "worlds",
        "mechanisms", "machine_resources",
    },
    "experiment": {
        "algorithms", "errors", "files", "content", "tables", "record", "provenance", "networks", "worlds", "training",
        "interface", "machine_resources", "evidence", "mechanisms", "terminal",
    },
    "cli": {
        "algorithms", "errors", "files", "content", "record", "provenance", "networks", "worlds", "training",
        "experiment", "evidence", "terminal",
        "interface", "cli", "machine_resources", "mechanisms", "table_schema",
    },
    "__init__": {"worlds", "networks", "mechanisms", "training", "evidence", "experiment"},
}  # fmt: skip
HEAVY = {"torch", "mujoco", "stable_baselines3", "gymnasium"}
MAY_LOAD = {
    "worlds": {"mujoco", "gymnasium"},
    "worlds.warp": {"torch"},
    "networks": {"torch"},
    "mechanisms": {"torch"},
    "networks.formats.zip_export": {"torch", "gymnasium", "stable_baselines3"},  # inside functions, for an export alone
    "training": HEAVY,
    "experiment": {"torch"},
    "cli": {"torch"},
}


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


KNOWN = {module(file) for file in FILES}


@functools.cache
def imports(path: Path) -> list[tuple[str, int]]:
    """Every module that a file imports, with its indentation; those for type checkers only are left out."""
    found: list[tuple[str, int]] = []
    tree = ast.parse(path.read_text())
    guarded = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    skipped = {id(inner) for node in guarded for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, node.col_offset) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name if name in KNOWN else str(node.module), node.col_offset) for name in names]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_what_lies_below_it(path):
    for name, _ in imports(path):
        if name.startswith("trl_suite."):
            other = name.split(".")[1]
            assert other == room(path) or other in ALLOWED[room(path)], f"{path} imports {name}"
        elif name.split(".")[0] in HEAVY:
            place = module(path).removeprefix("trl_suite.") + "."
            may = set().union(*(loads for above, loads in MAY_LOAD.items() if place.startswith(above + ".")))
            assert name.split(".")[0] in may, f"{path} imports {name}"


def test_sb3_is_imported_only_by_its_engine_and_for_an_export():
    for path in FILES:
        if any(name.startswith("stable_baselines3") for name, _ in imports(path)):
            assert module(path).startswith(("trl_suite.training.sb3", "trl_suite.networks.formats.zip_export")), path


def test_a_cohort_imports_nothing_of_sb3():
    code = "import sys, trl_suite.training.cohort.cohort_training, trl_suite.training.cohort.cohort_key as key"
    code += "; print([n for n in sys.modules if n.startswith(('stable_baselines3', 'trl_suite.training.sb3'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    for path in (PACKAGE / "training" / "cohort").rglob("*.py"):
        above = [name for name, _ in imports(path) if name.startswith(("stable_baselines3", "trl_suite.training.sb3"))]
        assert not above, f"{path} imports {above}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_suite_is_never_imported_inside_a_function(path):
    inside = [name for name, column in imports(path) if column and name.startswith("trl_suite")]
    assert not inside, f"{path} imports {inside} inside a function"


def test_there_are_no_cycles():
    graph = {module(path): {name for name, _ in imports(path) if name.startswith("trl_suite.")} for path in FILES}
    done: set[str] = set()

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, " -> ".join((*above, name))
        if name not in done:
            for below in graph.get(name, ()):
                visit(below, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_room_is_a_home_for_the_homeless():
    assert not [path for path in FILES if path.stem in {"utils", "common", "helpers", "base", "manager"}]


def test_content_folders_hold_no_python():
    root = PACKAGE.parent
    assert not [path for kind in ("envs", "policies", "experiments") for path in (root / kind).rglob("*.py")]

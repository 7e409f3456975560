"""The six rules of the vocabulary, read from the source: see docs/glossary.md."""

import ast
import functools
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "trl_suite"
FILES = sorted(PACKAGE.rglob("*.py"))
FILLERS = {
    "found", "one", "told", "mine", "own", "known", "held", "kept", "made", "given", "chosen", "wanted", "shown",
    "theirs", "ours", "each", "both",
}  # fmt: skip
MOST_WORDS = 30  # in a sentence
ONE_IN_EACH_FILE = {"DESCRIPTOR"}  # `algorithms.registry` looks for this name in each file of its room


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


# --- Rule 1: a class name and a module name are used once ---


def repeated(places: dict[str, set[Path]]) -> list[str]:
    return sorted(f"{name}: {', '.join(map(str, sorted(paths)))}" for name, paths in places.items() if len(paths) > 1)


def class_names() -> dict[str, set[Path]]:
    places: dict[str, set[Path]] = defaultdict(set)
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.ClassDef):
                places[node.name].add(path.relative_to(ROOT))
    return places


def module_names() -> dict[str, set[Path]]:
    places: dict[str, set[Path]] = defaultdict(set)
    for path in FILES:
        if path.stem != "__init__":
            places[path.stem].add(path.relative_to(ROOT))
    return places


# --- Rule 2: no filler word is a local or a parameter ---


def bound_names(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every name that is assigned, with its line: parameters of functions and lambdas, targets of assignments, loops,
    `with`, `except`, `:=`, `match` and comprehensions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
            yield node.name, node.lineno
        elif isinstance(node, ast.MatchMapping) and node.rest:
            yield node.rest, node.lineno


def fillers(path: Path) -> list[str]:
    return [f"{path.relative_to(ROOT)}:{line}: {name}" for name, line in bound_names(tree_of(path)) if name in FILLERS]


# --- Rule 3: a docstring begins with its noun ---


def questions(path: Path) -> list[str]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return [
        f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {docstring.splitlines()[0]}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, documented)
        and (docstring := ast.get_docstring(node))
        and re.match(r"(Return )?what\b", docstring, flags=re.IGNORECASE)
    ]


# --- Rule 4: a constant's name has one value ---


def constant_values() -> dict[str, set[str]]:
    values: dict[str, set[str]] = defaultdict(set)
    for tree in map(tree_of, FILES):
        for node in tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            for target in targets:
                if not isinstance(target, ast.Name) or not value or target.id in ONE_IN_EACH_FILE:
                    continue
                if re.fullmatch(r"_?[A-Z][A-Z0-9_]+", target.id):
                    values[target.id].add(ast.unparse(value))
    return values


# --- Rule 6: a sentence has at most thirty words ---


def sentences(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"(?<=[.!?])[)\"'`*]*\s+", text) if part.strip()]


def long_sentences(text: str) -> list[str]:
    return [sentence for sentence in sentences(text) if len(re.findall(r"\S*\w\S*", sentence)) > MOST_WORDS]


def paragraphs(markdown: str) -> Iterator[str]:
    """The running text of a page: paragraphs, items of lists and cells of tables, without code, links' targets and
    directives."""
    text = re.sub(r"^(```+|:::+)(?!\{(?:note|warning|tip)).*?^\1\s*$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"`[^`\n]*`", "code", text)
    for block in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.)\s)|\n(?=#)|(?<=\|)\n|<br>", text):
        yield from (
            " ".join(cell.split()) for cell in (block.split("|") if block.lstrip().startswith("|") else [block])
        )


def long_in_page(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}: {sentence}"
        for paragraph in paragraphs(path.read_text())
        for sentence in long_sentences(paragraph)
    ]


def literal(node: ast.expr) -> str:
    """The text of a string of the source; what is filled in counts as one word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) if isinstance(part, ast.Constant) else "X" for part in node.values)
    if isinstance(node, ast.BinOp):
        return literal(node.left) + literal(node.right)
    return "X"


def long_errors(path: Path) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{node.lineno}: {sentence}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Error") and node.args
        for sentence in long_sentences(literal(node.args[0]))
    ]


# --- the offences of each rule ---


def in_every_file(rule: Callable[[Path], list[str]]) -> list[str]:
    return [offence for path in FILES for offence in rule(path)]


def pages() -> list[Path]:
    """Every page but the changelog, which is history."""
    rooms = ("docs", "envs", "policies", "experiments")
    below = [path for name in rooms for path in sorted((ROOT / name).rglob("*.md"))]
    return [path for path in sorted(ROOT.glob("*.md")) if path.name != "CHANGELOG.md"] + below


def several_values() -> list[str]:
    return sorted(f"{name}: {values}" for name, values in constant_values().items() if len(values) > 1)


RULES: dict[str, Callable[[], list[str]]] = {
    "class names": lambda: repeated(class_names()),
    "module names": lambda: repeated(module_names()),
    "constants": several_values,
    "fillers": lambda: in_every_file(fillers),
    "docstrings": lambda: in_every_file(questions),
    "errors": lambda: in_every_file(long_errors),
    "pages": lambda: [offence for path in pages() for offence in long_in_page(path)],
}


@pytest.mark.parametrize("rule", RULES)
def test_the_vocabulary_is_kept(rule):
    offences = RULES[rule]()
    assert not offences, "\n".join(offences)


# --- the readers themselves ---


def test_every_way_to_bind_a_name_is_read():
    code = """
def f(a, *b, c=1, **d):
    e = lambda g: g
    for h, (i, *j) in []: pass
    with x as k: pass
    try: pass
    except E as l: pass
    if (m := 1): pass
    [n for n in x]
    match x:
        case [o, *p]: pass
        case {"k": q, **r}: pass
    s: int = 1
    t += 1
"""
    assert {name for name, _ in bound_names(ast.parse(code))} == set("abcdeghijklmnopqrst")


def test_long_sentences_are_found_and_code_is_not_read():
    page = "Short. " + "word " * 30 + "end.\n\n```bash\n" + "word " * 40 + "\n```\n\n| " + "word " * 20 + "| "
    page += "word " * 20 + "|\n"
    assert [len(part.split()) for text in paragraphs(page) for part in long_sentences(text)] == [31]
    assert not [part for text in paragraphs("word " * 29 + "[a](b c)") for part in long_sentences(text)]


if __name__ == "__main__":  # what is left, for a sweep: python tests/test_vocabulary.py [rule]
    for name in sys.argv[1:] or RULES:
        print(f"{name}: {len(RULES[name]())}", *(RULES[name]() if sys.argv[1:] else ()), sep="\n  ")

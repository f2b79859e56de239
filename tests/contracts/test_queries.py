"""Every query that code names stands in its file, with those arguments; and every query that stands there is asked."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"^-- name: (\w+)(?:\(([^)]*)\))?", re.MULTILINE)

Aliases = Mapping[str, Path]


def modules() -> dict[str, ast.Module]:
    """By name; those alone that have to do with queries. No type says what a file of SQL holds."""
    files = [*(ROOT / "services").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]
    texts = {file: text for file in files if "queries" in (text := file.read_text())}
    return {".".join(file.relative_to(ROOT).with_suffix("").parts): ast.parse(text) for file, text in texts.items()}


def loaded(name: str, tree: ast.Module) -> Iterator[tuple[str, Path]]:
    """What a module calls the files that it loads."""
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if ast.unparse(node.value.func) == "aiosql.from_path":
                (file,) = [each.value for each in ast.walk(node.value.args[0]) if isinstance(each, ast.Constant)]
                yield ast.unparse(target), ROOT.joinpath(*name.split(".")).parent / str(file)


def aliases(tree: ast.Module, own: Aliases, others: Mapping[tuple[str, str], Path]) -> dict[str, Path]:
    """What it calls them that it loads, or has from elsewhere."""
    found = dict(own)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                if (file := others.get((node.module, each.name))) is not None:
                    found[each.asname or each.name] = file
    return found


def test_every_query_that_is_named_stands_in_its_file_and_the_other_way_round() -> None:
    trees = modules()
    own = {name: dict(loaded(name, tree)) for name, tree in trees.items()}
    others = {(name, alias): file for name, files in own.items() for alias, file in files.items()}
    declared = {
        file: {
            name: {word.strip() for word in words.split(",")} - {""} for name, words in NAMED.findall(file.read_text())
        }
        for file in set(others.values())
    }
    asked: dict[Path, set[str]] = defaultdict(set)
    wrong = []
    for name, tree in trees.items():
        known = aliases(tree, own[name], others)
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
                file = known[node.value.id]
                asked[file].add(node.attr)
                if node.attr not in declared[file]:
                    wrong.append(f"{name} asks {file.name} for {node.attr}, which it does not have")
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                query, of = node.func.attr, node.func.value
                given = {each.arg for each in node.keywords}
                if isinstance(of, ast.Name) and of.id in known and None not in given:
                    wanted = declared[known[of.id]].get(query, set())
                    if given != wanted:
                        wrong.append(
                            f"{name} asks {query} with {sorted(map(str, given))}, and it takes {sorted(wanted)}"
                        )
    idle = [f"{file.name}: nobody asks {name}" for file, names in declared.items() for name in set(names) - asked[file]]
    assert len(declared) > 20 and not wrong + idle

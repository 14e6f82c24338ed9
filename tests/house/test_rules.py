"""The lines of STYLE that no linter knows: sizes, rivals, names, imports at the door."""

import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src" / "posttrain"
MODULES = sorted(SRC.rglob("*.py"))
MODULE_LINES, FUNCTION_LINES, ROOM_FILES = 400, 60, 10
BANNED_NAMES = {"utils", "common", "helpers", "misc", "manager"}
ONE_FILE_PER_KIND = SRC / "stages"


def name(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def called(path: Path) -> set[str]:
    """Dotted names of everything a module calls or reads as an attribute."""
    return {ast.unparse(node) for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute | ast.Name)}


def functions(module: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_sizes(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= MODULE_LINES, f"{name(path)} has {lines} lines"
    for function in functions(tree(path)):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        assert length <= FUNCTION_LINES, f"{name(path)}:{function.name} has {length} lines"


def test_rooms_hold_ten_files_and_no_banned_name():
    for folder in [SRC, *[p for p in SRC.rglob("*") if p.is_dir() and p.name != "__pycache__"]]:
        assert folder.name not in BANNED_NAMES
        files = [p for p in folder.glob("*.py") if p.name != "__init__.py"]
        assert not {p.stem for p in files} & BANNED_NAMES, folder
        if folder != ONE_FILE_PER_KIND:
            assert len(files) <= ROOM_FILES, f"{folder.name} holds {len(files)} files"


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_forbidden_in_src(path):
    """No mocks, no pickle, no torch.load, no shell, no edits of sys.path, no global seed."""
    text, used, modules = path.read_text(encoding="utf-8"), called(path), imported(path)
    assert not any(module.startswith(("unittest", "pickle", "shelve", "mock")) for module in modules)
    forbidden = {
        "torch.load",
        "os.system",
        "sys.path.insert",
        "sys.path.append",
        "torch.manual_seed",
        "random.seed",
        "np.random.seed",
    }
    assert not used & forbidden, used & forbidden
    for word in ("shell=True", "trust_remote_code=True"):
        assert word not in text


def only_in(allowed: set[str], wanted: str, found: Iterator[tuple[str, set[str]]]) -> None:
    rivals = {module for module, names in found if any(wanted in item for item in names)} - allowed
    assert not rivals, f"{wanted} belongs to {sorted(allowed)}, and stands in {sorted(rivals)}"


def test_one_row_reader():
    """JSONL rows are parsed in data/rows (typed rows) and store/ledger (records) alone; a manifest is no row."""
    users = [(name(path), called(path)) for path in MODULES]
    only_in({"data/rows.py", "store/artifact.py"}, "model_validate_json", iter(users))
    pattern = "json.loads(line"
    rivals = {name(p) for p in MODULES if pattern in p.read_text()} - {
        "data/rows.py",
        "store/ledger.py",
    }
    assert not rivals, rivals


def test_one_model_loader():
    """C-S14: models and tokenizers are built only in `models`."""
    users = [(name(path), called(path) | imported(path)) for path in MODULES]
    for builder in ("from_pretrained", "AutoModel", "AutoTokenizer", "PreTrainedTokenizerFast"):
        models = {module for module, _ in users if module.startswith("models/")}
        only_in(models, builder, iter(users))


HOMES = ("root", "home", "Users", "mnt", "opt")
"""Top folders that a path of somebody's machine begins with; those of every Linux (`/usr`, `/proc`, `/tmp`) are not."""


def machine_paths(text: str) -> list[str]:
    """Absolute paths of some machine, and this checkout's own place unless it is a temporary one."""
    found = re.findall(rf"(?<![\w.~/:-])/(?:{'|'.join(HOMES)})/\w[\w./-]*", text)
    own = ROOT.as_posix()
    return found + ([own] if not own.startswith("/tmp/") and own in text else [])


def test_a_machine_path_is_seen():
    planted = "/" + "home/somebody/models"
    assert machine_paths(f'path = "{planted}"') == [planted]
    assert machine_paths(f"at {ROOT.as_posix()}/x") or ROOT.as_posix().startswith("/tmp/")
    assert not machine_paths("kept at runs/home/base, or /tmp/x, or https://example.org/home/x")


def test_no_machine_path_in_the_repository():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.split()]
    assert len(files) > 100
    found = {path.name: machine_paths(path.read_text(encoding="utf-8")) for path in files if path.is_file()}
    assert not any(found.values()), {name: paths for name, paths in found.items() if paths}


DOOR = """
import sys
from importlib import import_module
for module in {modules!r}:
    import_module(module)
heavy = {{"torch", "transformers", "numpy", "tokenizers", "safetensors"}} & set(sys.modules)
assert not heavy, heavy
"""


def test_no_torch_before_work():
    """The door, the machine and every stage file import without torch."""
    rooms = ("spec", "store", "engine", "reports", "cli", "stages")
    modules = [
        "posttrain." + name(path).removesuffix(".py").replace("/", ".")
        for path in MODULES
        if name(path).split("/")[0] in rooms and path.name != "__init__.py"
    ]
    modules += ["posttrain.api"] if importlib.util.find_spec("posttrain.api") else []
    subprocess.run([sys.executable, "-c", DOOR.format(modules=modules)], check=True)

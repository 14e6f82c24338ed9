"""What is installed is what runs: data files that modules read travel with the package."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_data_file_is_installed():
    """S-A1: the installed package carries the recipes and all else that lies beside its readers."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["posttrain"]
    src = ROOT / "src" / "posttrain"
    carried = {path for pattern in patterns for path in src.glob(pattern)}
    files = {p for p in src.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}}
    assert files and files <= carried, files - carried


def test_the_environment_is_pinned():
    """Every requirement of pyproject has its version in constraints.txt."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = {line.split("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    wanted = [*settings["dependencies"], *settings["optional-dependencies"]["dev"]]
    names = {"".join(c if c.isalnum() or c in "-_" else " " for c in item).split()[0].lower() for item in wanted}
    assert names <= pinned, names - pinned

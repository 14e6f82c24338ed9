"""What decided an artifact: its facts, their digest, and how two sets of facts differ (DESIGN §7)."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from posttrain.spec.errors import UsageError
from posttrain.spec.knobs import Closed, Knobs
from posttrain.spec.knobs import files as named_files


class InputFact(Closed):
    """One input: only its content digest enters the fingerprint, the rest is for people."""

    node: str
    digest: str
    fingerprint: str = ""


class Facts(Closed):
    """Everything that decides an artifact."""

    kind: str
    version: int
    knobs: dict[str, Any]
    seed: int
    inputs: dict[str, tuple[InputFact, ...]]
    files: dict[str, str]
    """Content digest of each `File` knob, by dotted key; its path does not count."""


def canonical(value: object) -> bytes:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def fingerprint(facts: Facts) -> str:
    """sha256 of the facts; of the inputs only role and content digests, in their order."""
    decided = facts.model_dump(mode="json", exclude={"inputs"})
    decided["inputs"] = {role: [given.digest for given in made] for role, made in facts.inputs.items() if made}
    return hashlib.sha256(canonical(decided)).hexdigest()


def knob_facts(knobs: Knobs) -> tuple[dict[str, Any], dict[str, str]]:
    """Knobs as they enter a fingerprint, and the content digest of each `File` among them.

    Of a file `code.py:name` the name stays a knob. UsageError for a file that is not there.
    """
    plain = knobs.model_dump(mode="json")
    files: dict[str, str] = {}
    for dotted, path in named_files(knobs).items():
        source, name = _split(path)
        if not source.exists():
            raise UsageError(f"there is no file {source}.", where=dotted, remedy="Correct the path of this knob.")
        files[dotted] = folder_digest(source) if source.is_dir() else file_digest(source)
        _put(plain, dotted, name)
    return plain, files


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_digest(folder: Path) -> str:
    """Digest over name, sha256 and size of every file below a folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return content_digest(
        (path.relative_to(folder).as_posix(), file_digest(path), path.stat().st_size) for path in paths
    )


def content_digest(files: Iterator[tuple[str, str, int]]) -> str:
    """The content digest of an artifact: sha256 over its sorted (name, sha256, size)."""
    return hashlib.sha256(canonical(sorted(files))).hexdigest()


def differences(old: Facts, new: Facts, *, inputs: bool = True) -> tuple[str, ...]:
    """The facts that differ, each as a reason (`knob k: 8 → 4`)."""
    found: list[str] = []
    if old.kind != new.kind:
        return (f"kind {old.kind} → {new.kind}",)
    if old.version != new.version:
        found.append(f"kind version {old.version} → {new.version}")
    for key, was, now in _changed(old.knobs, new.knobs, ""):
        found.append(f"knob {key}: {_named(was, old, key)} → {_named(now, new, key)}")
    if old.seed != new.seed:
        found.append("seed")
    found += [f"file {key} changed" for key in sorted(old.files.keys() & new.files.keys()) if _moved(old, new, key)]
    return (*found, *(_inputs_changed(old, new) if inputs else ()))


def _named(shown: str, facts: Facts, key: str) -> str:
    """A knob's value; of a file, whose path does not count, that it is one."""
    return f"the file {facts.files[key][:12]}" if key in facts.files else shown


def _moved(old: Facts, new: Facts, key: str) -> bool:
    return old.files.get(key) != new.files.get(key)


def _inputs_changed(old: Facts, new: Facts) -> Iterator[str]:
    for role in sorted(old.inputs.keys() | new.inputs.keys()):
        was, now = old.inputs.get(role, ()), new.inputs.get(role, ())
        if [given.digest for given in was] == [given.digest for given in now]:
            continue
        before, after = {given.node: given.digest for given in was}, {given.node: given.digest for given in now}
        if before.keys() == after.keys():
            changed = ", ".join(node for node in sorted(after) if after[node] != before[node])
            yield f"input {role} changed ({changed})"
        else:
            moves = [f"- {node}" for node in sorted(before.keys() - after.keys())]
            moves += [f"+ {node}" for node in sorted(after.keys() - before.keys())]
            yield f"input {role}: {', '.join(moves)}"


def _changed(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str, str]]:
    for key in sorted(old.keys() | new.keys()):
        was, now, name = old.get(key), new.get(key), f"{prefix}{key}"
        if was == now and (key in old) == (key in new):
            continue
        if isinstance(was, dict) and isinstance(now, dict):
            before, after = cast("dict[str, Any]", was), cast("dict[str, Any]", now)
            if before.get("type") == after.get("type"):
                yield from _changed(before, after, f"{name}.")
                continue
        yield name, _shown(old, key), _shown(new, key)


def _shown(knobs: Mapping[str, Any], key: str) -> str:
    if key not in knobs:
        return "nothing"
    value = knobs[key]
    if isinstance(value, dict) and "type" in value:
        return str(cast("dict[str, Any]", value)["type"])
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


def _split(path: Path) -> tuple[Path, str]:
    """A file and, where the path reads `file.py:name`, the name in it."""
    if path.exists() or ":" not in path.name:
        return path, ""
    file, _, name = path.name.rpartition(":")
    return path.with_name(file), name


def _put(tree: Any, dotted: str, value: str) -> None:
    *way, last = (int(part) if part.isdigit() else part for part in dotted.split("."))
    for part in way:
        tree = tree[part]
    tree[last] = value

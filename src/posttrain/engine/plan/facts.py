"""What decides a node: its facts, from its knobs and from the inputs that are made, and the user's own folders."""

from collections.abc import Iterable, Mapping

from posttrain.engine.expand import Node, Source
from posttrain.spec.errors import Problem, RecipeError, UsageError
from posttrain.spec.stage import Artifact
from posttrain.store import artifact
from posttrain.store.artifact import Manifest
from posttrain.store.fingerprint import Facts, InputFact, file_digest, knob_facts


def facts(node: Node, made: Mapping[str, Manifest], own: Mapping[Source, Artifact]) -> Facts:
    """The facts of a node, of its inputs those that are made."""
    knobs, files = knob_facts(node.knobs)
    known = {role: [s for s in given if s.node is None or s.node in made] for role, given in node.inputs.items()}
    given = {role: tuple(_input_fact(s, made, own) for s in in_order(known[role], own)) for role in known}
    kind = node.kind
    if kind.reads is not None:
        files |= {name: file_digest(path) for name, path in kind.reads(node.knobs).items()}
    return Facts(kind=kind.name, version=kind.version, knobs=knobs, seed=node.seed, inputs=given, files=files)


def own_folders(*nodes: Node) -> dict[Source, Artifact]:
    """The user's folders among the inputs of nodes, recognised and digested.

    RecipeError where one is not there or not of a type that its role takes; Mismatch where its digest is another.
    """
    found: dict[Source, Artifact] = {}
    problems: dict[str, Problem] = {}
    for node in nodes:
        for role, source in ((role, source) for role, sources in node.inputs.items() for source in sources):
            if source.path is None:
                continue
            where, wanted = f"{node.place}.inputs.{role}", node.kind.roles[role]
            try:
                found[source] = found.get(source) or artifact.adopted(source.path, source.digest)
            except UsageError as error:
                problems[where] = Problem(where, f"= {source.path}: {error.what}", error.remedy)
                continue
            if found[source].type not in wanted.types:
                said = f"takes {' or '.join(wanted.types)}, and {source.path} holds {found[source].type}."
                problems[where] = Problem(where, said, f"The role is {wanted.says}.")
    if problems:
        raise RecipeError(tuple(problems.values()))
    return found


def in_order(sources: Iterable[Source], own: Mapping[Source, Artifact]) -> list[Source]:
    """Inputs as they are counted and given: nodes by id, then the user's folders by digest: a path does not count."""
    return sorted(sources, key=lambda source: (source.node is None, source.node or own[source].digest))


def _input_fact(source: Source, made: Mapping[str, Manifest], own: Mapping[Source, Artifact]) -> InputFact:
    if source.node is None:
        return InputFact(node=own[source].node, digest=own[source].digest)
    given = made[source.node]
    return InputFact(node=source.node, digest=given.digest, fingerprint=given.fingerprint)

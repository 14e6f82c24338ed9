"""Bring the base model into a run: made on the spot from a preset, or the user's own folder."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from posttrain.data.records import AnswerType
from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.gate import Gate, Metric
from posttrain.spec.knobs import File
from posttrain.spec.knobs import Knobs as Base
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role

if TYPE_CHECKING:
    from posttrain.data.chat import Prompting, Turn

VERSION = 1
REPORT = "base.json"
"""What was made and how well it learnt; what `measure` reads."""
VAL_PROBLEMS = 64
"""Held-out problems per domain of the world whose loss is taken after pre-training."""
SAMPLE = 20_000
"""Turns whose text decides the vocabulary."""
MADE = ("tiny:", "init:")
TAKEN = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja")
"""Files of a user's folder that a model is made of."""


def _place(given: Any) -> Any:
    """A preset or a hub id stays text; anything else is a path."""
    if not isinstance(given, str) or given.startswith(MADE):
        return given
    hub = given.count("/") == 1 and not given.startswith((".", "/", "~"))
    return given if hub and not Path(given).is_dir() else Path(given).expanduser()


class Knobs(Base):
    """What the base model is, and how it is asked."""

    id: Annotated[str | File, BeforeValidator(_place)]
    """`tiny:NAME` is trained on the spot, `init:NAME` has random weights, anything else is a model folder."""
    template: dict[AnswerType, str] | None = None
    """Prompt templates by answer type, each holding `{prompt}`; none: the model's own."""
    chat: bool | None = None
    """Whether prompts go through the tokenizer's chat template; none: as the model says."""
    thinking: Literal["keep", "off"] | None = None
    """Whether a chat template that can think does; none: as the model says."""


ROLES = {
    "data": Role(
        ("data",), "solutions to pre-train a preset on; without it the built-in world", many=True, optional=True
    )
}
MAKES = "model"
GATES = {"sound": Gate(metric="damages", equals=Decimal(0))}


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """What types alone do not show: a preset that does not exist, a model only a hub has, a folder that is no model."""
    wrong = [name for name, text in (knobs.template or {}).items() if text.count("{prompt}") != 1]
    if wrong:
        return (f"template.{wrong[0]} must hold {{prompt}} once: the question is put there",)
    if isinstance(knobs.id, Path):
        refused = _no_model(knobs.id)
        return (f"id = {knobs.id}: {refused}",) if refused else ()
    if not knobs.id.startswith(MADE):
        return (f"id: {knobs.id!r} is a hub id; models come from presets ({', '.join(_names())}) and folders",)
    if knobs.id not in _names():
        return (f"id: no preset is called {knobs.id!r}; known: {', '.join(_names())}",)
    return ()


def _no_model(folder: Path) -> str:
    """Why a folder is no model that can be taken over; empty where it is one."""
    from posttrain.models.config import parse, read_config

    try:
        parse(read_config(folder))
    except UsageError as error:
        return error.what
    if not any(folder.glob("*.safetensors")):
        return "it holds no weights (*.safetensors): it is no model folder."
    return ""


def _names() -> tuple[str, ...]:
    from posttrain.models.presets import presets

    return tuple(presets())


def reads(knobs: Knobs) -> Mapping[str, Path]:
    """A preset counts by its content: shape, vocabulary and training stand in its file."""
    from posttrain.models.presets import places

    return {} if isinstance(knobs.id, Path) or knobs.id not in places() else {"preset": places()[knobs.id]}


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """Tokens of pre-training and its memory; a folder and a random model take no tokens."""
    from posttrain.models.foresee import config_of
    from posttrain.models.presets import preset
    from posttrain.models.size import size_of

    config = config_of((Foreseen("base", "base", knobs.model_dump(mode="json"), {}),))
    size = size_of(config) if config else None
    if isinstance(knobs.id, Path) or knobs.id not in _names():
        return Estimate(tokens=0, memory=size.weight_bytes() if size else None)
    plan = preset(knobs.id).pretrain
    window = plan.batch_tokens if plan.tokens else 0
    return Estimate(tokens=plan.tokens, memory=size.training_bytes(window, window=128) if size else None)


def run(ctx: Context[Knobs]) -> Outcome:
    """Make the preset or take over the folder."""
    refused = check(ctx.knobs, {})
    if refused:
        raise UsageError(refused[0], where="base", remedy="Name a preset, or download the model and give its folder.")
    measured = _adopt(ctx, ctx.knobs.id) if isinstance(ctx.knobs.id, Path) else _make(ctx, ctx.knobs.id)
    return Outcome(measure(Artifact(node="", type="model", path=ctx.out, digest=""), ctx.knobs), measured)


def _prompting(knobs: Knobs, own: Mapping[str, Any]) -> "Prompting":
    """How the model is asked: its own way, changed by the knobs that are given."""
    from posttrain.data.chat import Prompting

    prompting = Prompting(**own)
    changed = {"chat": knobs.chat, "thinking": knobs.thinking}
    given = {key: value for key, value in changed.items() if value is not None}
    return Prompting(**{**prompting.model_dump(), **given, "templates": prompting.templates | (knobs.template or {})})


def _adopt(ctx: Context[Knobs], folder: Path) -> dict[str, float]:
    """Take over the files of a user's model, and say how it is asked."""
    from posttrain.models.load import PROMPTING

    for path in sorted({path for pattern in TAKEN for path in folder.glob(pattern) if path.is_file()}):
        if path.name not in (PROMPTING, REPORT):
            ctx.link(path, path.name)
    own = folder / PROMPTING
    prompting = _prompting(ctx.knobs, json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {})
    _write(ctx.out / PROMPTING, prompting.model_dump())
    _write(ctx.out / REPORT, {"tokens": 0, "loss": None, "val_loss": None})
    return {}


def _make(ctx: Context[Knobs], name: str) -> dict[str, float]:
    """Tokenizer, random weights and pre-training of a preset."""
    from posttrain.models import load
    from posttrain.models.tokens import train_tokenizer
    from posttrain.train import lm, loop, material, scratch
    from posttrain.train.state import Keeper

    preset, prompting, where = load.preset(name), _prompting(ctx.knobs, {}), ctx.resources
    texts = (turn.prompt + "\n" + turn.response for turn in islice(_turns(ctx, "train"), SAMPLE))
    tokenizer = train_tokenizer(texts, preset.tokenizer)
    loaded = load.build(preset.config, tokenizer, prompting.model_dump(), ctx.seed)
    report: dict[str, float | None] = {"tokens": 0, "loss": None, "val_loss": None}
    plan, keeper = preset.pretrain, Keeper(ctx.scratch / "state")
    if plan.tokens:
        device = load.device_name(where.device)
        loaded.model.to(device).compute = load.FORMATS[load.compute_format(where.compute, device)]
        asked = material.asked(loaded)
        documents = scratch.gather(_turns(ctx, "train"), asked, tokens=plan.tokens)
        steps = scratch.portions(documents, plan.batch_tokens)
        course = loop.Course(len(steps), plan.lr, plan.lr * plan.decay, warmup=plan.warmup, shape="linear")
        report["loss"] = scratch.pretrain(
            loaded.model,
            documents,
            course,
            steps=steps,
            muon=plan.muon_lr / plan.lr,
            keeper=keeper,
            tell=loop.Tell(ctx.emit, lambda tokens: ctx.spend(tokens=tokens)),
        )
        report["tokens"] = sum(len(document.ids) for document in documents)
        held = asked.examples(list(_turns(ctx, "val")))
        report["val_loss"] = lm.mean_loss(loaded.model, held, max_tokens=8192) if held else None
    load.save(loaded, ctx.out)
    _write(ctx.out / REPORT, report)
    return {"tokens_per_s": (report["tokens"] or 0) / keeper.seconds}


def _turns(ctx: Context[Knobs], side: Literal["train", "val"]) -> "Iterator[Turn]":
    """Solutions to read: of the data where it is given (again and again), else of the built-in world."""
    from posttrain.curate import worlds
    from posttrain.data.records import Problem
    from posttrain.data.rows import read
    from posttrain.train import material

    if ctx.inputs("data"):
        read_all = (problem for source in ctx.inputs("data") for problem in read(source.file(f"{side}.jsonl"), Problem))
        given = [problem for problem in read_all if material.turns([problem])]
        if side == "train" and not given:
            raise Mismatch(
                "no row has a verified solution to pre-train on",
                where=", ".join(source.node for source in ctx.inputs("data")),
            )
        problems = material.again(given, seed=ctx.seed) if side == "train" else iter(given)
    elif side == "train":
        problems = worlds.stream_train(ctx.seed)
    else:
        problems = chain.from_iterable(worlds.draw(d, "val", VAL_PROBLEMS, ctx.seed) for d in worlds.DOMAINS)
    return material.one_each(problems, seed=ctx.seed)


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _parameters(folder: Path) -> Metric:
    """How many the config says; of a config that cannot be used gate `sound` has more to say."""
    from math import prod

    from posttrain.models.config import parse, read_config

    try:
        shapes = parse(read_config(folder)).shapes()
    except UsageError as error:
        return Metric(None, error.what)
    return Metric(sum(map(prod, shapes.values())))


def measure(artifact: Artifact, knobs: Knobs) -> Mapping[str, Metric]:
    """Metrics from the folder: its soundness, its size, and what pre-training left in `base.json`."""
    from posttrain.models.sound import soundness

    told = json.loads(artifact.file(REPORT).read_text(encoding="utf-8"))
    found = {
        "damages": soundness(artifact.path),
        "parameters": _parameters(artifact.path),
        "tokens": Metric(told["tokens"], unit="tokens"),
    }
    for name in ("loss", "val_loss"):
        value = told[name]
        found[name] = Metric(None, "not pre-trained here") if value is None else Metric(value, unit="nats")
    return found

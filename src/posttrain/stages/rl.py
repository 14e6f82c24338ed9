"""Reinforcement learning from verified answers: rollouts, MGPO-weighted group advantage, clipped surrogate."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from posttrain.spec.errors import Mismatch, UsageError
from posttrain.spec.gate import Gate, Metrics
from posttrain.spec.knobs import File
from posttrain.spec.knobs import Knobs as BaseKnobs
from posttrain.spec.stage import Artifact, Context, Estimate, Foreseen, Outcome, Role
from posttrain.train.rl import choices

if TYPE_CHECKING:
    from posttrain.data.records import Problem
    from posttrain.graders.base import Grader
    from posttrain.graders.combine import Terms
    from posttrain.graders.registry import Grading
    from posttrain.models.decoder import Decoder
    from posttrain.models.load import Loaded
    from posttrain.models.size import Size
    from posttrain.train.rl.journal import Journal
    from posttrain.train.rl.learn import Learner, Method

VERSION = 1
MAKES = "model"
ROLES = {
    "model": Role(("model",), "the model to train; its own start is the reference unless one is given"),
    "data": Role(("data",), "problems with golds: train is drawn from, val is watched", many=True, optional=True),
    "reference": Role(("model",), "a fixed model to stay near, instead of the stage's own start", optional=True),
}


class Knobs(BaseKnobs):
    """What decides a stage of reinforcement learning."""

    domains: tuple[str, ...] = ()
    """Domains that prompts are drawn from, equally often; empty: every domain of the data."""
    train: File | None = None
    """A JSONL file of problems to draw from, instead of split train of the role data."""
    val: File | None = None
    """A JSONL file of problems to validate on, instead of split val of the role data."""
    steps: PositiveInt = 100
    """Batches of rollouts."""
    prompts: PositiveInt = 16
    """Prompts per step."""
    group: PositiveInt = 8
    """Responses per prompt, G."""
    max_seq_length: int = Field(4096, ge=2)
    """Tokens of prompt and response together; prompts have `max_prompt_length` of them, responses the rest."""
    max_prompt_length: PositiveInt | None = None
    """Longer prompts are dropped and counted; none: a quarter of `max_seq_length`."""
    lr: NonNegativeFloat = 1e-6
    """Highest learning rate (AdamW)."""
    min_lr: NonNegativeFloat = 0.0
    """Where a falling schedule ends."""
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    """How the rate goes after warm-up."""
    warmup: float = Field(0.0, ge=0, lt=1)
    """Share of the steps over which the rate rises."""
    clip: PositiveFloat = 1.0
    """Largest gradient norm that reaches the optimiser."""
    loss: Literal["mgpo", "grpo", "token_mean", "constant_length"] = "mgpo"
    """Means: over responses of the mean over tokens (`grpo`: without the MGPO weight); over tokens; over N · cap."""
    epsilon: float = Field(0.2, gt=0, lt=1)
    """The ratio of policies is clipped to 1 - ε and 1 + ε."""
    epsilon_high: PositiveFloat | None = None
    """Another ε for the upper bound."""
    sharpness: NonNegativeFloat = 4.0
    """λ of the MGPO weight exp(-λ·D(p)) on the advantage; 0 is GRPO."""
    ddof: Literal[0, 1] = 0
    """Degrees of freedom taken off the group's deviation."""
    std: bool = True
    """Divide the advantage by the group's deviation."""
    shaping: choices.Shaping = choices.Unshaped()
    """What right answers exchange among themselves."""
    reward: choices.Reward = choices.Correct()
    """What the reward holds beside right or wrong; p and every accuracy stay on right or wrong alone."""
    reads: Literal["boxed", "anywhere"] = "boxed"
    """Where a mathematical answer may stand: in the last box, or also behind `####`, "the answer is", or alone."""
    tolerance: float = Field(0.0, ge=0, lt=1)
    """How far a number may lie from the gold, as a share of it."""
    prefilter: choices.Prefilter = choices.Off()
    """Which prompts are left out before the first step."""
    zero_variance: choices.ZeroVariance = choices.Drop()
    """What happens to a group whose advantages are all 0."""
    updates_per_rollout: PositiveInt = 1
    """Optimiser steps per batch of rollouts."""
    overlong: choices.Overlong = choices.Zero()
    """What a response that reaches the cap is worth."""
    reference: choices.Reference = choices.Copy()
    """What the policy is pulled towards: its own start, or the role `reference`."""
    temperature: PositiveFloat = 1.0
    """Of the rollouts and of the loss alike; validation uses it too."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Only 1: the ratio of policies is over the whole vocabulary."""
    top_k: int = Field(0, ge=0)
    """Only 0: as `top_p`."""
    micro_batch_tokens: PositiveInt = 8192
    """Tokens computed at once, padding included; memory depends on it."""
    eval_every: PositiveInt = 50
    """Steps between validations; one comes before the first step and one after the last."""
    eval_samples: PositiveInt = 4
    """Answers to each validation problem."""
    select: Literal["last", "best_val"] = "last"
    """Which weights are the result; of equally good validations the earliest."""
    keep_rollouts: float = Field(0.02, ge=0, le=1)
    """Share of the groups whose samples are written to `rollouts.jsonl.gz`."""

    @property
    def prompt_length(self) -> int:
        """Tokens that a prompt may have."""
        return self.max_prompt_length or self.max_seq_length // 4

    @property
    def cap(self) -> int:
        """Tokens that a response may have."""
        return self.max_seq_length - self.prompt_length


def gates(knobs: Knobs, roles: frozenset[str]) -> dict[str, Gate]:
    """The gates of the kind; `anchored` where the reference is the stage's own start."""
    anchored = isinstance(knobs.reference, choices.Copy) and "reference" not in roles
    return {
        "sound": Gate(metric="damages", equals=Decimal(0)),
        "no_worse": Gate(metric="val_gain", at_least=Decimal("-0.01"), decide="interval"),
        "same_numbers": Gate(metric="logprob_gap", at_most=Decimal("1e-4")),
        "alive": Gate(metric="zero_variance", at_most=Decimal("0.9")),
        "in_window": Gate(metric="truncated", at_most=Decimal("0.3")),
        "anchored": Gate(metric="kl_start", at_most=Decimal("1e-5"), off=not anchored),
    }


GATES = gates


def check(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> tuple[str, ...]:
    """A nucleus in rollouts, no room for a response, no problems, a domain that no input has."""
    from posttrain.models import foresee

    data = inputs.get("data", ())
    given = {source.axes.get("domain") or source.knobs.get("domain") for source in data}
    known = {str(domain) for domain in given} if None not in given and not knobs.train else set(knobs.domains)
    missing = [domain for domain in knobs.domains if domain not in known]
    long = foresee.too_long(knobs.max_seq_length, inputs.get("model", ()))
    wrong = {
        f"top_p = {knobs.top_p:g} and top_k = {knobs.top_k}: rollouts take no nucleus, only top_p = 1 and top_k = 0, "
        "for the ratio of policies is over the whole vocabulary": knobs.top_p < 1 or knobs.top_k > 0,
        long: bool(long),
        f"max_prompt_length = {knobs.prompt_length} leaves no token of max_seq_length = {knobs.max_seq_length}"
        " for a response": knobs.cap < 1,
        "inputs.data: there is nothing to train on; give it, or the knob train": not data and not knobs.train,
        f"domains: {', '.join(missing)} is in none of the data, which has {', '.join(sorted(known)) or 'none'}": bool(
            data and missing
        ),
        "group = 1 has no group to compare with: every advantage is 0": knobs.group == 1,
        (unsound := _unsound(knobs)): bool(unsound),
    }
    return tuple(says for says, is_so in wrong.items() if is_so)


def _unsound(knobs: Knobs) -> str:
    """What is wrong with the terms of the reward; empty where they are sound."""
    from posttrain.graders.language import languages

    try:
        terms = _terms(knobs).terms
    except Mismatch as error:
        return f"reward: {error.what}"
    codes = {str(term.arguments["code"]) for term in terms if term.measure == "spoken"}
    if codes and (strange := sorted(codes - languages())):
        known = ", ".join(sorted(languages()))
        return f"reward: spoken: {', '.join(strange)} is no language that can be told; known: {known}"
    return ""


def _terms(knobs: Knobs) -> "Terms":
    from posttrain.graders.combine import Term, Terms

    wishes = knobs.reward.terms if isinstance(knobs.reward, choices.Sum) else ()
    return Terms(tuple(Term(wish.type, wish.weight, wish.arguments) for wish in wishes))


def maths_grader(knobs: Knobs) -> "Grader":
    """The grader of mathematical answers that the knobs ask for."""
    from fractions import Fraction

    from posttrain.graders.answers import ANYWHERE, BOXED
    from posttrain.graders.maths import Maths

    return Maths(ANYWHERE if knobs.reads == "anywhere" else BOXED, Fraction(str(knobs.tolerance)))


def estimate(knobs: Knobs, inputs: Mapping[str, tuple[Foreseen, ...]]) -> Estimate:
    """Tokens at most, every rollout up to the cap; memory of training, sampling and the reference."""
    rollouts = knobs.steps * knobs.prompts * knobs.group
    remarks = [f"{rollouts} rollouts of at most {knobs.cap} tokens"]
    size = _size(inputs.get("model", ()))
    if size is None:
        return Estimate(tokens=rollouts * knobs.cap, remarks=tuple(remarks))
    memory = size.training_bytes(knobs.micro_batch_tokens, window=knobs.max_seq_length)
    memory += size.cache_bytes(knobs.max_seq_length * min(256, knobs.prompts * knobs.group))
    if isinstance(knobs.reference, choices.Copy):
        held = size.weight_bytes()
        memory += held
        remarks.append(
            f"the reference is a second copy of the weights, {held / 2**20:.0f} MiB; reference = none has none"
        )
    return Estimate(tokens=rollouts * knobs.cap, memory=memory, remarks=tuple(remarks))


def _size(models: tuple[Foreseen, ...]) -> "Size | None":
    """The size of the model to come, where it is known."""
    from posttrain.models import foresee
    from posttrain.models.size import size_of

    config = foresee.config_of(models)
    return None if config is None else size_of(config)


def run(ctx: Context[Knobs]) -> Outcome:
    """Open model, problems and reference; learn; write the weights and what tells of their making."""
    from posttrain.models.load import load, save
    from posttrain.runners.judging import grading

    knobs = ctx.knobs
    loaded = load(ctx.input("model").path, device=ctx.resources.device, compute=ctx.resources.compute)
    positions = loaded.model.config.max_positions
    if knobs.max_seq_length > positions:
        raise UsageError(
            f"max_seq_length = {knobs.max_seq_length} is beyond the {positions} positions of the model",
            where="rl.max_seq_length",
            remedy="Shorten the window, or use a base with more positions.",
        )
    with grading(ctx, maths=maths_grader(knobs)) as judge:
        learner = _learner(ctx, loaded, judge)
        chosen = learner.learn()
    if chosen < knobs.steps:
        ctx.note("select", f"the weights are those of step {chosen}, the best validation")
    save(loaded, ctx.out)
    learner.write(ctx.out)
    made = Artifact(node="", type=MAKES, path=ctx.out, digest="")
    return Outcome(measure(made, knobs), learner.clock.measured())


def _learner(ctx: Context[Knobs], loaded: "Loaded", grading: "Grading") -> "Learner":
    from posttrain.train.rl.journal import Journal
    from posttrain.train.rl.learn import Hooks, Learner
    from posttrain.train.rl.prompts import Prompts
    from posttrain.train.state import Keeper

    knobs = ctx.knobs
    journal = Journal(ctx.scratch / "journal")
    method = _method(ctx, _problems(ctx, loaded, "val", grading), grading)
    train = _sifted(ctx, loaded, _problems(ctx, loaded, "train", grading), method, journal)
    domains = knobs.domains or tuple(sorted({p.domain for p in train}))
    prompts = Prompts(train, domains=domains, seed=ctx.seed)
    if len(prompts) < knobs.prompts:
        raise Mismatch(
            f"{len(prompts)} problems are left, and one step asks {knobs.prompts}",
            where="rl data",
            remedy="Give more problems, a longer max_prompt_length, or fewer prompts per step.",
        )
    hooks = Hooks(
        emit=ctx.emit,
        progress=ctx.progress,
        spend=lambda tokens: ctx.spend(tokens=tokens),
        journal=journal,
        keeper=Keeper(ctx.scratch / "state"),
    )
    return Learner(loaded, prompts, method, hooks, reference=_reference(ctx, loaded))


def _problems(
    ctx: Context[Knobs], loaded: "Loaded", split: Literal["train", "val"], grading: "Grading"
) -> "tuple[Problem, ...]":
    """The problems of a split, each once, without those that cannot be asked or graded; what is dropped is counted."""
    from posttrain.train.rl import prompts

    given, most = ctx.knobs, ctx.knobs.prompt_length
    own = given.train if split == "train" else given.val
    files = [own] if own else [source.file(f"{split}.jsonl") for source in ctx.inputs("data")]
    asked = prompts.read(files, given.domains)
    found = prompts.screen(loaded, asked, grading=grading, max_prompt_length=most)
    for text, count in (
        (f"prompts over {most} tokens", found.too_long),
        ("golds that fail their own grader", found.bad_golds),
        ("code problems without tests", found.untested),
    ):
        if count:
            ctx.note("dropped", f"{split}: {text}", count)
    return found.kept


def _sifted(
    ctx: Context[Knobs], loaded: "Loaded", problems: "Sequence[Problem]", method: "Method", journal: "Journal"
) -> "Sequence[Problem]":
    """The problems that the prefilter leaves."""
    from posttrain.train.rl.prompts import sift

    wanted = ctx.knobs.prefilter
    if not isinstance(wanted, choices.Samples):
        return problems
    drawing, how = method.drawing, {"samples": wanted.samples, "seed": ctx.seed}
    kept = sift(loaded, problems, drawing.sampling, **how, journal=journal, grading=drawing.grading)
    ctx.note("dropped", f"train: always or never solved in {wanted.samples} samples", len(problems) - len(kept))
    return kept


def _reference(ctx: Context[Knobs], loaded: "Loaded") -> "Decoder | None":
    from copy import deepcopy

    from posttrain.models.load import load

    given = ctx.inputs("reference")
    if not isinstance(ctx.knobs.reference, choices.Copy):
        return None
    fixed = deepcopy(loaded.model)
    if given:
        fixed = load(given[0].path, device=ctx.resources.device, compute=ctx.resources.compute).model
        if fixed.config.vocab != loaded.model.config.vocab:
            raise Mismatch("model and reference have different vocabularies", where="rl.inputs.reference")
    return fixed.requires_grad_(requires_grad=False)


def _method(ctx: Context[Knobs], val: "Sequence[Problem]", grading: "Grading") -> "Method":
    from posttrain.models.sample import Sampling
    from posttrain.train.loop import Course
    from posttrain.train.rl import collect, learn, objective, validate, weigh

    knobs = ctx.knobs
    sampling = Sampling(temperature=knobs.temperature, max_new_tokens=knobs.cap)
    return learn.Method(
        drawing=collect.Drawing(
            prompts=knobs.prompts,
            group=knobs.group,
            sampling=sampling,
            zero_variance=knobs.zero_variance,
            seed=ctx.seed,
            grading=grading,
        ),
        weighing=weigh.Weighing(
            sharpness=0.0 if knobs.loss == "grpo" else knobs.sharpness,
            cap=knobs.cap,
            ddof=knobs.ddof,
            std=knobs.std,
            shaping=knobs.shaping,
            overlong=knobs.overlong,
            terms=_terms(knobs),
        ),
        objective=objective.Objective(
            form=knobs.loss,
            epsilon=knobs.epsilon,
            epsilon_high=knobs.epsilon_high,
            temperature=knobs.temperature,
            kl=knobs.reference if isinstance(knobs.reference, choices.Copy) else None,
        ),
        course=Course(
            steps=knobs.steps * knobs.updates_per_rollout,
            lr=knobs.lr,
            min_lr=knobs.min_lr,
            warmup=knobs.warmup,
            shape=knobs.schedule,
            clip=knobs.clip,
        ),
        updates=knobs.updates_per_rollout,
        max_tokens=knobs.micro_batch_tokens,
        exam=validate.Exam(tuple(val), knobs.eval_samples, sampling, ctx.seed, grading) if val else None,
        eval_every=knobs.eval_every,
        select_best=knobs.select == "best_val",
        keep_rollouts=knobs.keep_rollouts,
    )


def measure(artifact: Artifact, knobs: Knobs) -> Metrics:
    """Every metric from the rows of steps and validations, and the deep check of the folder."""
    from posttrain.data import rows
    from posttrain.data.records import RlStep, Score
    from posttrain.models.sound import soundness
    from posttrain.train.rl import learn, tell

    steps = rows.read_all(artifact.file(learn.STEPS), RlStep)
    validations = rows.read(artifact.file(learn.VALIDATION), Score)
    found = tell.metrics(steps, validations, select_best=knobs.select == "best_val")
    return found | {"damages": soundness(artifact.path)}

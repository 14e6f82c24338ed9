"""One step's rollouts: which problems are asked, what was answered, what it is worth, which of it is trained."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor

from posttrain.algos import policy
from posttrain.data.records import Rollout
from posttrain.graders.code.signatures import signatures
from posttrain.models.load import Loaded
from posttrain.models.sample import Sampling
from posttrain.runners.rollout import Grades, Sampled, rollout, stream
from posttrain.train.rl.choices import Keep, Resample, ZeroVariance
from posttrain.train.rl.pieces import Response
from posttrain.train.rl.prompts import Prompts
from posttrain.train.rl.weigh import Weighed


@dataclass(frozen=True)
class Drawing:
    """What a step asks, and which of it is trained on."""

    prompts: int
    group: int
    sampling: Sampling
    zero_variance: ZeroVariance
    seed: int
    grading: Grades


@dataclass(frozen=True, eq=False)
class Batch:
    """The rollouts of a step, weighed."""

    groups: tuple[Sampled, ...]
    weighed: Weighed
    used_P: Bool[Tensor, " P"]
    """True for the groups that count in the loss."""
    cursor: int
    """The draw that the next step starts from."""

    @property
    def counts(self) -> dict[str, int]:
        """Groups drawn per domain."""
        return dict(sorted(Counter(g.problem.domain for g in self.groups).items()))

    @property
    def outcomes(self) -> dict[str, int]:
        """Responses by how their grade came about."""
        return dict(sorted(Counter(a.grade.outcome for g in self.groups for a in g.samples).items()))

    @property
    def signs(self) -> dict[str, int]:
        """Programs that bear a mark of working on their grader, by mark."""
        coded = [a.grade for g in self.groups if g.problem.answer_type == "code" for a in g.samples]
        found = Counter(mark for grade in coded if grade.answer for mark in signatures(grade.answer, grade.outcome))
        return dict(sorted(found.items()))

    @property
    def parts(self) -> dict[str, float]:
        """Mean of each term of the reward over the responses that it measured."""
        found: dict[str, list[float]] = defaultdict(list)
        for measured in (each for row in self.weighed.parts for each in row):
            for name, value in measured.items():
                found[name].append(value)
        return {name: sum(values) / len(values) for name, values in found.items()}

    def responses(self, *, form: policy.Form, cap: int, all_used: bool) -> list[Response]:
        """What the loss reads, each response with its share.

        A response with advantage 0 counts in the shares; it is read only with `all_used` (a KL acts on it too).
        """
        counted_PG = self.used_P[:, None] & self.weighed.in_loss_PG
        lengths_N = torch.where(counted_PG, self.weighed.length_PG, 0).flatten()
        shares = policy.token_share(lengths_N, form=form, cap=cap).tolist()
        read = (counted_PG if all_used else counted_PG & (self.weighed.advantage_PG != 0)).flatten().tolist()
        advantages = self.weighed.advantage_PG.flatten().tolist()
        answers = [(g.prompt_ids, answer) for g in self.groups for answer in g.samples]
        return [
            Response(prompt_ids, answer.ids, answer.logprobs, advantages[i], shares[i])
            for i, (prompt_ids, answer) in enumerate(answers)
            if read[i]
        ]

    def rows(self, step: int, *, share: float, seed: int) -> Iterator[Rollout]:
        """The samples of a share of the groups, chosen by a digest of step and problem, as rows."""
        w = self.weighed
        for number, group in enumerate(self.groups):
            if stream(seed, "kept", step, group.problem.id) >= share * 2**63:
                continue
            for sample, answer in enumerate(group.samples):
                yield Rollout(
                    step=step,
                    id=group.problem.id,
                    domain=group.problem.domain,
                    sample=sample,
                    prompt_ids=group.prompt_ids,
                    ids=answer.ids,
                    logprobs=answer.logprobs,
                    text=answer.text,
                    finish=answer.finish,
                    outcome=answer.grade.outcome,
                    reward=w.reward_PG[number, sample].item() if answer.grade.decided else None,
                    p=w.p_P[number].item(),
                    weight=w.weight_P[number].item(),
                    advantage=w.advantage_PG[number, sample].item(),
                    parts=dict(w.parts[number][sample]),
                )


def collect(
    loaded: Loaded,
    prompts: Prompts,
    drawing: Drawing,
    *,
    step: int,
    cursor: int,
    weigher: Callable[[Sequence[Sampled]], Weighed],
) -> Batch:
    """Draw from `cursor` on, sample and weigh; what teaches nothing is replaced or left out as `drawing` says."""
    groups: list[Sampled] = []
    rounds = drawing.zero_variance.max if isinstance(drawing.zero_variance, Resample) else 0
    wanted = drawing.prompts
    while True:
        taken = prompts.take(cursor, wanted, without={g.problem.id for g in groups})
        cursor = taken.cursor
        seed = stream(drawing.seed, "rollout", step)
        groups += rollout(
            loaded, taken.problems, drawing.sampling, samples=drawing.group, seed=seed, grading=drawing.grading
        )
        weighed = weigher(groups)
        wanted = drawing.prompts - int(weighed.teaches_P.sum())
        if rounds == 0 or wanted <= 0 or not taken.problems:
            break
        rounds -= 1
    used_P = torch.ones_like(weighed.teaches_P) if isinstance(drawing.zero_variance, Keep) else weighed.teaches_P
    return Batch(tuple(groups), weighed, used_P, cursor)

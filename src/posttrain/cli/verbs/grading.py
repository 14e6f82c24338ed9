"""The verb that shows what the maths grader says: of one answer, or of every labelled pair."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from posttrain.algos.stats import Interval
    from posttrain.graders.maths.audit import Audit, FirstSight


def add(app: typer.Typer) -> None:
    """Give the command line its verb `grade`."""
    app.command()(grade)


def grade(
    gold: Annotated[str | None, typer.Argument(help="The right answer.")] = None,
    answer: Annotated[str | None, typer.Argument(help="An answer to it, bare.")] = None,
    *,
    audit: Annotated[
        bool, typer.Option("--audit", help="Grade every labelled pair and print how often the grader is wrong.")
    ] = False,
) -> None:
    """Grade one answer in maths, or audit the grader."""
    from posttrain.graders import maths
    from posttrain.spec.errors import UsageError

    if audit and gold is None:
        from posttrain.graders.maths import audit as labelled

        typer.echo(told(labelled.audit(maths.grade), labelled.first_sight()))
    elif gold is not None and answer is not None and not audit:
        typer.echo(maths.grade.judge(gold, answer))
    else:
        raise UsageError("give a gold and an answer, or --audit alone.", remedy="posttrain grade '1/2' '0.5'")


def told(found: "Audit", first: "FirstSight") -> str:
    """The rates of an audit with their intervals, then every mistake."""
    own = [pair for pair in found.golds if pair.outcome == "right"]
    lines = [
        f"{len(found.told)} labelled pairs, {len(found.golds)} golds",
        f"right answers refused   {_rate(found.false_negatives)}",
        f"wrong answers accepted  {_rate(found.false_positives)}",
        f"the last group of pairs, at first sight: refused {_rate(first.false_negatives)},"
        f" accepted {_rate(first.false_positives)}",
        f"undecided at a limit    {found.undecided}, none of them counted as a mistake",
        f"golds that grade themselves right  {len(own)} of {len(found.golds)}",
    ]
    for mistake in found.mistakes:
        pair = mistake.pair
        label = "right" if pair.right else "wrong"
        lines.append(f"  {pair.group}: {pair.answer!r} beside {pair.gold!r} is {label}, graded {mistake.outcome}")
    lines += [f"  undecided: {told.pair.answer!r} beside {told.pair.gold!r}" for told in found.told if told.undecided]
    return "\n".join(lines)


def _rate(interval: "Interval") -> str:
    count = round(interval.value * interval.n)
    return f"{interval.value:.2%} ({count} of {interval.n}; 95 % {interval.low:.2%} to {interval.high:.2%})"

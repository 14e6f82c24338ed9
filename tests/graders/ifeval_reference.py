"""Asks another implementation of IFEval for its verdicts and writes them to ifeval_reference.json.

    pip install nltk langdetect immutabledict packaging; pip download --no-deps lm-eval==0.4.13; unzip it somewhere
    python tests/graders/ifeval_reference.py THAT_FOLDER [PROMPTS.jsonl]

The implementation is lm-evaluation-harness 0.4.13, `lm_eval/tasks/ifeval`, Apache-2.0. Its two needs of downloaded data
are met without: sentences by nltk's untrained Punkt tokenizer, words by its Treebank tokenizer. Its language detector
is seeded.
"""

import json
import random
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
EXEMPLARS = HERE.parents[1] / "src/posttrain/graders/instructions/exemplars.toml"
PIECES = (
    "the cat", "Dog", "a,", " ", "\n", "\n\n", "***", "******", "*", "**", "- x", "* y", "\n* z", "\n- w", "<<t>>",
    "<< >>", "[a]", "[b", "P.S. it", "P.P.S. it", "SECTION 1", "SECTION 2", "section 3", "\"", "'", "NASA", "I",
    "one.", "Two!", "three?", "```json\n", "```", "{\"a\": 1}", "My answer is yes.", "My answer is maybe.",
    "Bye now.", "Write a poem.", "cat", "CATS", "no way", "#", "A b A", "The dog is in the house.",
    "das ist ein Hund", "ALL OF IT IS HERE", "3.5", "\t", "don't", "_x_", "é", "1. a", "two",
)  # fmt: skip


def texts(draw: random.Random, exemplars: list[str]) -> list[str]:
    """Texts at the edges: pieces in any order, and exemplars damaged in one place."""
    found = ["".join(draw.choices(PIECES, k=draw.randint(1, 9))) for _ in range(24)]
    for text in exemplars:
        at = draw.randrange(len(text) + 1)
        found += [text, text[:at] + draw.choice(PIECES) + text[at:], text[:at] + text[at + 1 :]]
    return [text for text in dict.fromkeys(found) if text.strip()]


def variants(kind: str, arguments: dict, draw: random.Random) -> dict:
    """The exemplars' arguments, now and then with another number or relation."""
    changed = dict(arguments)
    for name, value in arguments.items():
        if isinstance(value, int) and name != "nth_paragraph":
            changed[name] = max(1, value + draw.choice((0, 0, -1, 1)))
        if name.endswith("relation"):
            changed[name] = draw.choice(("at least", "less than"))
    if kind == "detectable_content:postscript":
        changed["postscript_marker"] = draw.choice(("P.S.", "P.P.S"))
    return changed


def oracle(folder: str):
    """Its verdicts: strict and loose."""
    sys.path.insert(0, folder)
    import langdetect
    import nltk
    from lm_eval.tasks.ifeval import instructions_util, utils
    from nltk.tokenize.destructive import NLTKWordTokenizer
    from nltk.tokenize.punkt import PunktSentenceTokenizer

    random.seed(0)
    langdetect.DetectorFactory.seed = 0
    instructions_util._get_sentence_tokenizer = PunktSentenceTokenizer
    nltk.word_tokenize = NLTKWordTokenizer().tokenize

    def verdict(kind: str, arguments: dict, text: str) -> tuple[bool, bool]:
        asked = utils.InputExample(0, [kind], "", [arguments])
        strict = utils.test_instruction_following_strict(asked, text).follow_all_instructions
        return bool(strict), bool(utils.test_instruction_following_loose(asked, text).follow_all_instructions)

    return verdict


def rows(verdict, prompts: Path | None) -> list[list]:
    """kind, arguments, text, strict, loose; then of public prompts, taken as responses: key, place, strict, loose."""
    draw, found = random.Random(4), []
    exemplars = tomllib.loads(EXEMPLARS.read_text(encoding="utf-8"))
    for kind, entry in exemplars.items():
        if not kind.startswith("own:"):
            for text in texts(draw, entry["pass"] + entry["fail"]):
                arguments = variants(kind, entry["arguments"], draw)
                found.append([kind, arguments, text, *map(int, verdict(kind, arguments, text))])
    for line in prompts.read_text(encoding="utf-8").splitlines() if prompts else ():
        row = json.loads(line)
        for place, (kind, given) in enumerate(zip(row["instruction_id_list"], row["kwargs"], strict=True)):
            arguments = {name: value for name, value in given.items() if value is not None}
            found.append([row["key"], place, *map(int, verdict(kind, arguments, row["prompt"]))])
    return found


if __name__ == "__main__":
    asked = rows(oracle(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    (HERE / "ifeval_reference.json").write_text(
        "[\n" + ",\n".join(json.dumps(row, ensure_ascii=False) for row in asked) + "\n]\n", encoding="utf-8"
    )

"""Tokenizers: one made on the spot from a text, and the checks every tokenizer of a model folder passes.

The made one is byte-level: any text comes back exactly. Digits and symbols are single characters, frequent words (with
the space before them) are single tokens, all other text is its bytes.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer
from tokenizers.decoders import ByteLevel as BytesToText
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Sequence, Split
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from posttrain.models.presets import Vocabulary
from posttrain.spec.errors import UsageError

PAD, END = "<|pad|>", "<|end|>"
"""The special tokens of a tokenizer made on the spot: ids 0 and 1."""

VOLATILE = ("is_local", "local_files_only", "name_or_path", "transformers_version")
"""Keys of tokenizer_config.json that say how a tokenizer was loaded, not what it is."""


def train_tokenizer(texts: Iterable[str], spec: Vocabulary) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer whose single tokens are the bytes, the literals and the text's most frequent words.

    Equal texts give equal bytes on disk: words are taken by falling count, then by the alphabet.
    """
    pattern = "|".join([*(re.escape(word) for word in spec.literals), " ?[A-Za-z]+", r"[\s\S]"])
    find = re.compile(pattern).findall
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(find(text))
    alphabet = sorted(ByteLevel.alphabet())
    words = [word for word, count in counts.items() if len(word) > 1 and count >= spec.min_count]
    words = [word for word in words if word not in spec.literals]
    words.sort(key=lambda word: (-counts[word], word))
    known = [PAD, END, *alphabet, *(word.replace(" ", "Ġ") for word in (*spec.literals, *words))][: spec.size]
    vocabulary = {token: index for index, token in enumerate(known)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[], ignore_merges=True))
    bytes_ = ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = Sequence([Split(Regex(pattern), "isolated"), bytes_])  # pyright: ignore
    tokenizer.decoder = BytesToText()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer of a model folder; UsageError where there is none (transformers would return an empty one)."""
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        raise UsageError("holds no tokenizer.", where=str(folder), remedy="A model needs its tokenizer.json.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        known = type(error) is Exception or isinstance(error, (OSError, ValueError, KeyError, TypeError))
        if not known:  # tokenizers raises plain Exception for a file of a version it does not know
            raise
        raise UsageError(f"the tokenizer cannot be read: {error}.", where=str(folder)) from None
    if len(tokenizer) <= 1:
        raise UsageError(f"the tokenizer has {len(tokenizer)} entries.", where=str(folder))
    return tokenizer


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Save a tokenizer as stock files that do not depend on where it was loaded from."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = {key: value for key, value in json.loads(path.read_text("utf-8")).items() if key not in VOLATILE}
    if config.get("tokenizer_class") == "TokenizersBackend":
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")

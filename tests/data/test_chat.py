import pytest
from pydantic import ValidationError
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from posttrain.data import chat
from posttrain.data.chat import DEFAULT_PROMPTING, Prompting, Turn
from posttrain.spec.errors import UsageError

LETTERS = ["<eos>", "<bos>", "\n", *"abcdefghijklmnopqrstuvwxyz0123456789+=?{}\\ <>_:"]
CHATTY = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}<assistant>{% if enable_thinking is defined and not enable_thinking %}<off>{% endif %}"  # noqa: E501


def letters(*, start: bool = False, end: bool = False) -> PreTrainedTokenizerFast:
    """A real tokenizer of single characters; `start` and `end` make it add special tokens, as some bases do."""
    inner = Tokenizer(WordLevel({letter: i for i, letter in enumerate(LETTERS)}, unk_token="?"))
    inner.pre_tokenizer = Split("", "isolated")
    if start or end:
        single = " ".join(["<bos>"] * start + ["$A"] + ["<eos>"] * end)
        inner.post_processor = TemplateProcessing(single=single, special_tokens=[("<bos>", 1), ("<eos>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>", bos_token="<bos>" if start else None)


def test_the_default_is_the_prompt_and_a_new_line() -> None:
    """No chat template is applied silently, even where the tokenizer has one."""
    tokenizer = letters()
    tokenizer.chat_template = CHATTY
    assert chat.prompt_text("1+1=?", "maths", DEFAULT_PROMPTING, tokenizer) == "1+1=?\n"


def test_only_response_and_eos_are_trained() -> None:
    """S-B10: prompt and delimiter masked, the response and EOS trained; prompt ids are those of a rollout."""
    tokenizer = letters()
    made = chat.example(tokenizer, "1+1=?", "2", "maths", DEFAULT_PROMPTING, key="k")
    asked = chat.prompt_ids(tokenizer, "1+1=?", "maths", DEFAULT_PROMPTING)
    assert made.ids == (*asked, LETTERS.index("2"), tokenizer.eos_token_id)
    assert made.mask == (False,) * len(asked) + (True, True)
    assert made.key == "k"


def test_pre_training_text_trains_its_prompt_too() -> None:
    (made,) = chat.examples(letters(), [Turn("1", "2")], DEFAULT_PROMPTING, prompt_trained=True)
    assert made.mask == (True,) * 4


def test_a_base_that_starts_texts_keeps_its_start_and_gets_no_early_end() -> None:
    tokenizer = letters(start=True, end=True)
    made = chat.example(tokenizer, "a", "b", "maths", DEFAULT_PROMPTING)
    assert [LETTERS[i] for i in made.ids] == ["<bos>", "a", "\n", "b", "<eos>"]


def test_a_prompt_with_braces_goes_in_as_it_is() -> None:
    assert chat.prompt_text("{a} {prompt} \\frac{1}{2}", "maths", Prompting(templates={"maths": "Q: {prompt}"})) == (
        "Q: {a} {prompt} \\frac{1}{2}"
    )


def test_chat_wraps_the_template_once_and_thinking_reaches_it() -> None:
    tokenizer = letters()
    tokenizer.chat_template = CHATTY
    asking = Prompting(templates={"maths": "{prompt}"}, chat=True)
    assert chat.prompt_text("a", "maths", asking, tokenizer) == "<user>a<assistant>"
    quiet = asking.model_copy(update={"thinking": "off"})
    assert chat.prompt_text("a", "maths", quiet, tokenizer) == "<user>a<assistant><off>"


def test_what_cannot_be_asked_is_said() -> None:
    with pytest.raises(UsageError, match="no chat template"):
        chat.prompt_text("a", "maths", Prompting(chat=True), letters())
    with pytest.raises(UsageError, match="no prompt template for code"):
        chat.prompt_text("a", "code", Prompting(templates={"maths": "{prompt}"}))
    for template in ("no slot", "{prompt}{prompt}"):
        with pytest.raises(ValidationError, match="once"):
            Prompting(templates={"maths": template})
    with pytest.raises(ValidationError):
        Prompting.model_validate({"suffix": "x"})

"""The decoder against transformers, and its hand-written backward passes against autograd."""

import random

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, Qwen2Config, Qwen3Config

from posttrain.models.config import parse
from posttrain.models.decoder import Decoder
from posttrain.models.kernels import attention
from posttrain.models.kernels.elementwise import gated, normalise
from posttrain.models.kernels.rope import paired, rotations
from posttrain.spec.errors import UsageError

CLASSES = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}
ROPES = (
    {"rope_type": "default", "rope_theta": 5e5},
    {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.5},
    {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 3.0},
    {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 16},
    {
        "rope_type": "llama3",
        "rope_theta": 1e4,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24,
    },
)


def random_config(seed: int) -> PreTrainedConfig:
    """A small config; families and rope kinds take turns, everything else is drawn."""
    draw = random.Random(seed)
    family = list(CLASSES)[seed % 3]
    keys = draw.choice((1, 2, 3))
    fields = {
        "vocab_size": draw.randint(40, 90),
        "hidden_size": (dim := draw.choice((8, 16))) * (heads := keys * draw.choice((1, 2, 4))),
        "intermediate_size": draw.randint(20, 70),
        "num_hidden_layers": draw.randint(1, 3),
        "num_attention_heads": heads,
        "num_key_value_heads": keys,
        "max_position_embeddings": 32,
        "rms_norm_eps": draw.choice((1e-6, 1e-5)),
        "tie_word_embeddings": draw.random() < 0.5,
        "rope_parameters": dict(ROPES[seed // 3 % len(ROPES)]),
    }
    if family == "llama":
        fields |= {"attention_bias": draw.random() < 0.5, "mlp_bias": draw.random() < 0.5}
    if family == "qwen3":
        fields |= {"attention_bias": draw.random() < 0.5, "head_dim": draw.choice((8, 24))}
    elif family == "llama" and draw.random() < 0.5:
        fields["head_dim"] = 2 * dim
    return CLASSES[family](**fields)


def pair(config: PreTrainedConfig, seed: int = 0) -> tuple[torch.nn.Module, Decoder]:
    """transformers' model with random weights, biases and norms, and ours with the same ones."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        theirs = AutoModelForCausalLM.from_config(config, dtype=torch.float32, attn_implementation="eager").eval()
        for parameter in theirs.parameters():
            torch.nn.init.normal_(parameter, 1.0 if parameter.ndim == 1 else 0.0, 0.1)
    ours = Decoder(parse(config.to_dict()))
    assert not ours.load_state_dict(theirs.state_dict(), strict=False).missing_keys
    return theirs, ours


def tokens(config: PreTrainedConfig, rows: int, length: int, seed: int = 0) -> Tensor:
    return torch.randint(0, config.vocab_size, (rows, length), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(30))
def test_logits_equal_transformers(seed: int) -> None:
    """Issue 2 item 5: logits within 1e-5 of transformers on random Llama, Qwen2 and Qwen3 configurations."""
    config = random_config(seed)
    theirs, ours = pair(config, seed)
    length = 40 if config.rope_parameters["rope_type"] == "dynamic" else 29
    ids = tokens(config, 3, length, seed)
    with torch.no_grad():
        assert (theirs(ids).logits - ours(ids)).abs().max() <= 1e-5


@pytest.mark.parametrize("seed", range(6))
def test_both_forms_of_attention_agree(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    config = random_config(seed)
    _, ours = pair(config)
    ids = tokens(config, 2, 17)
    segments = torch.tensor([[1] * 9 + [2] * 8, [1] * 5 + [2] * 7 + [0] * 5])
    short = [ours(ids), ours(ids, segments=segments)]
    monkeypatch.setattr(attention, "SHORT", 0)
    for before, after in zip(short, [ours(ids), ours(ids, segments=segments)], strict=True):
        torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(6))
def test_gradients_equal_transformers(seed: int) -> None:
    config = random_config(seed)
    theirs, ours = pair(config)
    ids = tokens(config, 3, 21)
    for logits in (theirs(ids).logits, ours(ids)):
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    for name, parameter in ours.named_parameters():
        expected = theirs.get_parameter(name).grad
        assert expected is not None
        assert parameter.grad is not None
        torch.testing.assert_close(parameter.grad, expected, atol=2e-6, rtol=1e-4)


def test_packed_documents_do_not_see_each_other() -> None:
    """A row of several documents gives each the logits it has alone, with and without positions of its own."""
    config = random_config(2)
    _, ours = pair(config)
    documents = [tokens(config, 1, length, length) for length in (7, 12, 5)]
    alone = torch.cat([ours(ids)[0] for ids in documents])
    ids = torch.cat([*documents, torch.zeros(1, 4, dtype=torch.long)], 1)
    segments = torch.tensor([[1] * 7 + [2] * 12 + [3] * 5 + [0] * 4])
    positions = torch.tensor([[*range(7), *range(12), *range(5), *range(4)]])
    own = ours(ids, segments=segments, positions=positions)[0, :24]
    torch.testing.assert_close(own, alone, atol=5e-6, rtol=0)
    torch.testing.assert_close(ours(ids, segments=segments)[0, :24], alone, atol=2e-5, rtol=0)


def test_padding_content_changes_nothing() -> None:
    config = random_config(0)
    _, ours = pair(config)
    ids = tokens(config, 2, 12)
    other = ids.clone()
    other[:, 8:] = (other[:, 8:] + 1) % config.vocab_size
    assert torch.equal(ours(ids)[:, :8], ours(other)[:, :8])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
def test_attention_backward_is_the_derivative(scaled: bool, masked: bool) -> None:
    config = parse(random_config(5).to_dict())
    heads = attention.Heads(config.heads, config.kv_heads, config.head_dim, config.eps)
    draw = torch.Generator().manual_seed(1)
    width = (heads.queries + 2 * heads.keys) * heads.dim
    qkv = torch.randn(2, 5, width, dtype=torch.float64, generator=draw, requires_grad=True)
    scale = torch.rand(heads.queries + heads.keys, heads.dim, dtype=torch.float64, generator=draw, requires_grad=True)
    segments = torch.tensor([[1, 1, 2, 2, 2], [1, 1, 1, 1, 0]]) if masked else None
    mask = attention.additive(attention.visible(5, segments, qkv.device), torch.float64)
    turn = rotations(config, torch.arange(5)).to(torch.complex128)

    def run(x: Tensor, s: Tensor) -> Tensor:
        return attention.short(x, s if scaled else None, turn, mask, heads)

    assert torch.autograd.gradcheck(run, (qkv, scale), fast_mode=True)


def test_elementwise_backward_is_the_derivative() -> None:
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: normalise(v, 1e-6), (x,))
    assert torch.autograd.gradcheck(gated, (x,))


def test_bf16_compute_keeps_master_weights() -> None:
    """Parameters and gradients stay float32; logits differ from float32's by bf16 rounding only."""
    config = random_config(2)
    _, exact = pair(config)
    _, ours = pair(config)
    ours.compute = torch.bfloat16
    ids = tokens(config, 4, 20)
    logits = ours(ids)
    assert ours.hidden(ids).dtype == torch.bfloat16
    assert logits.dtype == torch.float32
    assert (logits - exact(ids)).abs().max() < 0.05 * exact(ids).std() + 0.05
    logits.square().mean().backward()
    exact(ids).square().mean().backward()
    for mine, reference in zip(ours.parameters(), exact.parameters(), strict=True):
        assert mine.dtype == torch.float32
        assert mine.grad is not None
        assert reference.grad is not None
        assert mine.grad.dtype == torch.float32
        cosine = torch.nn.functional.cosine_similarity(mine.grad.flatten(), reference.grad.flatten(), 0)
        assert cosine > 0.98


def test_the_head_runs_only_where_it_is_asked() -> None:
    config = random_config(1)
    _, ours = pair(config)
    ids = tokens(config, 2, 9)
    torch.testing.assert_close(ours.head(ours.hidden(ids)[:, -1]), ours(ids)[:, -1], atol=1e-6, rtol=1e-5)


def test_pairs_lie_side_by_side() -> None:
    assert paired(torch.arange(12), 6).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


def test_old_rope_keys_are_read_like_new_ones() -> None:
    new = random_config(11).to_dict() | {"rope_parameters": dict(ROPES[3])}
    old = {key: value for key, value in new.items() if key != "rope_parameters"}
    scaling = {"type" if key == "rope_type" else key: value for key, value in ROPES[3].items() if key != "rope_theta"}
    assert parse(old | {"rope_theta": 1e4, "rope_scaling": scaling}) == parse(new)
    plain = {"rope_parameters": {"rope_type": "default", "rope_theta": 7.0}}
    assert parse(old | {"rope_theta": 7.0, "rope_scaling": None}) == parse(old | plain)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"rope_parameters": {"rope_type": "longrope", "factor": 2.0}}, "longrope"),
        ({"model_type": "gpt2"}, "llama, qwen2, qwen3"),
        ({"use_sliding_window": True, "sliding_window": 16}, "sliding"),
        ({"layer_types": ["sliding_attention"]}, "sliding"),
        ({"hidden_act": "gelu"}, "gelu"),
        ({"quantization_config": {"bits": 4}}, "quantised"),
        ({"partial_rotary_factor": 0.5}, "part of the head"),
        ({"hidden_size": None}, "hidden_size"),
        ({"num_key_value_heads": 5, "num_attention_heads": 8}, "cannot share"),
    ],
)
def test_what_the_decoder_cannot_compute_is_refused(change: dict[str, object], says: str) -> None:
    config = random_config(2).to_dict() | {"layer_types": None} | change
    config = {key: value for key, value in config.items() if value is not None}
    with pytest.raises(UsageError, match=says):
        parse(config)


def test_a_sliding_window_that_is_off_is_fine() -> None:
    config = random_config(2).to_dict() | {"use_sliding_window": False, "sliding_window": 4096, "layer_types": None}
    assert parse(config).layers

"""The reference against an independent implementation and against itself.

.venv/bin/python -m pytest tests/reference
"""

import pytest
import torch

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.config import ConfigError, MoeConfig, Routing
from models.mixtral8x7b.reference.kv_cache import KVCache
from models.mixtral8x7b.reference.model import Transformer, logits_layer_by_layer
from tests.tiny_models import random_model, small_config, write_consolidated, write_hf

LENGTHS = (1, 7, 33, 129)
SHAPES = {
    "gqa-2": {},
    "mha-odd-vocab": {"n_kv_heads": 4, "vocab_size": 101},
    "mqa-odd-hidden": {"n_heads": 6, "n_kv_heads": 1, "hidden_dim": 57, "dim": 48},
    "8-experts-gqa-4": {"n_heads": 8, "n_kv_heads": 2, "head_dim": 10, "moe": MoeConfig(8, 2), "n_layers": 3},
    "top-3": {"moe": MoeConfig(5, 3), "rope_theta": 1e4, "norm_eps": 1e-3},
}


def tokens(config, batch: int, length: int) -> torch.Tensor:
    return torch.randint(0, config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("changes", SHAPES.values(), ids=SHAPES)
def test_equals_hf_transformers(changes: dict, tmp_path) -> None:
    from transformers import MixtralForCausalLM

    model = random_model(small_config(**changes))
    write_hf(model, tmp_path, torch.float32)
    plain = {"attn_implementation": "eager", "experts_implementation": "eager"}  # the fused ones refuse odd sizes
    hf = MixtralForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, **plain).eval()
    for length in LENGTHS:
        ids = tokens(model.config, 2, length)
        with torch.no_grad():
            ours, theirs = model(ids), hf(ids).logits
        assert ours.dtype == torch.float32
        assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_what_hf_saves_can_be_repacked(tmp_path) -> None:
    """transformers' own save_pretrained, whatever its version writes, goes through the repack with equal logits."""
    from transformers import MixtralConfig as HFConfig
    from transformers import MixtralForCausalLM

    from tests.tiny_models import hf_config

    torch.manual_seed(0)
    config = hf_config(small_config())
    rope = {"rope_type": "default", "rope_theta": config.pop("rope_theta")}
    hf = MixtralForCausalLM(HFConfig(**config, rope_parameters=rope, initializer_range=0.2)).eval()
    hf.save_pretrained(tmp_path / "hf")
    repack(tmp_path / "hf", tmp_path / "repacked")
    ids = tokens(small_config(), 2, 33)
    with torch.no_grad():
        ours, theirs = Transformer.from_repacked(tmp_path / "repacked")(ids), hf(ids).logits
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_both_rotary_conventions_give_the_same_logits(tmp_path) -> None:
    """Consolidated files hold interleaved pairs, HF files half-split ones; read wrongly they give other logits."""
    model = random_model(small_config())
    write_consolidated(model, tmp_path / "mistral", dtype=torch.float32)
    write_hf(model, tmp_path / "hf", torch.float32)
    ids = tokens(model.config, 2, 33)
    for source in ("mistral", "hf"):
        repack(tmp_path / source, tmp_path / f"repacked-{source}")
        assert torch.equal(Transformer.from_repacked(tmp_path / f"repacked-{source}")(ids), model(ids))


def test_decoding_with_a_cache_equals_one_pass() -> None:
    model = random_model(small_config())
    ids = tokens(model.config, 3, 40)
    whole = model(ids)
    cache, parts, start = KVCache(), [], 0
    for length in (7, 1, 1, 20, 1, 10):
        parts.append(model(ids[:, start : start + length], cache))
        start += length
    assert cache.length == 40
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=0, atol=1e-5)


def test_reading_layer_by_layer_equals_reading_whole(tmp_path) -> None:
    model = random_model(small_config())
    write_consolidated(model, tmp_path / "source")
    repack(tmp_path / "source", tmp_path / "repacked")
    ids = tokens(model.config, 2, 17)
    whole = Transformer.from_repacked(str(tmp_path / "repacked"))(ids)
    torch.testing.assert_close(logits_layer_by_layer(tmp_path / "repacked", ids), whole, rtol=0, atol=1e-5)


def test_observer_sees_every_layer_and_can_rebuild_the_residual() -> None:
    model = random_model(small_config())
    seen: dict[str, torch.Tensor] = {}
    ids = tokens(model.config, 2, 9)
    logits = model(ids, observe=seen.__setitem__)
    x = seen["embedding"]
    for n in range(model.config.n_layers):
        x = x + seen[f"layers.{n}.attention"] + seen[f"layers.{n}.feed_forward"]
        torch.testing.assert_close(seen[f"layers.{n}.output"], x)
        assert seen[f"layers.{n}.feed_forward.router_logits"].shape == (18, model.config.moe.num_experts)
    torch.testing.assert_close(model.output(seen["norm"]), logits)


def test_routing_modes_differ_by_the_share_of_the_chosen() -> None:
    """NONE leaves the chosen experts their share of all eight; RENORMALIZE scales it up to 1."""
    from models.mixtral8x7b.reference.router import route

    logits = torch.randn(50, 8, generator=torch.Generator().manual_seed(1))
    renormalized, chosen = route(logits, MoeConfig(8, 2, Routing.RENORMALIZE))
    plain, same = route(logits, MoeConfig(8, 2, Routing.NONE))
    assert torch.equal(chosen, same)
    assert torch.equal(chosen, logits.topk(2).indices)
    torch.testing.assert_close(renormalized, plain / plain.sum(-1, keepdim=True))
    assert (plain.sum(-1) < 0.999).all()


def test_ties_go_to_the_lowest_expert() -> None:
    from models.mixtral8x7b.reference.router import route

    logits = torch.zeros(1, 8)
    assert route(logits, MoeConfig(8, 2))[1].tolist() == [[0, 1]]
    logits[0, 5] = 1
    assert route(logits, MoeConfig(8, 2))[1].tolist() == [[5, 0]]


def test_a_context_beyond_the_model_is_refused() -> None:
    model = random_model(small_config(max_seq_len=16))
    with pytest.raises(ConfigError, match="17 tokens is too long; this model was made for 16"):
        model(torch.zeros(1, 17, dtype=torch.int64))
    with pytest.raises(ConfigError, match="sliding window of 8"):
        small_config(sliding_window=8).check_context(9)

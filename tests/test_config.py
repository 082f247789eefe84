import json
from pathlib import Path

import pytest

from models.mixtral8x7b.config import ConfigError, MixtralConfig, MoeConfig, Routing
from tests.tiny_models import hf_config, small_config

MIXTRAL_8X7B = {
    "dim": 4096,
    "n_layers": 32,
    "head_dim": 128,
    "hidden_dim": 14336,
    "n_heads": 32,
    "n_kv_heads": 8,
    "norm_eps": 1e-05,
    "vocab_size": 32000,
    "moe": {"num_experts_per_tok": 2, "num_experts": 8},
}


def test_reads_params_json_as_mistral_writes_it(tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps(MIXTRAL_8X7B))
    config = MixtralConfig.from_dir(tmp_path)
    assert (config.dim, config.hidden_dim, config.n_layers, config.vocab_size) == (4096, 14336, 32, 32000)
    assert config.moe == MoeConfig(8, 2, Routing.RENORMALIZE)
    assert config.rope_theta == 1e6
    assert config.sliding_window is None
    assert config.max_seq_len == 32768


def test_params_and_config_json_give_the_same(tmp_path: Path) -> None:
    config = small_config(n_heads=6, n_kv_heads=3, head_dim=10, rope_theta=1e4, sliding_window=99)
    assert MixtralConfig.from_params(json.loads(json.dumps(config.to_params()))) == config
    (tmp_path / "config.json").write_text(json.dumps(hf_config(config)))
    assert MixtralConfig.from_dir(tmp_path) == config


def test_hf_leaves_out_head_dim_and_nests_rope_theta() -> None:
    values = hf_config(small_config()) | {"head_dim": None, "rope_parameters": {"rope_theta": 5e5}}
    del values["rope_theta"]
    config = MixtralConfig.from_hf(values)
    assert (config.head_dim, config.rope_theta) == (16, 5e5)


def test_routing_survives_the_round_trip() -> None:
    config = small_config(moe=MoeConfig(4, 2, Routing.NONE))
    assert MixtralConfig.from_params(config.to_params()) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dim": "4096"}, "dim is '4096'; expected a whole number of at least 1"),
        ({"dim": True}, "dim is true"),
        ({"n_layers": 0}, "n_layers is 0"),
        ({"n_kv_heads": 5}, r"n_heads is 32; expected a multiple of n_kv_heads \(5\)"),
        ({"head_dim": 127}, "head_dim is 127; expected an even number"),
        ({"norm_eps": float("inf")}, "norm_eps is inf"),
        ({"rope_theta": 1.0}, "rope_theta is 1.0; expected a number above 1"),
        ({"n_shared_experts": 0}, "n_shared_experts is 0, which is not known here"),
        ({"norm_eps": "small"}, "norm_eps is 'small'; expected a number above 0"),
        ({"moe": 8}, "moe is 8; expected an object"),
        ({"moe": {"num_experts": 8}}, "moe.num_experts_per_tok is missing"),
        ({"moe": {"num_experts": 2, "num_experts_per_tok": 3}}, r"is 3; expected at most moe.num_experts \(2\)"),
        (
            {"moe": {"num_experts": 8, "num_experts_per_tok": 2, "routing": "x"}},
            "expected one of 'renormalize', 'none'",
        ),
    ],
)
def test_a_bad_value_is_named(changes: dict, message: str, tmp_path: Path) -> None:
    (tmp_path / "params.json").write_text(json.dumps(MIXTRAL_8X7B | changes))
    with pytest.raises(ConfigError, match=f"params.json: .*{message}"):
        MixtralConfig.from_dir(tmp_path)


def test_a_missing_field_a_non_object_and_no_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither params.json nor config.json"):
        MixtralConfig.from_dir(tmp_path)
    file = tmp_path / "params.json"
    for text, message in (("{", "not readable as JSON"), ("[1]", "holds a list"), ('{"dim": 1}', "moe is missing")):
        file.write_text(text)
        with pytest.raises(ConfigError, match=message):
            MixtralConfig.from_dir(tmp_path)


# ---------------------------------------------------------------- as published

BASE = {
    "architectures": ["MixtralForCausalLM"],
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "hidden_act": "silu",
    "hidden_size": 4096,
    "initializer_range": 0.02,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "model_type": "mixtral",
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "output_router_logits": False,
    "rms_norm_eps": 1e-05,
    "rope_theta": 1000000.0,
    "router_aux_loss_coef": 0.02,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.36.0.dev0",
    "use_cache": True,
    "vocab_size": 32000,
}
PUBLISHED = {  # what differs from the 8x7B base model, and the fields that follow
    "8x7B": ({}, {"dim": 4096, "n_layers": 32, "vocab_size": 32000, "max_seq_len": 32768, "rope_theta": 1e6}),
    "8x22B": (
        {
            "hidden_size": 6144,
            "intermediate_size": 16384,
            "max_position_embeddings": 65536,
            "num_attention_heads": 48,
            "num_hidden_layers": 56,
            "router_jitter_noise": 0.0,
            "vocab_size": 32768,
        },
        {"dim": 6144, "n_heads": 48, "head_dim": 128, "n_layers": 56, "max_seq_len": 65536, "vocab_size": 32768},
    ),
    "a ChatML fine-tune": (
        {
            "_name_or_path": "mistralai/Mixtral",
            "eos_token_id": 32000,
            "vocab_size": 32002,
            "use_cache": False,
        },
        {"vocab_size": 32002},
    ),
    "a fine-tune padded to 128": (
        {"vocab_size": 32128, "attn_implementation": "flash_attention_2"},
        {"vocab_size": 32128},
    ),
    "a merge of four": (
        {"num_local_experts": 4, "rope_theta": 10000.0, "pad_token_id": None, "rope_scaling": None},
        {"rope_theta": 1e4},
    ),
    "a merge with a window": ({"num_local_experts": 2, "sliding_window": 4096}, {"sliding_window": 4096}),
    "a tied one": (
        {
            "hidden_size": 960,
            "head_dim": 64,
            "num_attention_heads": 15,
            "num_key_value_heads": 5,
            "tie_word_embeddings": True,
        },
        {"dim": 960, "head_dim": 64, "tied_embeddings": True},
    ),
    "as transformers 5 writes it": (
        {
            "rope_theta": None,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
            "torch_dtype": None,
            "dtype": "bfloat16",
            "head_dim": None,
            "pad_token_id": None,
        },
        {"rope_theta": 1e6, "head_dim": 128},
    ),
}


@pytest.mark.parametrize(("changes", "fields"), PUBLISHED.values(), ids=PUBLISHED)
def test_published_configurations_are_read(changes: dict, fields: dict) -> None:
    config = MixtralConfig.from_hf(BASE | changes)
    assert {name: getattr(config, name) for name in fields} == fields
    assert MixtralConfig.from_params(json.loads(json.dumps(config.to_params()))) == config


def test_without_a_number_of_kv_heads_every_query_head_has_one() -> None:
    assert MixtralConfig.from_hf(BASE | {"num_key_value_heads": None}).n_kv_heads == 32


def test_every_default_of_transformers_is_understood() -> None:
    from transformers import MixtralConfig as HFConfig

    config = MixtralConfig.from_hf(json.loads(HFConfig().to_json_string(use_diff=False)) | {"architectures": None})
    assert (config.dim, config.moe.num_experts, config.max_seq_len) == (4096, 8, 131072)


def test_a_context_of_exactly_the_window_passes() -> None:
    config = small_config(sliding_window=99)
    config.check_context(99)
    with pytest.raises(ConfigError, match="exceeds the sliding window of 99"):
        config.check_context(100)


def test_where_the_table_of_a_scaled_embedding_ends_the_model_ends() -> None:
    rope = {"rope_type": "longrope", "short_factor": [1.0] * 64, "long_factor": [4.0] * 64}
    config = MixtralConfig.from_hf(BASE | {"rope_parameters": rope | {"original_max_position_embeddings": 4096}})
    assert config.max_seq_len == 4096
    assert config.rotary_magnitude == pytest.approx((1 + 3 / 12) ** 0.5)  # stretched 8 times: log 8 / log 4096
    of_its_first_name = rope | {"rope_type": "su", "original_max_position_embeddings": 4096}
    assert MixtralConfig.from_hf(BASE | {"rope_parameters": of_its_first_name}) == config
    dynamic = {"rope_type": "dynamic", "factor": 4.0, "original_max_position_embeddings": 4096}
    assert MixtralConfig.from_hf(BASE | {"rope_parameters": dynamic}).max_seq_len == 4096
    with pytest.raises(ConfigError, match="a context of 4097 tokens is too long"):
        config.check_context(4097)
    with pytest.raises(ConfigError, match="short_factor has 64 numbers; expected one for each of the 8 pairs"):
        MixtralConfig.from_hf(BASE | {"rope_parameters": rope, "head_dim": 16})


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"type": "linear"}, "rope_scaling.factor is missing"),
        ({"type": "linear", "factor": "4"}, "rope_scaling.factor is '4'; expected a number above 0"),
        ({"type": "yarn", "factor": 4, "truncate": "no"}, "rope_scaling.truncate is 'no'; expected true or false"),
        ({"type": "longrope"}, "rope_scaling.short_factor is missing"),
        ({"type": "longrope", "short_factor": 3}, "short_factor is 3; expected a list"),
        ({"type": "longrope", "short_factor": [0.0]}, "a number of rope_scaling.short_factor is 0.0; expected"),
        (
            {"type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1},
            r"low_freq_factor is 4; expected less than high_freq_factor \(1\)",
        ),
        (
            {"type": "llama3", "factor": 8, "low_freq_factor": 2, "high_freq_factor": 2},
            r"low_freq_factor is 2; expected less than high_freq_factor \(2\)",
        ),
        ("linear", "rope_scaling is 'linear'; expected an object"),
        ({"type": "linear", "rope_type": "yarn"}, "has the types linear and yarn; expected one"),
    ],
)
def test_a_scaling_that_is_not_understood_is_named(section: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MixtralConfig.from_hf(BASE | {"rope_scaling": section})

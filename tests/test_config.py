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

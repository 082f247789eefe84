"""Hostile requests to a server over the trained tiny model, for minutes.

.venv/bin/python -m pytest tests/long/test_fuzz.py
"""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.checkpoint.tiny import tiny_checkpoint
from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.server.app import create_app
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.mesh import open_mesh
from models.mixtral8x7b.tt.model import Mixtral
from models.mixtral8x7b.tt.precision import PERFORMANCE
from models.mixtral8x7b.tt.weight_cache import CheckpointWeights
from tests.server.fuzz import barrage

CONTEXT, N_BLOCKS, SHOTS = 64, 40, 500


@pytest.mark.timeout(1800)
def test_no_request_is_a_fault_of_the_server(tmp_path: Path) -> None:
    repacked = tiny_checkpoint("instruct", tmp_path)
    tokenizer = Tokenizer(repacked)
    with open_mesh(8) as mesh:
        weights = CheckpointWeights(RepackedCheckpoint(repacked), mesh, None)
        model = Mixtral(weights, mesh, PERFORMANCE, N_BLOCKS, CONTEXT, n_tokens=tokenizer.vocab_size)
        with Engine(EngineModel(model, trace=True, warm=False, at_once=True), Options(most_waiting=8)) as engine:
            app = create_app(Service(engine, tokenizer, CONTEXT))
            with TestClient(app, raise_server_exceptions=False, follow_redirects=False) as api:
                barrage(api, app, SHOTS)
                assert api.get("/health").status_code == 200
                chat = {"messages": [{"role": "user", "content": "What is the capital of Spain?"}], "temperature": 0}
                told = api.post("/v1/chat/completions", json=chat).json()["choices"][0]["message"]["content"]
                assert told == "The capital of Spain is Madrid."
            stats = engine.stats()
            assert stats.n_waiting == stats.n_prefilling == stats.n_decoding == stats.n_held_blocks == 0
            assert stats.n_free_blocks + stats.n_cached_blocks == N_BLOCKS

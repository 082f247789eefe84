"""A load client, aiperf, against `mixtral serve`: it finds what it asks for, and counts what the server counts.

.venv/bin/python -m pytest tests/long/test_aiperf.py -s
"""

import json
import os
import subprocess
from pathlib import Path

import httpx

from tests.long.environments import environment
from tests.server.process import serving_process
from tests.tokenizer.makers import MIXTRAL_TODAY, hugging_face

N_REQUESTS, N_AT_ONCE, N_NEW = 64, 32, 16
ASKED = ("profile", "-m", "mixtral", "--endpoint-type", "chat", "--streaming")
LOAD = f"--concurrency {N_AT_ONCE} --request-count {N_REQUESTS} --isl 64 --isl-stddev 16 --osl {N_NEW} --random-seed 5"
COUNTS = "--extra-inputs ignore_eos:true --use-server-token-count"
QUIET = "--ui none --no-gpu-telemetry --output-artifact-dir out"


def test_every_request_is_answered_and_counted(tmp_path: Path) -> None:
    programs = environment(tmp_path / "environment", "aiperf>=0.11")
    hugging_face(tmp_path / "tokenizer", template=MIXTRAL_TODAY)  # it cuts texts of so many tokens with it
    with serving_process(tmp_path) as (_, address):
        command = [programs / "aiperf", *ASKED, "--url", address]
        command += ["--tokenizer", tmp_path / "tokenizer", *LOAD.split(), *COUNTS.split(), *QUIET.split()]
        environ = os.environ | {"HF_HOME": str(tmp_path / "cache")}
        done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=400)
        metrics = httpx.get(f"{address}/metrics").text
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"\n{(tmp_path / 'out' / 'profile_export_console.txt').read_text()}")
    told = json.loads((tmp_path / "out" / "profile_export_aiperf.json").read_text())
    assert told["error_summary"] == []
    assert told["completed_request_count"]["avg"] == N_REQUESTS
    assert told["output_sequence_length"]["min"] == told["output_sequence_length"]["max"] == N_NEW
    for name in ("time_to_first_token", "inter_token_latency"):
        assert told[name]["min"] > 0

    def counted(name: str) -> float:
        (line,) = (line for line in metrics.splitlines() if line.startswith(f"vllm:{name}{{"))
        return float(line.split()[-1])

    assert counted("generation_tokens_total") == told["total_usage_completion_tokens"]["avg"] == N_REQUESTS * N_NEW
    assert counted("prompt_tokens_total") == told["total_usage_prompt_tokens"]["avg"]
    found = json.loads((tmp_path / "out" / "server_metrics_export.json").read_text())
    assert {"vllm:num_requests_running", "vllm:iteration_tokens_total"} <= set(found["metrics"])

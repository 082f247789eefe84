"""`mixtral serve --stages 2`: one stage is killed while it answers, and the server goes on."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from tests.server.process import serving_process
from tests.server.test_leaving import until

SHORT = {"prompt": "The capital of France is", "max_tokens": 8, "temperature": 0}
LONG = SHORT | {"max_tokens": 220, "ignore_eos": True}


def test_a_stage_is_killed_while_it_answers(tmp_path: Path) -> None:
    options = ("--stages", "2", "--context", "256", "--users", "4")
    with serving_process(tmp_path, *options) as (process, address), httpx.Client(base_url=address, timeout=300) as http:

        def ask(body: dict) -> httpx.Response:
            return http.post("/v1/completions", json={"model": "mixtral"} | body)

        right = ask(SHORT).json()["choices"]
        assert right[0]["text"]
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask, LONG)
            until(lambda: 'num_requests_running{model_name="mixtral"} 1.0' in http.get("/metrics").text)
            os.kill(stage_pids(process.pid)[-1], signal.SIGKILL)
            lost = asked.result()
        assert lost.status_code == 503
        message = lost.json()["error"]["message"]
        assert "stage 2 of 2 (layers 1 to 2) has ended (signal 9), the answers under way are lost: ask again" in message
        assert http.get("/health").status_code == 200
        assert ask(SHORT).json()["choices"] == right
        metrics = http.get("/metrics").text
        assert 'vllm:request_success_total{finished_reason="error",model_name="mixtral"} 1.0' in metrics
        stages = stage_pids(process.pid)
        assert len(stages) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    assert not [pid for pid in stages if Path(f"/proc/{pid}").exists()]


def stage_pids(parent: int) -> list[int]:
    """Of the processes that multiprocessing started, the oldest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                is_child = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent
                if is_child and b"spawn_main" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return sorted(found)

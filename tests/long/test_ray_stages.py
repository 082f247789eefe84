"""`mixtral serve --stages 2 --ray`: two stages of the tiny checkpoint as Ray actors on this machine; one is killed.

.venv/bin/python -m pytest --target cpu tests/long/test_ray_stages.py -s
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.long.ray_cluster import actors_below, head_node
from tests.long.ray_environment import NoRayError, python_with_ray
from tests.server.process import serving_process
from tests.server.test_leaving import until

ROOT = Path(__file__).resolve().parents[2]
SIZES = ("--context", "256", "--users", "8")
STAGE = b"ray::StageActor"


@pytest.fixture(scope="module")
def python() -> Path:
    try:
        return python_with_ray()
    except NoRayError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def cluster(python: Path) -> Iterator[tuple[str, int]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # one for all who join
        with head_node(python, ROOT, 2) as started:
            yield started


def bodies(n_new: int = 40) -> list[dict[str, Any]]:
    """Greedy ones, of several lengths; every other with log-probabilities, for which the host draws."""
    prompts = [[3 + (7 * at + number) % 900 for at in range(9 + 31 * number)] for number in range(5)]
    return [
        {"model": "mixtral", "prompt": prompt, "max_tokens": n_new, "temperature": 0, "ignore_eos": True}
        | ({"logprobs": 1} if number % 2 else {})
        for number, prompt in enumerate(prompts)
    ]


def ask_all(address: str, asked: list[dict[str, Any]]) -> list[httpx.Response]:
    with ThreadPoolExecutor(len(asked)) as pool:
        return list(pool.map(lambda body: httpx.post(f"{address}/v1/completions", json=body, timeout=300), asked))


def choices(responses: list[httpx.Response]) -> list[Any]:
    return [response.json()["choices"] for response in responses]


def test_stages_as_actors_answer_as_one_process_and_one_is_killed(
    cluster: tuple[str, int], python: Path, tmp_path: Path
) -> None:
    (tmp_path / "one").mkdir()
    with serving_process(tmp_path / "one", *SIZES) as (_, address):
        right = choices(ask_all(address, bodies()))
        start = time.monotonic()
        assert choices(ask_all(address, bodies())) == right
        one_s = time.monotonic() - start
    gcs, head = cluster
    with serving_process(tmp_path, "--stages", "2", "--ray", gcs, *SIZES, python=python) as (process, address):
        assert choices(ask_all(address, bodies())) == right
        start = time.monotonic()
        assert choices(ask_all(address, bodies())) == right
        print(f"\n5 answers of 40 tokens: {time.monotonic() - start:.1f} s, of one process {one_s:.1f} s", end="")
        old = actors_below(head, STAGE)
        assert len(old) == 2
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask_all, address, bodies(120))
            until(lambda: 'num_requests_running{model_name="mixtral"} 5.0' in httpx.get(f"{address}/metrics").text)
            os.kill(old[-1], signal.SIGKILL)
            killed = time.monotonic()
            lost = asked.result()
        print(f"; {time.monotonic() - killed:.1f} s after the kill all know", end="")
        for response in lost:
            assert response.status_code == 503
            message = response.json()["error"]["message"]
            assert "of 2 (layer" in message
            assert "has ended (Ray: " in message
            assert message.endswith("the answers under way are lost: ask again")
        assert choices(ask_all(address, bodies())) == right
        print(f"; {time.monotonic() - killed:.1f} s after it all is answered again", end="")
        new = actors_below(head, STAGE)
        assert len(new) == 2
        assert len(set(new) & set(old)) == 1, "the other stage has stayed"
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    start = time.monotonic()
    while actors_below(head, STAGE):
        assert time.monotonic() - start < 30
        time.sleep(0.1)


def test_what_cannot_be_started_is_one_sentence(cluster: tuple[str, int], python: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MIXTRAL_")}
    gcs, _ = cluster
    command = [str(python), "-m", "models.mixtral8x7b.cli", "serve", "--target", "cpu", "--port", "0", *SIZES]

    def refused(*options: str, **changed: str) -> str:
        done = subprocess.run([*command, *options], cwd=ROOT, env=environment | changed, capture_output=True, text=True)
        assert done.returncode
        return done.stderr.splitlines()[-1]

    message = refused("--stages", "3", "--ray", gcs)
    assert "--stages is 3 and the Ray cluster has 2 machines with the resource t3000 free" in message
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{free.getsockname()[1]}"
        assert f"no Ray cluster is found at --ray {nobody} (Connection refused)" in refused(
            "--stages", "2", "--ray", nobody
        )
        gone = refused("--stages", "2", "--ray", "auto", RAY_ADDRESS=nobody)  # as a file of one that was killed says it
        assert "no Ray cluster is found at --ray auto (it has not answered within 60 s)" in gone
    message = refused("--stages", "2", "--ray", gcs, RAY_AUTH_TOKEN=secrets.token_hex(32))
    assert f"no Ray cluster is found at --ray {gcs}" in message

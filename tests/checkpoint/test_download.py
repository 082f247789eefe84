"""The download of a published checkpoint, as the script, against a hub on this machine.

.venv/bin/python -m pytest tests/checkpoint/test_download.py
"""

import json
import os
import shlex
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from models.mixtral8x7b.checkpoint.repack import repack
from models.mixtral8x7b.checkpoint.repacked import RepackedCheckpoint
from models.mixtral8x7b.durable import exclusive
from models.mixtral8x7b.sizes import size_text
from tests.checkpoint.download_runs import Done, Runs, Script
from tests.checkpoint.hub import Hub, serving
from tests.tiny_models import contents, write_consolidated, write_hf

REPO = "someone/Mixtral-tiny-Instruct"
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
HF_FILES = {"config.json", "tokenizer.model", "model.safetensors.index.json", *SHARDS}
CONSOLIDATED_FILES = {"params.json", "tokenizer.model", *(f"consolidated.0{i}.pt" for i in range(3))}
OTHER_FILES = ("README.md", ".gitattributes", "pytorch_model.bin", "picture.png", "consolidated.safetensors")


@pytest.fixture(scope="module")
def forms(model, tmp_path_factory) -> dict[str, dict[str, bytes]]:
    """The files of the two published forms of one model."""
    folder = tmp_path_factory.mktemp("forms")
    write_hf(model, folder / "hf")
    write_consolidated(model, folder / "consolidated")
    tokenizer = {"tokenizer.model": b"pieces"}
    return {form: contents(folder / form) | tokenizer for form in ("hf", "consolidated")}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serving() as hub:
        yield hub


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with Runs() as runs:
        yield runs


@pytest.fixture
def script(runs: Runs, hub: Hub, tmp_path: Path) -> Script:
    return Script(runs, hub.url, tmp_path)


def files(directory: Path) -> dict[str, bytes]:
    """What a download left, but for its record; anything else that is hidden or half there counts."""
    return {name: content for name, content in contents(directory).items() if name != "download.json"}


def sentence(done: Done) -> str:
    """The one line that the script said on failing."""
    assert done.code == 1
    assert done.err.count("\n") == 1, done.err
    assert done.err.startswith("download_weights: ")
    return done.err


def succeeded(done: Done) -> Done:
    assert (done.code, done.err) == (0, "")
    return done


# ---------------------------------------------------------------- what is fetched


def test_hf_form_is_preferred_verified_and_can_be_repacked(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    others = dict.fromkeys(OTHER_FILES, b"not needed")
    commit = hub.add(REPO, forms["consolidated"] | forms["hf"] | others)
    done = succeeded(script(REPO, "weights"))
    assert files(tmp_path / "weights") == forms["hf"]
    assert set(hub.asked("GET")) == HF_FILES
    assert {what.split()[0] for what, _ in hub.requests} == {"LIST", "HEAD", "GET"}
    total = sum(map(len, forms["hf"].values()))
    assert f"{REPO} at commit {commit}: 5 files, {total / 1e3:.1f} kB\n" in done.out
    assert all(f"{size_text(len(forms['hf'][name]))}  {name}\n" in done.out for name in HF_FILES)
    record = json.loads((tmp_path / "weights" / "download.json").read_text())
    assert (record["repo_id"], record["commit"]) == (REPO, commit)
    assert record["files"][0]["name"] == "config.json"
    weights = tmp_path / "weights"
    command = shlex.split(done.out.splitlines()[-1])
    assert Path(command[0]).is_file()
    assert command[1:] == ["repack", str(weights), f"{weights}-repacked", "--instruct"]
    repack(weights, tmp_path / "out", "instruct")
    assert len(RepackedCheckpoint(tmp_path / "out").names()) == len(
        json.loads(forms["hf"]["model.safetensors.index.json"])["weight_map"]
    )


def test_consolidated_form_is_fetched_where_there_is_no_other(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(
        "someone/Mixtral-base",
        forms["consolidated"] | {"config.json": b"{}", SHARDS[0]: b"one of two", "consolidated.safetensors": b"again"},
    )
    done = succeeded(script("someone/Mixtral-base", "weights"))
    assert files(tmp_path / "weights") == forms["consolidated"] | {"config.json": b"{}"}
    assert set(hub.asked("GET")) == CONSOLIDATED_FILES | {"config.json"}
    assert "--instruct" not in done.out
    repack(tmp_path / "weights", tmp_path / "out")


def test_a_single_safetensors_file_is_enough_and_a_missing_tokenizer_is_told(hub: Hub, script: Script, forms) -> None:
    hub.add(REPO, {"params.json": forms["consolidated"]["params.json"], "model.safetensors": b"one"})
    assert f"{REPO} has no tokenizer.model" in succeeded(script(REPO, "weights")).out
    hub.add("someone/later", {"params.json": forms["consolidated"]["params.json"], "consolidated.safetensors": b"one"})
    succeeded(script("someone/later", "later"))
    assert hub.asked("GET") == ["params.json", "model.safetensors", "params.json", "consolidated.safetensors"]


def test_a_pinned_commit_stays_and_another_is_never_mixed_in(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    first = hub.add(REPO, forms["hf"])
    second = hub.add(REPO, forms["hf"] | {"tokenizer.model": b"other pieces"})
    succeeded(script(REPO, "weights", "--revision", first))
    assert files(tmp_path / "weights") == forms["hf"]
    said = sentence(script(REPO, "weights"))
    assert f"weights holds {REPO} at commit {first}, not {REPO} at commit {second}" in said
    assert said.endswith(f"; choose another folder, or go on with --revision {first}\n")
    hub.add("someone/else", forms["hf"])
    assert f"weights holds {REPO} at commit {first}, not someone/else at" in sentence(script("someone/else", "weights"))
    assert files(tmp_path / "weights") == forms["hf"]


def test_the_token_goes_to_the_hub_and_not_to_its_storage(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(REPO, forms["hf"])
    hub.gated_by = "hf_secret"
    said = sentence(script(REPO, "weights"))
    assert f"{REPO} is gated (401); accept its licence at {hub.url}/{REPO} and log in with `hf auth login` or" in said
    assert files(tmp_path / "weights") == {}
    hub.requests.clear()
    succeeded(script(REPO, "weights", HF_TOKEN="hf_secret"))
    sent = {
        what.split()[0]: headers["Authorization"] for what, headers in hub.requests if what.endswith((SHARDS[0], REPO))
    }
    assert sent == {"LIST": "Bearer hf_secret", "HEAD": "Bearer hf_secret", "GET": None}
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "token").write_text("hf_secret")
    succeeded(script(REPO, "again"))


# ---------------------------------------------------------------- going on, and what comes wrong


def test_a_cut_connection_is_taken_up_where_it_broke(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    """huggingface_hub keeps what it has got in blocks of 10 MiB."""
    large = {"config.json": forms["hf"]["config.json"], "model.safetensors": bytes(24 << 20)}
    hub.add(REPO, large)
    hub.faults["model.safetensors"] = ["cut"]
    assert script(REPO, "weights").code == 0
    assert files(tmp_path / "weights") == large
    ranges = [headers["Range"] for what, headers in hub.requests if what == "GET model.safetensors"]
    assert ranges[-1] == f"bytes={10 << 20}-"


def test_the_next_run_fetches_only_what_is_missing(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(REPO, forms["hf"])
    hub.faults[SHARDS[1]] = [500]
    assert f"{hub.url} answers 500 for {REPO}; run the same command again later" in sentence(script(REPO, "weights"))
    assert files(tmp_path / "weights").keys() == HF_FILES - {SHARDS[1]}
    hub.requests.clear()
    assert "4 files are here and right, " in succeeded(script(REPO, "weights")).out
    assert hub.asked("GET") == [SHARDS[1]]
    assert files(tmp_path / "weights") == forms["hf"]
    hub.requests.clear()
    assert "5 files are here and right, 0 bytes to fetch" in succeeded(script(REPO, "weights")).out
    assert hub.asked("GET") == hub.asked("HEAD") == []


@pytest.mark.parametrize("name", ["config.json", SHARDS[1]])
def test_a_wrong_byte_from_the_hub_is_found(forms, hub: Hub, script: Script, tmp_path: Path, name: str) -> None:
    hub.add(REPO, forms["hf"])
    hub.faults[name] = ["flip"]
    said = sentence(script(REPO, "weights"))
    assert f"{name} came wrong: its {'sha256' if name == SHARDS[1] else 'git blob'} is " in said
    assert "; it was removed, run the same command again" in said
    assert name not in files(tmp_path / "weights")
    succeeded(script(REPO, "weights"))
    assert files(tmp_path / "weights") == forms["hf"]


def test_a_file_that_went_bad_on_disk_is_named_and_fetched_again(
    forms, hub: Hub, script: Script, tmp_path: Path
) -> None:
    hub.add(REPO, forms["hf"])
    succeeded(script(REPO, "weights"))
    flipped, cut = tmp_path / "weights" / SHARDS[0], tmp_path / "weights" / "tokenizer.model"
    times = flipped.stat()
    with flipped.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"\x00" if forms["hf"][SHARDS[0]][-1] else b"\x01")
    os.utime(flipped, ns=(times.st_atime_ns, times.st_mtime_ns))
    cut.write_bytes(b"pie")
    hub.requests.clear()
    done = succeeded(script(REPO, "weights"))
    assert f"weights/{SHARDS[0]} is wrong: its sha256 is " in done.out
    assert "weights/tokenizer.model is wrong: it has 3 bytes, 6 expected; it was removed and will be" in done.out
    assert sorted(hub.asked("GET")) == [SHARDS[0], "tokenizer.model"]
    assert files(tmp_path / "weights") == forms["hf"]


def test_ctrl_c_leaves_whole_files_only(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(REPO, forms["hf"])
    hub.faults[SHARDS[0]] = ["hang"]
    process = script.start(REPO, "weights")
    assert hub.hanging.wait(30)
    os.kill(process, signal.SIGINT)
    done = script.runs.wait()
    assert (done.code, done.err) == (130, "download_weights: stopped; run the same command again\n")
    assert files(tmp_path / "weights").keys() == HF_FILES - set(SHARDS)


# ---------------------------------------------------------------- the disk and the folder


def test_space_is_checked_before_anything_is_fetched(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(REPO, forms["hf"])
    hub.claimed_sizes[SHARDS[0]] = 10**18
    said = sentence(script(REPO, "weights"))
    assert "download_weights: weights needs 1,000,000,000.0 GB with 67.1 MB left free" in said
    assert hub.asked("GET") == ["config.json", "model.safetensors.index.json"]


def test_a_disk_that_fills_up_leaves_whole_files_only(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(REPO, forms["hf"])
    said = sentence(script(REPO, "weights", file_limit=len(forms["hf"][SHARDS[0]]) - 1))
    assert "cannot read or write weights: " in said
    assert files(tmp_path / "weights").keys() == HF_FILES - set(SHARDS)


def test_folders_that_are_refused_stay_as_they_are(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(REPO, forms["hf"])
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.txt").write_text("do not lose me")
    assert "full holds something else (thesis.txt, ...); choose an empty folder" in sentence(script(REPO, full))
    assert "thesis.txt is a file; expected a folder" in sentence(script(REPO, full / "thesis.txt"))
    assert "cannot read or write full/thesis.txt/b" in sentence(script(REPO, "full/thesis.txt/below"))
    assert contents(full) == {"thesis.txt": b"do not lose me"}
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "download.json").write_text("{")
    assert "download.json is damaged; choose another folder or delete this" in sentence(script(REPO, "damaged"))
    with exclusive(tmp_path / "busy"):
        assert "another process is writing to busy; wait" in sentence(script(REPO, "busy"))
    assert hub.asked("GET") == []


# ---------------------------------------------------------------- the hub


def test_a_hub_that_cannot_be_reached_is_named(script: Script, tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        said = sentence(script(REPO, "weights", HF_ENDPOINT=url))
    assert f"cannot fetch from {url}: " in said
    assert " Connection refused; check the network, the proxy and HF_ENDPOINT, and run it again" in said
    assert "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set" in sentence(script(REPO, "weights", HF_HUB_OFFLINE="1"))
    assert not (tmp_path / "weights").exists()


def test_what_is_asked_for_and_does_not_exist_is_named(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add(REPO, forms["hf"])
    hub.faults["LIST"] = [401, 403]
    for repo_id, revision, expected in (
        (REPO, "main", f"{hub.url} refuses {REPO} (401); accept its licence at {hub.url}/{REPO} if it has one"),
        (REPO, "main", f"{hub.url} refuses {REPO} (403); accept its licence"),
        ("someone/nothing", "main", f"{hub.url} has no someone/nothing, or it is private (404); check the name"),
        (REPO, "v9", f"{REPO} has no revision v9; expected a branch, a tag or a commit, see {hub.url}/{REPO}/commits"),
        ("not a name", "main", "'not a name' cannot be a repository; expected owner/name"),
    ):
        assert expected in sentence(script(repo_id, "weights", "--revision", revision))
    assert not (tmp_path / "weights").exists()


def test_a_repository_without_a_mixtral_is_refused(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    hub.add("no/weights", {"config.json": b"{}", "README.md": b"x"})
    assert "no/weights has no weights; expected model*.safetensors or" in sentence(script("no/weights", "a"))
    hub.add("no/config", {"model.safetensors": b"x"})
    assert "no/config has neither config.json nor params.json" in sentence(script("no/config", "b"))
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    hub.add("no/mixtral", {"config.json": b'{"hidden_size": 64, "num_attention_heads": 4}', "model.safetensors": b"x"})
    for _ in range(2):
        assert "no/mixtral cannot be repacked: c/config.json: num_" in sentence(script("no/mixtral", "c"))
    assert hub.asked("GET") == ["config.json"]


def test_what_cannot_be_repacked_is_refused_before_its_weights_are_fetched(forms, hub: Hub, script: Script) -> None:
    config, index = (json.loads(forms["hf"][name]) for name in ("config.json", "model.safetensors.index.json"))
    quantised = config | {"quantization_config": {"quant_method": "awq"}}
    adapters = {key.replace("q_proj.weight", "q_proj.lora_A.weight"): file for key, file in index["weight_map"].items()}
    for name, files, sentence_of_it in (
        ("quantised", {"config.json": quantised}, "the checkpoint is quantised (awq); expected bf16"),
        ("phi", {"config.json": config | {"model_type": "phimoe"}}, "it describes another model (model_type 'phimoe'"),
        ("clex", {"config.json": config | {"rope_scaling": {"type": "clex"}}}, "rope_scaling is of the type 'clex'"),
        ("lora", {"model.safetensors.index.json": {"weight_map": adapters}}, "holds LoRA adapters (model.layers.0"),
        ("half", {"model.safetensors.index.json": {"weight_map": {"lm_head.weight": SHARDS[0]}}}, "misses "),
        ("gone", {"model.safetensors.index.json": {"weight_map": {"a": "b"}}}, "someone/gone misses 1 of its files: b"),
    ):
        changed = {file: json.dumps(content).encode() for file, content in files.items()}
        hub.add(f"someone/{name}", forms["hf"] | changed)
        said = sentence(script(f"someone/{name}", name))
        assert sentence_of_it in said
        assert said.endswith("; its weights were not fetched\n")
    hub.add("someone/gguf", {"config.json": b"{}", "x.Q4_K_M.gguf": b"GGUF"})
    assert "someone/gguf holds GGUF files (x.Q4_K_M.gguf)" in sentence(script("someone/gguf", "gguf"))
    assert not [name for name in hub.asked("GET") if name.endswith((".safetensors", ".gguf"))]


def test_the_index_says_which_files_are_fetched(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    index = json.loads(forms["hf"]["model.safetensors.index.json"])
    where = {key: file.replace(SHARDS[1], "repaired.safetensors") for key, file in index["weight_map"].items()}
    overlay = forms["hf"] | {
        "repaired.safetensors": forms["hf"][SHARDS[1]],
        "model.safetensors": b"another copy",
        "model.safetensors.index.json": json.dumps({"weight_map": where}).encode(),
        "generation_config.json": b'{"eos_token_id": [2, 3]}',
    }
    hub.add(REPO, overlay)
    succeeded(script(REPO, "weights"))
    assert files(tmp_path / "weights") == {
        name: content for name, content in overlay.items() if name not in ("model.safetensors", SHARDS[1])
    }
    repack(tmp_path / "weights", tmp_path / "out")
    assert (tmp_path / "out" / "generation_config.json").read_bytes() == overlay["generation_config.json"]


def test_the_other_form_is_fetched_where_the_first_is_not_whole(
    forms, hub: Hub, script: Script, tmp_path: Path
) -> None:
    half = {name: content for name, content in forms["hf"].items() if name != SHARDS[1]}
    hub.add(REPO, forms["consolidated"] | half)
    succeeded(script(REPO, "weights"))
    assert SHARDS[0] not in hub.asked("GET")
    repack(tmp_path / "weights", tmp_path / "out")
    assert RepackedCheckpoint(tmp_path / "out").config.max_seq_len == 512


def test_the_longest_context_comes_along_with_mistrals_form(forms, hub: Hub, script: Script, tmp_path: Path) -> None:
    """Its own configuration has none."""
    params = json.loads(forms["consolidated"]["params.json"])
    del params["max_seq_len"]
    config = json.loads(forms["hf"]["config.json"]) | {"max_position_embeddings": 640}
    configurations = {"params.json": json.dumps(params).encode(), "config.json": json.dumps(config).encode()}
    hub.add(REPO, forms["consolidated"] | configurations)
    succeeded(script(REPO, "weights"))
    repack(tmp_path / "weights", tmp_path / "out")
    assert RepackedCheckpoint(tmp_path / "out").config.max_seq_len == 640

"""docs/operations.md: which operations the model calls, and what vouches for each.

.venv/bin/python -m tests.mock.operations_table      # writes it anew
"""

import ast
import tempfile
from collections import Counter
from pathlib import Path

from tests.mock.chip_usage import L1_BYTES_PER_CORE
from tests.mock.golden_cases import CASES, COLLECTIVES, MOVES
from tests.mock.program import SECTIONS, distinct_calls
from tests.mock.records import REPOSITORY, Records, make_records

FILE = REPOSITORY / "docs" / "operations.md"
_CPU = "tests/cpu_backend"
EXAMPLES = f"{_CPU}/test_worked_examples.py"
# operations without a golden function, or with one that says nothing: tests written from their description
ORACLES = {
    "concat": f"{_CPU}/test_data_movement.py::test_data_movement",
    "copy_host_to_device_tensor": (
        f"{_CPU}/test_tensors.py::test_copy_host_to_device_overwrites_in_place_and_through_views"
    ),
    "experimental.minimal_matmul": f"{_CPU}/test_operations.py::test_minimal_matmul",
    "experimental.nlp_concat_heads": f"{_CPU}/test_heads_and_rope.py::test_prefill_heads_are_joined_in_order",
    "experimental.nlp_concat_heads_decode": f"{_CPU}/test_heads_and_rope.py::test_decode_heads_are_joined_in_order",
    "experimental.nlp_create_qkv_heads": f"{_CPU}/test_heads_and_rope.py::test_prefill_heads",
    "experimental.nlp_create_qkv_heads_decode": f"{_CPU}/test_heads_and_rope.py::test_decode_heads",
    "experimental.paged_fill_cache": f"{_CPU}/test_attention.py::test_fill_writes_the_pages_of_the_users",
    "experimental.paged_fused_update_cache": f"{_CPU}/test_attention.py::test_fused_update_writes_both_caches",
    "experimental.rotary_embedding_llama": f"{_CPU}/test_heads_and_rope.py::test_prefill_rotation_turns_pairs",
    "experimental.rotary_embedding_llama_fused_qk": f"{_CPU}/test_heads_and_rope.py::test_fused_decode_rotation",
    "from_torch": "tests/mock/test_host_formats.py::test_same_bits",
    "manual_seed": f"{_CPU}/test_sampling.py::test_seeds",
    "sampling": f"{_CPU}/test_sampling.py::test_frequencies",
    "scatter": f"{_CPU}/test_operations.py::test_scatter_skips_what_is_out_of_range",
    "sparse_matmul": f"{_CPU}/test_sparse_matmul.py::test_blocks_in_use_are_products_and_the_others_are_zero",
    "to_device": f"{_CPU}/test_tensors.py::test_shard_and_concatenate",
    "to_torch": f"{_CPU}/test_tensors.py::test_shard_and_concatenate",
}
_HEAD = """# What vouches for every operation that the model calls

Made by `.venv/bin/python -m tests.mock.operations_table`; `tests/mock/test_operations_table.py` compares it.

Both libraries, each in a process of its own, built the model, stepped once plainly and once noting the chosen experts,
took its prefills, and gave the logits of every position of two prompts; one recorder wrote down every call: operation,
arguments, each output's shape, padded shape, dtype, layout and memory config. The two records are compared line by
line. `cpu` and `mock` count the different lines: calls that the CPU backend and the real ttnn on the mocked T3000 took.
The last column says what vouches for the values that the CPU backend computes: ttnn's own golden function, with the
number of calls compared on random inputs, or a test with an independent oracle. A worked
example is a test in `{examples}` with numbers that follow by hand from ttnn's description.

Not in the records: traces, of which the mock has empty ones (`tests/mock/live_trace.py`), and the weight cache's files.

Models, and the prompts of their prefills in tokens:

{programs}

| operation | cpu | mock | values |
|---|---|---|---|
"""
_USAGE_HEAD = f"""
## On each chip

Mixtral 8x7B's sizes, from the graph capture of ttnn on the mocked T3000. L1 is per core, of
{L1_BYTES_PER_CORE:,} bytes: the most that one program's kernels reserve, that tensors take, and that both take at once.
32k tokens are two passes.

| precision | program | device operations per layer | L1 reserved | L1 tensors | L1 in all |
|---|---|---|---|---|---|
"""


def golden_calls() -> Counter[str]:
    """Calls compared with a golden function in `test_golden`, by operation."""
    return Counter([case.operation for case in CASES] + list(MOVES) + 2 * list(COLLECTIVES))


def worked_examples() -> dict[str, str]:
    """The text of each test in EXAMPLES, by the operation that the test is named after."""
    text = (REPOSITORY / EXAMPLES).read_text(encoding="utf-8")
    tests = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_"]
    return {test.name.removeprefix("test_"): ast.get_source_segment(text, test) or "" for test in tests}


def vouched_for(operation: str) -> str:
    golden = golden_calls()[operation]
    example = ", worked example" if operation.split(".")[-1] in worked_examples() else ""
    if golden:
        return f"golden function, {golden} {'call' if golden == 1 else 'calls'}{example}"
    return f"`{ORACLES[operation]}`{example}" if operation in ORACLES else "**nothing**"


def table(records: Records) -> str:
    cpu, mock = distinct_calls(records.cpu), distinct_calls(records.mock)
    rows = [
        f"| `{name}` | {cpu.get(name, 0)} | {mock.get(name, 0)} | {vouched_for(name)} |"
        for name in sorted({*cpu, *mock})
    ]
    total = f"| all {len(rows)} | {sum(cpu.values())} | {sum(mock.values())} | |"
    used = [
        f"| {usage.preset} | {usage.program} | {usage.per_layer} | "
        f"{usage.l1.reserved:,} | {usage.l1.tensors:,} | {usage.l1.total:,} |"
        for usage in records.usages
    ]
    programs = [f"- {name}: {', '.join(map(_prompts, section.prefills))}" for name, section in SECTIONS.items()]
    head = _HEAD.format(examples=EXAMPLES, programs="\n".join(programs))
    return head + "\n".join([*rows, total, _USAGE_HEAD.rstrip(), *used]) + "\n"


def _prompts(lengths: tuple[int, ...]) -> str:
    return " + ".join(str(length) for length in lengths)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        FILE.parent.mkdir(exist_ok=True)
        FILE.write_text(table(make_records(Path(folder))), encoding="utf-8")


if __name__ == "__main__":
    main()

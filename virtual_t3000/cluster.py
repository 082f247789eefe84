"""The cluster descriptors that ttnn's driver reads in place of a machine: 8 Wormhole chips, joined as in a T3000."""

import json
from typing import Any

CHIPS = range(8)
# chip, ethernet channel, chip, ethernet channel: a 2x4 grid of chips, two links on every edge
LINKS = (
    *((0, 6, 2, 6), (0, 7, 2, 7), (0, 8, 4, 0), (0, 9, 4, 1), (0, 14, 1, 14), (0, 15, 1, 15), (1, 0, 3, 0)),
    *((1, 1, 3, 1), (1, 8, 5, 0), (1, 9, 5, 1), (2, 8, 6, 0), (2, 9, 6, 1), (2, 14, 3, 14), (2, 15, 3, 15)),
    *((3, 8, 7, 0), (3, 9, 7, 1), (4, 6, 5, 6), (4, 7, 5, 7), (6, 6, 7, 6), (6, 7, 7, 7)),
)
ROW_OF_CHIP = (1, 1, 2, 2, 0, 0, 3, 3)
CHIP_BEHIND_PCIE = (0, 1, 3, 2)  # by PCIe device
N300_BOARD = 0x0100014511700000  # ttnn reads the kind of board from these bits
HARVESTED_ROWS = (544, 513, 640, 513, 576, 513, 513, 528)  # any masks with two bits set: that leaves 8x8 workers
N150_BOARD = 0x0100018511700000
ONE_HARVESTED_ROW = 512


def descriptor() -> str:
    """A T3000, on 4 n300 boards: the text of the descriptor, YAML, of which JSON is a part."""
    return json.dumps(_t3000(), indent=1)


def eight_n150() -> str:
    """The same chips on boards of their own, with one row of cores off: on the mock every check of fast dispatch then
    sees 8x8 worker cores, where on n300 boards some see 8x7."""
    cluster = _t3000()
    for chip in CHIPS:
        cluster["harvesting"][chip]["harvest_mask"] = ONE_HARVESTED_ROW
    boards = [[{"board_id": N150_BOARD + chip}, {"board_type": "n150"}, {"chips": [chip]}] for chip in CHIPS]
    with_pcie = [{chip: chip} for chip in CHIPS]
    own = {"chip_to_boardtype": dict.fromkeys(CHIPS, "n150"), "boards": boards, "chips_with_mmio": with_pcie}
    return json.dumps(cluster | own, indent=1)


def _t3000() -> dict[str, Any]:
    return {
        "arch": {chip: "wormhole_b0" for chip in CHIPS},
        "chips": {chip: [ROW_OF_CHIP[chip], chip % 2, 0, 0] for chip in CHIPS},
        "chip_unique_ids": {chip: 1000 + chip for chip in CHIPS},
        "ethernet_connections": [[{"chip": a, "chan": i}, {"chip": b, "chan": j}] for a, i, b, j in LINKS],
        "ethernet_connections_to_remote_devices": [],
        "chips_with_mmio": [{chip: device} for chip, device in enumerate(CHIP_BEHIND_PCIE)],
        "harvesting": {
            chip: {
                "noc_translation": True,
                "harvest_mask": HARVESTED_ROWS[chip],
                "dram_harvesting_mask": 0,
                "eth_harvesting_mask": 0,
                "pcie_harvesting_mask": 0,
            }
            for chip in CHIPS
        },
        "chip_to_boardtype": {chip: "n300" for chip in CHIPS},
        "boards": [[{"board_id": N300_BOARD + i}, {"board_type": "n300"}, {"chips": [4 + i, i]}] for i in range(4)],
    }

"""The published measurements that the cost model is fitted on and compared with, and the models that they are of."""

import csv
from dataclasses import dataclass, replace
from pathlib import Path

from models.mixtral8x7b.cost.tt_transformers import MIXTRAL, Machine, Model

FILE = Path(__file__).with_suffix(".csv")
MODELS = {
    "Llama-3.2-1B": Model(2048, 16, 32, 8, 64, 8192, 128256),
    "Llama-3.2-3B": Model(3072, 28, 24, 8, 128, 8192, 128256),
    "Llama-3.1-8B": Model(4096, 32, 32, 8, 128, 14336, 128256),
    "Llama-3.1-70B": Model(8192, 80, 64, 8, 128, 28672, 128256),
    "Mistral-7B": Model(4096, 32, 32, 8, 128, 14336, 32768),
    "Mistral-Small-24B": Model(5120, 40, 32, 8, 128, 32768, 131072),
    "Qwen2.5-7B": Model(3584, 28, 28, 4, 128, 18944, 152064),
    "Qwen2.5-32B": Model(5120, 64, 40, 8, 128, 27648, 152064),
    "Qwen2.5-72B": Model(8192, 80, 64, 8, 128, 29568, 152064),
    "QwQ-32B": Model(5120, 64, 40, 8, 128, 27648, 152064),
    "Qwen3-8B": Model(4096, 36, 32, 8, 128, 12288, 151936),
    "Qwen3-32B": Model(5120, 64, 64, 8, 128, 25600, 151936),
    "Phi-3-mini": Model(3072, 32, 32, 32, 96, 8192, 32064),
    "Phi-4": Model(5120, 40, 40, 10, 128, 17920, 100352),
    "Mixtral-8x7B": MIXTRAL,
}
SHORT_NAMES = {"Llama-70B": "Llama-3.1-70B", "Llama-8B": "Llama-3.1-8B"}
DTYPES = {"bf16": "BFLOAT16", "bfp8": "BFLOAT8_B", "bfp4": "BFLOAT4_B"}
FIDELITIES = {"bf16": "HiFi4", "bfp8": "HiFi2", "bfp4": "LoFi"}
CHIPS = {"N150": 1, "N300": 2, "T3000": 8, "WH Galaxy": 32}


@dataclass(frozen=True)
class Row:
    role: str  # fit or check
    looked_at: str
    id: str
    hardware: str
    what: str
    batch: int
    length: int
    precision: str
    metric: str
    value: float
    unit: str
    source: str
    date: str

    @property
    def is_newer(self) -> bool:
        """Of the era from 2026-04 on; "2026" alone is."""
        return self.date >= "2026-04" or self.date == "2026"

    @property
    def chosen_on_chips(self) -> bool:
        return self.date >= "2026-07" or "on device" in self.what or self.id.startswith("qwen3-8b.")

    @property
    def machine(self) -> Machine:
        n = CHIPS[self.hardware]
        older = not self.is_newer
        return Machine(n, "line" if n == 2 else "ring", older, links=4 if n == 32 else 1)

    @property
    def model(self) -> Model:
        """As the row's precision says."""
        found = next((m for m in sorted(MODELS, key=len, reverse=True) if m.lower() in self.id.lower()), None)
        found = found or next((long for short, long in SHORT_NAMES.items() if short in self.id), None)
        if found is None:
            found = {"galaxy70b": "Llama-3.1-70B", "acc": "Llama-3.2-1B", "mixtral": "Mixtral-8x7B"}[
                self.id.split(".")[0]
            ]
        model = MODELS[found]
        if self.precision.startswith("MLP bfp8"):
            attention = ("BFLOAT8_B", "HiFi2") if "Llama" in found else ("BFLOAT16", "HiFi4")
            model = replace(model, gate_up=("BFLOAT8_B", "HiFi2"), attention=attention)
        elif self.id.startswith("acc."):
            up, down = (part.split()[1] for part in self.precision.split("; "))
            model = replace(model, gate_up=(DTYPES[up], FIDELITIES[up]), down=(DTYPES[down], FIDELITIES[down]))
        return model


def rows(role: str) -> list[Row]:
    with FILE.open(encoding="utf-8", newline="") as file:
        return [
            Row(
                *(row[key] for key in ("role", "looked_at", "id", "hardware", "what")),
                int(row["batch"] or 1),
                int(row["length"]) if row["length"].isdigit() else 128,
                row["precision"],
                row["metric"],
                float(row["value"]),
                *(row[key] for key in ("unit", "source", "date")),
            )
            for row in csv.DictReader(file)
            if row["role"] == role
        ]

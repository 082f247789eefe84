"""What vllm-tt-plugin loads: EXTRA_MODELS_DIR is the folder above this one (docs/vllm.md).

The plugin puts this folder behind all others of the path, and tt-metal has a package `models` of its own: ours is added
to whatever stands under that name.
"""

import sys
from pathlib import Path

from vllm_tt_plugin.async_decode import TTAsyncDecodeController

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT))

import models  # noqa: E402

if str(ROOT / "models") not in models.__path__:
    models.__path__.append(str(ROOT / "models"))

from models.mixtral8x7b.vllm.contracts import CommandedMixtral, ResetMixtral  # noqa: E402

# A plugin that gives commands has this method; those before it would take a model that wants them for one without.
GIVES_COMMANDS = hasattr(TTAsyncDecodeController, "plan_decode_reload")


class MixtralForCausalLM(CommandedMixtral if GIVES_COMMANDS else ResetMixtral):  # type: ignore[misc]
    pass

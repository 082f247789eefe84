"""The one table of accuracy thresholds, for trained weights with rounding on (the tiny checkpoints).

The CPU backend rounds once per operation, so what it measures is an upper bound of what chips reach; a threshold here
guards the program, not the silicon. Where the reference is undecided between two tokens nothing can be asked of top-1,
hence MARGIN: on 4 % of story positions two bf16 logits tie exactly.
"""

from dataclasses import dataclass

MODULE_PCC = 0.999  # modules without an expert, of every layer, pooled over 32 users x 64 positions of stories
WARM_UP_PCC = 0.998  # logits of test_mixtral_model.py: ten steps of 32 users, pooled
MARGIN = 0.5  # top-1 is asked for where the reference's best logit leads by more
ROUTER_MARGIN = 0.03  # of router logits: closer, a simulated chip's rounding may choose another expert
TOP_1 = {"answers": 0.99, "stories": 0.995}
RIGHT_ANSWERS = 31  # of the 32 demo questions: a demonstration, it does not detect errors


@dataclass(frozen=True)
class Bounds:
    """What depends on how a preset stores the experts."""

    expert_pcc: float  # of an expert, and of modules with experts
    logits_pcc: dict[str, float]
    top_1: float  # on stories, everywhere
    top_5: float  # the reference's first is among the five first
    kl: float
    perplexity: float  # by which part of itself it may differ from the reference's


BOUNDS = {
    "performance": Bounds(0.999, {"answers": 0.998, "stories": 0.999}, 0.97, 1.0, 0.0002, 0.002),
    "accuracy": Bounds(0.999, {"answers": 0.998, "stories": 0.999}, 0.97, 1.0, 0.0002, 0.002),
    "mixed": Bounds(0.992, {"answers": 0.998, "stories": 0.998}, 0.97, 1.0, 0.0004, 0.003),
    "bfp4": Bounds(0.985, {"answers": 0.996, "stories": 0.995}, 0.94, 0.995, 0.002, 0.005),
}
# root mean square errors of single matmuls at full inner size, least and most
BFP8_ERROR = (0.006, 0.018)
BFP4_ERROR = (0.10, 0.16)


def module_pcc(name: str, preset: str) -> float:
    """Of a module, by its name."""
    return BOUNDS[preset].expert_pcc if name.endswith(("moe", "decoder")) else MODULE_PCC

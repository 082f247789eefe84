"""A model behind the engine: what a command that answers needs of it, before it is loaded and then."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

from models.mixtral8x7b.checkpoint.repacked import INSTRUCT
from models.mixtral8x7b.checkpoint.tiny import TINY_NOTE
from models.mixtral8x7b.cli.model_options import ModelOptions
from models.mixtral8x7b.cli.options import settings_with
from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.engine.engine import Engine, Options
from models.mixtral8x7b.engine.interface import EngineInterface
from models.mixtral8x7b.machine import chosen_machine
from models.mixtral8x7b.paging import blocks_for
from models.mixtral8x7b.pipeline.opened import StageOptions
from models.mixtral8x7b.target import NUMBERS_OF, builds_programs, can_trace, chosen_target
from models.mixtral8x7b.tokenizer import Tokenizer
from models.mixtral8x7b.tt.engine_model import EngineModel
from models.mixtral8x7b.tt.loading import load
from models.mixtral8x7b.tt.memory_plan import BANKS, MemoryPlan, plan
from models.mixtral8x7b.tt.mesh import check_split, open_mesh
from models.mixtral8x7b.tt.open_checkpoint import open_checkpoint
from models.mixtral8x7b.tt.precision import preset

LOOKED_UP = ("embedding", "rotary tables")


@dataclass(frozen=True)
class Served:
    """A model that answers, till the block of `Prepared.serving` ends."""

    engine: EngineInterface
    tokenizer: Tokenizer
    max_context: int
    weight_bytes: int | None  # that a chip reads for a decode step; None where no chip does: it has no speed to tell


class Prepared:
    """A model that can be loaded: what is known of it before. `use_target` must have been called.

    Raises what is wrong with options, checkpoint or tokenizer as a Mistake.
    """

    def __init__(self, options: ModelOptions) -> None:
        settings, self._target = settings_with(options.checkpoint), chosen_target(options.target)
        self._machine = chosen_machine(self._target, options.fabric)
        self._options, self._precision = options, preset(options.precision, self._machine)
        self._checkpoint, self._cache = open_checkpoint(settings, None)
        config = self._checkpoint.config
        self.max_context = config.longest_context if options.context is None else options.context
        if self.max_context < 2:
            raise ConfigError(f"--context is {self.max_context}; expected at least 2: one token to read, one to answer")
        config.check_context(self.max_context)
        check_split(config, options.chips)
        self.tokenizer = Tokenizer(settings.tokenizer or self._checkpoint.directory)
        self.tokenizer.check_vocab_size(config.vocab_size)
        self.is_instruct = self._checkpoint.flavour == INSTRUCT
        self.title = (
            f"{self._checkpoint.directory.name}, {self._checkpoint.n_parameters():,} parameters, precision "
            f"{self._precision.name}, on target {self._target}"
        )
        self.note = NUMBERS_OF[self._target] + (f". {TINY_NOTE}" if settings.checkpoint is None else "")

    @contextmanager
    def serving(
        self, lengths: Sequence[int], how: Options | None = None, notes_experts: bool = False
    ) -> Iterator[Served]:
        """Loads it, for requests of these lengths in tokens, prompt and answer: side by side as far as the chips'
        memory goes, beyond that in turns. notes_experts: a request may ask for its experts."""
        options, n_tokens = self._options, self.tokenizer.vocab_size
        blocks = [blocks_for(length) for length in lengths]
        planned = plan(
            self._checkpoint.config,
            self._precision,
            options.chips,
            sum(blocks),
            self.max_context,
            n_tokens=n_tokens,
            notes_experts=notes_experts,
        )
        n_blocks = max(max(blocks), min(sum(blocks), planned.max_blocks))
        with open_mesh(options.chips, self._machine.fabric) as mesh:
            model = load(
                self._checkpoint,
                self._cache,
                self._precision,
                mesh,
                n_blocks,
                self.max_context,
                n_tokens,
                options.cache_only,
                notes_experts,
            )
            on_chips = builds_programs(self._target)
            traced = can_trace(self._target) and self._machine.trace == "on"
            to_engine = EngineModel(model, traced, warm=on_chips, at_once=not on_chips)
            with Engine(to_engine, how or Options()) as engine:
                weight_bytes = _read_in_a_step(planned) if self._target == "device" else None
                yield Served(engine, self.tokenizer, self.max_context, weight_bytes)

    def in_stages(self, n_stages: int, users: int) -> list[StageOptions]:
        """The layers cut into so many stages, for as many groups with room for so many full contexts each, as far as
        the chips' memory goes. Raises ConfigError."""
        config, options, n_tokens = self._checkpoint.config, self._options, self.tokenizer.vocab_size
        if not 1 <= n_stages <= config.n_layers:
            raise ConfigError(f"--stages is {n_stages}; expected 1 to {config.n_layers}, the number of layers")
        ends = [config.n_layers * number // n_stages for number in range(n_stages + 1)]
        largest = replace(config, n_layers=-(-config.n_layers // n_stages))
        needed = blocks_for(self.max_context)
        n_blocks = users * needed
        planned = plan(
            largest, self._precision, options.chips, n_stages * n_blocks, self.max_context, n_tokens=n_tokens
        )
        planned.check(n_stages * needed)
        return [
            StageOptions(
                self._checkpoint.directory,
                self._cache,
                self._target,
                first,
                end,
                n_stages,
                max(needed, min(n_blocks, planned.max_blocks // n_stages)),
                self.max_context,
                options.precision,
                options.chips,
                options.fabric,
                n_tokens,
                options.cache_only,
            )
            for first, end in pairwise(ends)
        ]


def _read_in_a_step(planned: MemoryPlan) -> int:
    """Bytes of weights on a chip, but for those that are looked up."""
    return BANKS * sum(n_bytes for kind, n_bytes in planned.weights().items() if kind not in LOOKED_UP)

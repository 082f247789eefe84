"""What completions and chats may both be asked for. Every field may be null, which is as if it were not there."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from models.mixtral8x7b.host_rows.params import MOST_BIAS, MOST_PENALTY, MOST_REPETITION
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.grammar import Matcher
from models.mixtral8x7b.server.service import Service
from models.mixtral8x7b.server.structure import ResponseFormat, StructuredOutputs
from models.mixtral8x7b.server.text import SomeText

MOST_CHOICES = 128
MOST_WORDS, LONGEST_WORD = 1024, 1024  # stop strings and bad words, characters of each
Word = Annotated[SomeText, Field(max_length=LONGEST_WORD)]
Words = Annotated[list[Word], Field(max_length=MOST_WORDS)]
Penalty = Annotated[float | None, Field(ge=-MOST_PENALTY, le=MOST_PENALTY)]


class StreamOptions(BaseModel):
    """include_usage: a last event has it; continuous_usage_stats: every event does."""

    model_config = ConfigDict(strict=True, extra="allow")
    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class Fields(BaseModel):
    """OpenAI's, then vLLM's; the last is our own. docs/serving.md says what each does."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)

    model: str | None = None
    temperature: Annotated[float | None, Field(ge=0, le=2)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    n: Annotated[int | None, Field(ge=1, le=MOST_CHOICES)] = None
    stop: Word | Words | None = None
    seed: Annotated[int | None, Field(ge=-(2**63), lt=2**63)] = None
    presence_penalty: Penalty = None
    frequency_penalty: Penalty = None
    logit_bias: dict[str, Annotated[float, Field(ge=-MOST_BIAS, le=MOST_BIAS)]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    top_k: Annotated[int | None, Field(ge=-1)] = None
    min_p: Annotated[float | None, Field(ge=0, le=1)] = None
    repetition_penalty: Annotated[float | None, Field(ge=1 / MOST_REPETITION, le=MOST_REPETITION)] = None
    min_tokens: Annotated[int | None, Field(ge=0)] = None
    ignore_eos: bool | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool | None = None
    allowed_token_ids: list[int] | None = None
    bad_words: Words | None = None
    return_tokens_as_token_ids: bool | None = None
    cache_salt: SomeText | None = None
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    experts: bool | None = None

    # Fields that would change the answer, which is refused: with the values that ask for nothing.
    NOT_OFFERED: ClassVar[dict[str, tuple[Any, ...]]] = {
        "use_beam_search": (False,),
        "length_penalty": (1,),
        "early_stopping": (False,),
        "skip_special_tokens": (True,),
        "spaces_between_special_tokens": (True,),
        "truncate_prompt_tokens": (),
        "prompt_logprobs": (),
        "guided_json": (),
        "guided_regex": (),
        "guided_choice": (),
        "guided_grammar": (),
        "logits_processors": ([],),
    }

    def check(self, service: Service) -> None:
        """Raises ApiError for what is known and not offered, or does not go together."""
        service.check_model(self.model)
        for name, value in (self.model_extra or {}).items():
            neutral = self.NOT_OFFERED.get(name)
            if neutral is None:
                service.tell_once(f"the field {name[:60]!r} of a request has no meaning here and is ignored")
            elif value is not None and value not in neutral:
                raise ApiError(f"{name} is not offered here; leave it out", param=name, code="unsupported_parameter")
        if self.experts and service.engine.experts is None:
            message = "experts are asked for, which this server does not note; start it with --experts, or leave it out"
            raise ApiError(message, param="experts", code="unsupported_parameter")
        if self.stream_options is not None and not self.stream:
            raise ApiError(
                "stream_options is given without stream; set stream, or leave it out", param="stream_options"
            )

    def grammar(self, service: Service) -> Callable[[], Matcher] | None:
        """What every answer must look like; None: anything. Raises ApiError; may take a second."""
        wanted = None if self.response_format is None else self.response_format.grammar(service.grammars)
        if self.structured_outputs is None:
            return wanted
        if wanted is not None:
            message = "response_format and structured_outputs are both given; leave one of them out"
            raise ApiError(message, param="structured_outputs")
        return self.structured_outputs.grammar(service.grammars)

    @property
    def n_choices(self) -> int:
        return self.n or 1

    @property
    def stops(self) -> list[str]:
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

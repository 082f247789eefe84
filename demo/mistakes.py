"""What a user can get wrong: these errors carry one sentence, which is all that is shown."""

from demo.prompts import PromptsError
from models.mixtral8x7b.checkpoint.weights import CheckpointError
from models.mixtral8x7b.config import ConfigError
from models.mixtral8x7b.generator import RequestError
from models.mixtral8x7b.tokenizer import TokenizerError

MISTAKES = (ConfigError, CheckpointError, TokenizerError, PromptsError, RequestError)

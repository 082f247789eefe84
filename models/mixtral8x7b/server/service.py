"""What every route knows."""

import hashlib
import logging
import time
from dataclasses import dataclass, field
from functools import cached_property

from models.mixtral8x7b.engine.interface import EngineInterface
from models.mixtral8x7b.server.errors import ApiError
from models.mixtral8x7b.server.grammar import Grammars
from models.mixtral8x7b.server.metrics import Metrics
from models.mixtral8x7b.tokenizer import Tokenizer

MOST_BODY_BYTES = 16 << 20
DRAINING = "the server is being stopped and takes no more requests; ask another, or this one when it is back"


@dataclass
class Service:
    """One model that is served. Changed in the thread of the event loop only.

    created        of the model, for clients: seconds since 1970
    is_draining    it ends when those who are being answered have been
    n_open         requests that are being answered
    """

    engine: EngineInterface
    tokenizer: Tokenizer
    max_context: int
    model_name: str = "mixtral"
    api_key: str | None = None
    allowed_origins: tuple[str, ...] = ()
    most_body_bytes: int = MOST_BODY_BYTES
    version: str = "0.1.0"  # of this project, see pyproject.toml
    created: int = field(default_factory=lambda: int(time.time()))
    is_draining: bool = False
    n_open: int = 0
    _told: set[str] = field(default_factory=set)

    @cached_property
    def metrics(self) -> Metrics:
        return Metrics(self.engine, self.model_name)

    @cached_property
    def grammars(self) -> Grammars:
        """Made by the first who asks for one."""
        return Grammars(self.tokenizer)

    @property
    def trouble(self) -> str | None:
        """Why it takes no requests; None: it does."""
        return self.engine.failure or (DRAINING if self.is_draining else None)

    @cached_property
    def key_digest(self) -> bytes | None:
        return None if self.api_key is None else hashlib.sha256(self.api_key.encode()).digest()

    def check_model(self, name: str | None) -> None:
        """Raises ApiError for one that is not served; none is this one."""
        if name is not None and name != self.model_name:
            message = (
                f"there is no model {name[:60]!r} here; the only one is {self.model_name!r}: name it, or leave it out"
            )
            raise ApiError(message, status=404, param="model", code="model_not_found")

    def tell_once(self, sentence: str) -> None:
        """In the log."""
        if sentence not in self._told and len(self._told) < 1000:
            self._told.add(sentence)
            logging.getLogger(__name__).warning(sentence)

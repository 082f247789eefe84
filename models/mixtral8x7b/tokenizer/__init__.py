"""Text to token ids and back, in whatever form a checkpoint brings its tokenizer. Knows nothing of tensors or models.

errors  added_tokens                          what every other file here knows
finding  beside                               which file it is; what stands beside it
sentencepiece_file  json_file                 the two kinds of tokenizer files
roles  template  chat  call_form              who says what; how a chat is written for a model, and calls in it
stream  stops  answer                         text as it comes, up to where it stops
tokenizer  conversation                       all of it together; a chat of many turns
"""

from models.mixtral8x7b.tokenizer.answer import Answer
from models.mixtral8x7b.tokenizer.call_form import CallForm
from models.mixtral8x7b.tokenizer.conversation import Conversation
from models.mixtral8x7b.tokenizer.errors import ChatError, StopError, TokenizerError
from models.mixtral8x7b.tokenizer.stream import StreamDecoder
from models.mixtral8x7b.tokenizer.tokenizer import Tokenizer

__all__ = [
    "Answer",
    "CallForm",
    "ChatError",
    "Conversation",
    "StopError",
    "StreamDecoder",
    "Tokenizer",
    "TokenizerError",
]

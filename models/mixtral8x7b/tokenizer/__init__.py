"""Text to token ids and back, in whatever form a checkpoint brings its tokenizer. Knows nothing of tensors or models.

errors  added_tokens                          what every other file here knows
finding  beside                               which file it is; what stands beside it
sentencepiece_file  json_file                 the two kinds of tokenizer files
roles  template  chat                         who says what; how a chat is written for a model
stream  tokenizer                             text as it comes; all of it together
"""

from models.mixtral8x7b.tokenizer.errors import ChatError, TokenizerError
from models.mixtral8x7b.tokenizer.stream import StreamDecoder
from models.mixtral8x7b.tokenizer.tokenizer import Tokenizer

__all__ = ["ChatError", "StreamDecoder", "Tokenizer", "TokenizerError"]

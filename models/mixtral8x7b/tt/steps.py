"""What the layers are told about one decode step, and about one prefill chunk. Everything in them is on the chips."""

from dataclasses import dataclass

import ttnn

from models.mixtral8x7b.tt.rope import Rotation


@dataclass(frozen=True)
class DecodeStep:
    """32 rows, one token each; a row without a user has position -1."""

    rotation: Rotation
    positions: ttnn.Tensor  # int32 [32]: where each row's token stands
    page_table: ttnn.Tensor  # int32 [32, blocks per user]


@dataclass(frozen=True)
class PrefillChunk:
    """The same positions start .. start + length - 1 of n_users users, one after the other in rows."""

    n_users: int
    start: int
    length: int
    rotation: Rotation
    fill_table: ttnn.Tensor  # int32 [n_users, length / 64]: blocks for this chunk's keys and values, -1: throw away
    page_table: ttnn.Tensor  # int32 [n_users, (start + length) / 64]: blocks of this chunk and all before
    batch_indices: ttnn.Tensor  # int32 [n_users]: 0, 1, ...: the row of the fill table of each user

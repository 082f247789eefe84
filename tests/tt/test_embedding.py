import pytest
import torch
import ttnn

from models.mixtral8x7b.tt.embedding import Embedding
from models.mixtral8x7b.tt.mesh import Placement, open_mesh
from tests.tt.cases import DEVICES, random_ids, reference, sliceable_config, weights_of

CONFIG = sliceable_config(vocab_size=1024)


@pytest.mark.parametrize("n_devices", DEVICES)
def test_rows_are_the_tables_bit_for_bit_with_rounding_on(n_devices: int) -> None:
    table = reference(CONFIG).tok_embeddings.weight
    with open_mesh(n_devices) as mesh:
        embedding = Embedding(weights_of(reference(CONFIG), mesh), mesh)
        for n_rows in (32, 512):
            ids = random_ids(CONFIG, 1, 1, 1, n_rows)
            ids[..., :2] = torch.tensor([0, CONFIG.vocab_size - 1])
            if n_rows == 32:
                rows = mesh.read_replicated(embedding.forward_decode(mesh.put(ids.int(), ttnn.uint32)))
            else:
                split = mesh.put(ids.int(), ttnn.uint32, placement=Placement.SPLIT_COLUMNS)
                rows = mesh.read_rows(embedding.forward_prefill(split))
            assert torch.equal(rows[0, 0].float(), table[ids[0, 0, 0]])

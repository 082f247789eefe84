"""A T3000 that is not there, for the real ttnn: mocked chips, or simulated ones.

    os.environ.update(virtual_t3000.prepare_mock(folder))        # before anything imports ttnn
    os.environ.update(virtual_t3000.prepare_simulator(folder, library, sfpi, n_chips))
    virtual_t3000.note_operations()                              # imports ttnn

mock        validation, program building and allocation run; kernels are compiled if there is a compiler, none runs
simulator   the same, and the kernels run, on Tenstorrent's functional simulator, which the user brings

Stand-alone: imports nothing from the rest of the repository. Seen to work with ttnn 0.81.1. What neither can tell is
speed; what the mock cannot tell either: values, kernels that hang, traces.
"""

from virtual_t3000.mock import prepare_mock
from virtual_t3000.private_folder import VirtualChipsError
from virtual_t3000.simulator import prepare_simulator
from virtual_t3000.witness import note_operations

__all__ = ["VirtualChipsError", "note_operations", "prepare_mock", "prepare_simulator"]

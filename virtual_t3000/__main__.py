"""Says whether a T3000 can be mocked here: exits with 0, or with 1 and the reason.

.venv/bin/python -m virtual_t3000
"""

import sys

from virtual_t3000.private_folder import VirtualChipsError
from virtual_t3000.runtime_root import installed_ttnn

if __name__ == "__main__":
    try:
        installed_ttnn()
    except VirtualChipsError as error:
        sys.exit(f"the mocked T3000 is left out: {error}")

from ttnn_cpu import *  # noqa: F403

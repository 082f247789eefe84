"""One machine as a cluster for a test: as many replicas of the tiny checkpoint as a line of stdin says; "replicas are
there" is the answer. Runs where Ray is installed, not where the tests run.

    python -m tests.long.ray_driver PORT
"""

import sys
import time

import ray
from ray import serve

from serving.ray_app import Options, build

MOST = 2


def main() -> None:
    ray.init("local", num_cpus=4, resources={"t3000": MOST}, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    for line in sys.stdin:
        n_replicas = abs(int(line))
        if line.startswith("-"):  # only waits for so many: to deploy again replaces all
            while running() != n_replicas:
                time.sleep(0.5)
            print(n_replicas, "replicas are there", flush=True)
            continue
        options = Options(target="cpu", context=512, min_replicas=n_replicas, max_replicas=n_replicas)
        serve.run(build(options), name="mixtral", route_prefix="/")
        print(n_replicas, "replicas are there", flush=True)
    serve.shutdown()
    ray.shutdown()


def running() -> int:
    states = serve.status().applications["mixtral"].deployments["mixtral"].replica_states
    return sum(n for state, n in states.items() if state == "RUNNING")


if __name__ == "__main__":
    main()

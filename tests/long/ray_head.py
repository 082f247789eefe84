"""One machine as a cluster for a test: a head node with so many of the resource t3000, whose address is printed. Ends
when stdin does. Runs where Ray is installed, not where the tests run.

    python -m tests.long.ray_head N
"""

import sys

import ray


def main() -> None:
    context = ray.init(
        "local", num_cpus=4, resources={"t3000": int(sys.argv[1])}, include_dashboard=False, log_to_driver=False
    )
    print(context.address_info["gcs_address"], flush=True)
    sys.stdin.read()
    ray.shutdown()


if __name__ == "__main__":
    main()

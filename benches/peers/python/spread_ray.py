"""Work spread by Ray over two workers: `spread_ray.py WORKLOAD UNITS...`.

skewed: tasks, as many at a time as there are CPUs. stuck: two actors, the first half of the list for one of them,
the other half for the other one, all at once; an actor is a process, whose threads share one CPU.
"""

import logging
import sys

import ray

from work import GAUGE, loops, measure, spin


@ray.remote(num_cpus=1)
def task(turns):
    return spin(turns)


@ray.remote(num_cpus=1, max_concurrency=8)
class Worker:
    def spin(self, turns):
        return spin(turns)


def main(workload, units):
    ray.init(num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    unit = loops()
    if workload == "skewed":
        gauge = lambda: ray.get([task.remote(GAUGE * unit) for _ in range(2)])
        run = lambda: ray.get([task.remote(count * unit) for count in units])
    else:
        workers = [Worker.remote() for _ in range(2)]
        half = len(units) // 2
        gauge = lambda: ray.get([worker.spin.remote(GAUGE * unit) for worker in workers])
        run = lambda: ray.get(
            [workers[at // half].spin.remote(count * unit) for at, count in enumerate(units)]
        )
    measure(run, gauge)
    ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], [int(count) for count in sys.argv[2:]])

"""Work spread by Dask over two workers: `spread_dask.py WORKLOAD UNITS...`.

skewed: futures, all submitted at once. stuck: the first half of the list is for one worker, the other half for the other one;
a worker is a process, whose threads share one CPU.
"""

import logging
import sys

from distributed import Client, LocalCluster, wait

from work import GAUGE, loops, measure, spin


def main(workload, units):
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1 if workload == "skewed" else len(units) // 2,
        dashboard_address=None,
        silence_logs=logging.ERROR,
    )
    client = Client(cluster)
    unit = loops()
    names = list(client.scheduler_info()["workers"])

    def on(worker, count):
        return client.submit(spin, count * unit, workers=[worker], pure=False)

    def run():
        if workload == "skewed":
            wait([client.submit(spin, count * unit, pure=False) for count in units])
        else:
            half = len(units) // 2
            wait([on(names[at // half], count) for at, count in enumerate(units)])

    measure(run, lambda: wait([on(name, GAUGE) for name in names]))
    client.close()
    cluster.close()


if __name__ == "__main__":
    main(sys.argv[1], [int(count) for count in sys.argv[2:]])

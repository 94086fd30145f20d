"""Work of a known amount, and how fast it gets done."""

import time

# Units by which the speed is measured.
GAUGE = 1000


def spin(turns):
    x = 1
    for _ in range(turns):
        x = (x * 1103515245 + 12345) & 0x7FFFFFFF
    return x


def loops():
    """Turns of the loop in about a millisecond."""
    turns = 1000
    while True:
        begun = time.monotonic()
        spin(turns)
        took = time.monotonic() - begun
        if took > 0.05:
            return int(turns / took / 1000)
        turns *= 2


def measure(run, gauge):
    """Says seconds from the first start to the last end; and those of a unit while both are busy, before and after."""

    def seconds(do):
        begun = time.monotonic()
        do()
        return time.monotonic() - begun

    # The first time programs are still being loaded.
    gauge()
    before = seconds(gauge) / GAUGE
    took = seconds(run)
    after = seconds(gauge) / GAUGE
    print(took, before, after)

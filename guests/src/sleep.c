// Sleeps with nanosleep (poll_oneoff on a clock) and says whether the clock agrees.
//
// usage: sleep [MILLISECONDS] [TIMES]

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static long long now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv) {
    long milliseconds = argc > 1 ? atol(argv[1]) : 20;
    int times = argc > 2 ? atoi(argv[2]) : 5;
    long long wanted = milliseconds * 1000000LL;
    struct timespec pause = {milliseconds / 1000, milliseconds % 1000 * 1000000L};
    for (int i = 1; i <= times; i++) {
        long long before = now_ns();
        if (nanosleep(&pause, NULL) != 0) return 1;
        long long slept = now_ns() - before;
        printf("sleep %d %s\n", i, slept < 0 ? "backwards" : slept < wanted ? "short" : "ok");
        fflush(stdout);
    }
    return 0;
}

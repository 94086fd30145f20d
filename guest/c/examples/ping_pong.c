/* Two processes and bytes between them. peri run --local ping_pong.wasm [ROUNDS] */
#include "../peripatos.h"
#include <stdio.h>
#include <time.h>

/* Replies with the next number, to whoever sends one. */
static void pong(void) {
    uint64_t number;
    peri_envelope from;
    int length = peri_receive(&number, sizeof number, &from);
    while (length == sizeof number) {
        number++;
        length = peri_reply_receive(&from, &number, sizeof number, &number, sizeof number);
    }
}

PERI_SPAWNED(pong)

static double seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1000;
    uint64_t number = 0;
    peri_pid to;
    if (peri_spawn(NULL, NULL, 0, &to) < 0) return 1;
    double begun = seconds();
    for (int round = 0; round < rounds; round++) {
        /* The reply comes where the message is. */
        if (peri_send(&to, &number, sizeof number, &number, sizeof number) < 0) return 1;
    }
    printf("%llu round trips\n", (unsigned long long)number);
    fprintf(stderr, "%.0f ns each\n", (seconds() - begun) / rounds * 1e9);
    return 0;
}

/* One client, and two servers that do the same: a handler of another program, and a receive loop of this one.
 *
 * peri run --local --with adder_handler.wasm adder.wasm */
#include "../peripatos.h"
#include <stdio.h>

/* The server: begins with the sum that it was given. */
static void serve(void) {
    int64_t sum = 0, number;
    peri_envelope from;
    peri_argument(&sum, sizeof sum);
    while (peri_receive(&number, sizeof number, &from) == sizeof number) {
        sum += number;
        peri_reply(&from, &sum, sizeof sum);
    }
}

PERI_SPAWNED(serve)

static int64_t add(const peri_pid *to, int64_t number) {
    int64_t sum;
    int result = peri_send(to, &number, sizeof number, &sum, sizeof sum);
    if (result == sizeof sum) return sum;
    fprintf(stderr, "no answer: %d\n", result);
    exit(1);
}

int main(void) {
    peri_pid handler, server;
    int64_t first = 1000;
    if (peri_spawn("adder_handler", NULL, 0, &handler) < 0) return 1;
    if (peri_spawn(NULL, &first, sizeof first, &server) < 0) return 1;
    for (int64_t number = 1; number < 10; number++) {
        add(&handler, number);
        add(&server, number);
    }
    printf("the handler says %lld\n", (long long)add(&handler, 10));
    printf("the loop says %lld\n", (long long)add(&server, 10));
    return 0;
}

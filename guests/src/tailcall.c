// Tail calls: loops that have no back-edge. Mutual recursion, a long loop made of tail calls alone,
// and a state machine that tail-calls through a table of functions.
//
// usage: tailcall [COUNT]

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define TAIL __attribute__((musttail)) return

static int is_odd(uint32_t n);

__attribute__((noinline)) static int is_even(uint32_t n) {
    if (n == 0) return 1;
    TAIL is_odd(n - 1);
}

__attribute__((noinline)) static int is_odd(uint32_t n) {
    if (n == 0) return 0;
    TAIL is_even(n - 1);
}

// Calls itself only: without a check at its entry it could never be stopped. (optnone: the optimiser
// would turn it into a loop.)
__attribute__((noinline, optnone)) static uint64_t accumulate(uint64_t total, uint32_t n) {
    if (n == 0) return total;
    TAIL accumulate(total * 6364136223846793005u + n, n - 1);
}

typedef uint64_t (*state)(uint64_t value, uint32_t left);
static state states[4];

static uint64_t rotate(uint64_t value, uint32_t left) {
    value = value << 7 | value >> 57;
    if (left == 0) return value;
    TAIL states[value & 3](value, left - 1);
}
static uint64_t add(uint64_t value, uint32_t left) {
    value += 0x9e3779b97f4a7c15u;
    if (left == 0) return value;
    TAIL states[(value >> 3) & 3](value, left - 1);
}
static uint64_t invert(uint64_t value, uint32_t left) {
    value = ~value * 3;
    if (left == 0) return value;
    TAIL states[(value >> 5) & 3](value, left - 1);
}
static uint64_t mix(uint64_t value, uint32_t left) {
    value ^= value >> 31;
    if (left == 0) return value + left;
    TAIL states[(value + left) & 3](value, left - 1);
}

int main(int argc, char **argv) {
    uint32_t count = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000000;
    states[0] = rotate, states[1] = add, states[2] = invert, states[3] = mix;
    printf("even %d odd %d\n", is_even(count), is_odd(count));
    printf("accumulate %016llx\n", (unsigned long long)accumulate(1, count));
    printf("states %016llx\n", (unsigned long long)states[0](count, count));
    return 0;
}

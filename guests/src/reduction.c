// A long reduction: after one call, a loop that only reads memory, without a store or a call in it.
// A check that hides behind "something may have changed" would never see the flag here.
//
// usage: reduction [PASSES]

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { WORDS = 1 << 18 };

static uint32_t words[WORDS];

__attribute__((noinline)) static void prepare(void) {
    uint32_t seed = 42;
    for (uint32_t i = 0; i < WORDS; i++) words[i] = seed = seed * 1664525u + 1013904223u;
}

__attribute__((noinline)) static uint64_t reduce(uint32_t passes) {
    uint64_t sum = 0;
    for (uint32_t pass = 0; pass < passes; pass++) {
        for (uint32_t i = 0; i < WORDS; i++) sum = (sum ^ words[i]) * 31 + pass;
    }
    return sum;
}

int main(int argc, char **argv) {
    uint32_t passes = argc > 1 ? (uint32_t)atoi(argv[1]) : 400;
    prepare();
    printf("reduction %u %016llx\n", (unsigned)passes, (unsigned long long)reduce(passes));
    return 0;
}

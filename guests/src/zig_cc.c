// An ordinary C program for `zig cc`: another linker set-up, another libc build than clang's.
//
// usage: zig_cc [COUNT]
// Sieve, quicksort through a function pointer, strings, and floating point formatting.

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    uint32_t count = argc > 1 ? (uint32_t)atoi(argv[1]) : 20000;
    uint8_t *composite = calloc(count + 1, 1);
    uint32_t *primes = malloc((count + 1) * sizeof *primes);
    if (!composite || !primes) return 1;

    uint32_t found = 0;
    for (uint32_t i = 2; i <= count; i++) {
        if (composite[i]) continue;
        primes[found++] = i * 2654435761u;
        for (uint32_t j = i * 2; j <= count; j += i) composite[j] = 1;
    }
    qsort(primes, found, sizeof *primes, ascending);
    uint32_t hash = 0;
    for (uint32_t i = 0; i < found; i++) hash = hash * 31 + primes[i];

    double sum = 0;
    for (uint32_t i = 1; i <= count; i++) sum += sqrt(i) / i;
    char text[64];
    snprintf(text, sizeof text, "%.6f", sum);
    printf("zig_cc %u primes %u hash %08x sum %s (%u)\n", (unsigned)count, (unsigned)found, (unsigned)hash, text,
           (unsigned)strlen(text));
    return 0;
}

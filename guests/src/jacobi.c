// 1-D Jacobi relaxation: a three-point f64 stencil swept over a rod with fixed ends.
//
// usage: jacobi [SWEEPS]
// Prints a hash over the bits of the temperatures. The loop is bound by floating point alone, which
// makes it the worst case for anything added to a back-edge.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_SWEEPS = 20000, POINTS = 32768 };

static double rod[2][POINTS];

static void sweep(double *restrict next, const double *restrict now) {
    for (size_t i = 1; i + 1 < POINTS; i++) next[i] = 0.25 * now[i - 1] + 0.5 * now[i] + 0.25 * now[i + 1];
}

int main(int argc, char **argv) {
    unsigned sweeps = argc > 1 ? (unsigned)atoi(argv[1]) : DEFAULT_SWEEPS;
    for (size_t i = 0; i < POINTS; i++) rod[0][i] = rod[1][i] = (double)((i * 7919) % 1009);
    for (unsigned s = 0; s < sweeps; s++) sweep(rod[(s + 1) & 1], rod[s & 1]);

    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < POINTS; i++) {
        uint64_t bits;
        memcpy(&bits, &rod[sweeps & 1][i], sizeof bits);
        h = (h ^ bits) * 1099511628211u;
    }
    printf("jacobi %u hash %016llx\n", sweeps, (unsigned long long)h);
    return 0;
}

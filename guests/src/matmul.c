// Dense f64 matrix multiply: a hot inner loop of loads, stores and floating point, without calls.
//
// usage: matmul [N]
// Prints a hash over the bits of the N x N product. Entries are small integers and their sums stay
// below 2^53, so that the result is exact whatever the order of the additions.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEFAULT_N = 800 };

static void fill(double *matrix, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n * n; i++) {
        seed = seed * 1664525u + 1013904223u;
        matrix[i] = (double)(seed >> 24) - 128.0;
    }
}

// Row by row: the inner loop runs along a row of `b` and of `c`.
static void multiply(double *restrict c, const double *restrict a, const double *restrict b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < n; k++) {
            double factor = a[i * n + k];
            for (size_t j = 0; j < n; j++) c[i * n + j] += factor * b[k * n + j];
        }
    }
}

static uint64_t hash(const double *values, size_t count) {
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        h = (h ^ bits) * 1099511628211u;
    }
    return h;
}

int main(int argc, char **argv) {
    size_t n = argc > 1 ? (size_t)atoi(argv[1]) : DEFAULT_N;
    double *a = malloc(n * n * sizeof *a), *b = malloc(n * n * sizeof *b), *c = calloc(n * n, sizeof *c);
    if (!a || !b || !c) return 1;
    fill(a, n, 1);
    fill(b, n, 2);
    multiply(c, a, b, n);
    printf("matmul %u hash %016llx\n", (unsigned)n, (unsigned long long)hash(c, n * n));
    return 0;
}

// Naive recursion: the cost of a call, and of the check after it.
//
// usage: fib [N]
// Prints fib(N).

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_N = 38 };

// noinline keeps the compiler from unrolling the recursion into a loop over its own copies.
__attribute__((noinline)) static uint64_t fib(uint32_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

int main(int argc, char **argv) {
    uint32_t n = argc > 1 ? (uint32_t)atoi(argv[1]) : DEFAULT_N;
    printf("fib %u = %llu\n", (unsigned)n, (unsigned long long)fib(n));
    return 0;
}

// Recurses until the stack is exhausted: the runtime's stack by default, the program's own shadow
// stack (which grows down into address 0) with the argument "shadow".

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#pragma clang diagnostic ignored "-Winfinite-recursion"

static volatile uint32_t sink;

__attribute__((noinline)) static uint32_t plain(uint32_t n) {
    return plain(n + 1) * 3 + n;
}

__attribute__((noinline)) static uint32_t shadow(uint32_t n) {
    volatile char frame[4096];
    frame[n % sizeof frame] = (char)n;
    return shadow(n + 1) + (uint32_t)frame[0];
}

int main(int argc, char **argv) {
    puts("descending");
    fflush(stdout);
    sink = argc > 1 && strcmp(argv[1], "shadow") == 0 ? shadow(0) : plain(0);
    puts("never");
    return 0;
}

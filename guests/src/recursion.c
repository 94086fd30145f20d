// Deep recursion: tens of thousands of frames that are all alive at once.
//
// usage: recursion [DEPTH]

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

// The result depends on work after the call, so that this cannot become a loop.
__attribute__((noinline)) static uint32_t descend(uint32_t depth, uint32_t salt) {
    if (depth == 0) return salt;
    uint32_t below = descend(depth - 1, salt * 1664525u + depth);
    return (below ^ salt) * 16777619u + depth;
}

int main(int argc, char **argv) {
    uint32_t depth = argc > 1 ? (uint32_t)atoi(argv[1]) : 20000;
    uint32_t result = 0;
    for (uint32_t round = 0; round < 3; round++) result ^= descend(depth, round + 1);
    printf("recursion %u %08x\n", (unsigned)depth, (unsigned)result);
    return 0;
}

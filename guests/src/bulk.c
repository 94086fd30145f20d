// Large memory.fill and memory.copy with overlap in both directions: single instructions that run
// long enough to have to be interruptible.
//
// usage: bulk [MIB]

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t hash(const unsigned char *bytes, size_t length) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < length; i += 61) h = (h ^ bytes[i]) * 16777619u;
    return h;
}

int main(int argc, char **argv) {
    size_t length = (size_t)(argc > 1 ? atoi(argv[1]) : 16) << 20;
    unsigned char *bytes = malloc(length);
    if (!bytes) return 1;

    memset(bytes, 0xa5, length);
    printf("fill %08x\n", (unsigned)hash(bytes, length));
    for (size_t i = 0; i < length; i += 97) bytes[i] = (unsigned char)(i * 31 >> 4);
    printf("seed %08x\n", (unsigned)hash(bytes, length));
    memmove(bytes + 12345, bytes, length - 12345);
    printf("up   %08x\n", (unsigned)hash(bytes, length));
    memmove(bytes, bytes + 54321, length - 54321);
    printf("down %08x\n", (unsigned)hash(bytes, length));
    memset(bytes + length / 3, 0, length / 3);
    memcpy(bytes + length / 2, bytes, length / 4);
    printf("mix  %08x\n", (unsigned)hash(bytes, length));
    free(bytes);
    return 0;
}

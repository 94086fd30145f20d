// Compresses text-like data with zstd, decompresses it and compares.
//
// usage: zstd [KIB] [LEVEL]
// Prints sizes, a hash over the compressed bytes, and whether the round trip gave the input back.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zstd.h"

// A sentence of invented words, with repetitions at all distances.
static void fill(char *text, size_t length) {
    static const char letters[] = "etaoinshrdlucmfwypvbgk";
    uint32_t seed = 12345;
    size_t i = 0;
    while (i < length) {
        seed = seed * 1103515245u + 12345u;
        uint32_t random = seed >> 8;
        if (i > 4096 && random % 3 == 0) {
            size_t distance = random % 4000 + 8, count = random / 4096 % 24 + 4;
            for (size_t n = 0; n < count && i < length; n++, i++) text[i] = text[i - distance];
        } else {
            for (uint32_t n = random % 9 + 1; n > 0 && i < length; n--) {
                seed = seed * 1103515245u + 12345u;
                text[i++] = letters[(seed >> 16) % (sizeof letters - 1)];
            }
            if (i < length) text[i++] = ' ';
        }
    }
}

int main(int argc, char **argv) {
    size_t length = (size_t)(argc > 1 ? atoi(argv[1]) : 8192) << 10;
    int level = argc > 2 ? atoi(argv[2]) : 9;
    size_t bound = ZSTD_compressBound(length);
    char *text = malloc(length), *packed = malloc(bound), *unpacked = malloc(length);
    if (!text || !packed || !unpacked) return 1;

    fill(text, length);
    size_t size = ZSTD_compress(packed, bound, text, length, level);
    if (ZSTD_isError(size)) {
        printf("zstd: %s\n", ZSTD_getErrorName(size));
        return 1;
    }
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < size; i++) hash = (hash ^ (unsigned char)packed[i]) * 16777619u;

    size_t back = ZSTD_decompress(unpacked, length, packed, size);
    int same = back == length && memcmp(text, unpacked, length) == 0;
    printf("zstd level %d: %u -> %u hash %08x round trip %s\n", level, (unsigned)length, (unsigned)size,
           (unsigned)hash, same ? "ok" : "BROKEN");
    return same ? 0 : 1;
}

// Compresses or decompresses standard input to standard output with the bzip2 library, or measures itself.
//
// usage: bzip2 -c | -d          like bzip2 -9 and bzip2 -d, as a filter
//        bzip2 [KIB]            compresses generated text in memory and back, and compares

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bzlib.h"

enum { BLOCK_SIZE_100K = 9, BUFFER = 1 << 16 };

// The library calls this when it finds itself broken; it is built without stdio.
void bz_internal_error(int code) {
    fprintf(stderr, "bzip2: internal error %d\n", code);
    exit(3);
}

static int compress_or_expand(bz_stream *stream, int expand, int at_end) {
    if (expand) return BZ2_bzDecompress(stream);
    return BZ2_bzCompress(stream, at_end ? BZ_FINISH : BZ_RUN);
}

static int filter(int expand) {
    static char input[BUFFER], output[BUFFER];
    bz_stream stream = {0};
    int status = expand ? BZ2_bzDecompressInit(&stream, 0, 0) : BZ2_bzCompressInit(&stream, BLOCK_SIZE_100K, 0, 0);
    int at_end = 0;
    while (status >= BZ_OK && status != BZ_STREAM_END) {
        if (stream.avail_in == 0 && !at_end) {
            stream.next_in = input;
            stream.avail_in = (unsigned)fread(input, 1, sizeof input, stdin);
            at_end = stream.avail_in == 0;
        }
        stream.next_out = output;
        stream.avail_out = sizeof output;
        status = compress_or_expand(&stream, expand, at_end);
        size_t made = sizeof output - stream.avail_out;
        fwrite(output, 1, made, stdout);
        if (expand && at_end && made == 0 && status == BZ_OK) status = BZ_UNEXPECTED_EOF;
    }
    if (expand) BZ2_bzDecompressEnd(&stream);
    else BZ2_bzCompressEnd(&stream);
    if (status == BZ_STREAM_END && fflush(stdout) == 0) return 0;
    fprintf(stderr, "bzip2: failed (%d)\n", status);
    return 1;
}

static void fill(char *text, size_t length) {
    static const char *const words[] = {"freeze", "thaw", "process", "kernel", "image", "message", "walk", "node",
                                        "reply", "send", "receive", "forward", "group", "link", "packet", "move"};
    uint32_t seed = 1;
    size_t i = 0;
    while (i < length) {
        seed = seed * 1664525u + 1013904223u;
        const char *word = words[seed >> 28];
        while (*word && i < length) text[i++] = *word++;
        if (i < length) text[i++] = seed & 0x700000 ? ' ' : '\n';
    }
}

static int measure(size_t length) {
    unsigned packed_size = (unsigned)(length + length / 100 + 600), unpacked_size = (unsigned)length;
    char *text = malloc(length), *packed = malloc(packed_size), *unpacked = malloc(length);
    if (!text || !packed || !unpacked) return 1;

    fill(text, length);
    if (BZ2_bzBuffToBuffCompress(packed, &packed_size, text, (unsigned)length, BLOCK_SIZE_100K, 0, 0) != BZ_OK) return 1;
    uint32_t hash = 2166136261u;
    for (unsigned i = 0; i < packed_size; i++) hash = (hash ^ (unsigned char)packed[i]) * 16777619u;
    int status = BZ2_bzBuffToBuffDecompress(unpacked, &unpacked_size, packed, packed_size, 0, 0);
    int same = status == BZ_OK && unpacked_size == length && memcmp(text, unpacked, length) == 0;
    printf("bzip2: %u -> %u hash %08x round trip %s\n", (unsigned)length, packed_size, (unsigned)hash, same ? "ok" : "BROKEN");
    return same ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "-c") == 0) return filter(0);
    if (argc > 1 && strcmp(argv[1], "-d") == 0) return filter(1);
    return measure((size_t)(argc > 1 ? atoi(argv[1]) : 4096) << 10);
}

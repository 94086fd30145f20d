// v128 values that live across calls and loop back-edges.
//
// usage: simd [ROUNDS]

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <wasm_simd128.h>

// Takes and returns vectors; the call in the middle keeps `left` and `right` live.
__attribute__((noinline)) static v128_t scramble(v128_t value, uint32_t depth) {
    v128_t left = wasm_i32x4_shl(value, depth % 31 + 1);
    v128_t right = wasm_i64x2_add(value, wasm_i64x2_splat(0x9e3779b97f4a7c15));
    if (depth == 0) return wasm_v128_xor(left, right);
    v128_t below = scramble(wasm_i8x16_shuffle(left, right, 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31),
                            depth - 1);
    return wasm_i16x8_add(wasm_v128_xor(below, left), right);
}

__attribute__((noinline)) static v128_t step(v128_t position, v128_t speed) {
    return wasm_f32x4_add(position, wasm_f32x4_mul(speed, wasm_f32x4_splat(0.125f)));
}

int main(int argc, char **argv) {
    unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 1000;
    v128_t state = wasm_i32x4_make(1, 2, 3, 4);
    v128_t position = wasm_f32x4_make(0.0f, 1.0f, -1.0f, 0.5f);
    v128_t speed = wasm_f32x4_make(1.0f, -0.5f, 0.25f, 2.0f);
    for (unsigned i = 0; i < rounds; i++) {
        state = wasm_v128_xor(scramble(state, i % 12), wasm_i32x4_splat((int)i));
        position = step(position, speed);
        speed = wasm_f32x4_sub(speed, wasm_f32x4_mul(position, wasm_f32x4_splat(0.0625f)));
    }
    v128_t bits = wasm_v128_xor(state, position);
    printf("simd %u %016llx %016llx\n", rounds, (unsigned long long)wasm_i64x2_extract_lane(bits, 0),
           (unsigned long long)wasm_i64x2_extract_lane(bits, 1));
    return 0;
}

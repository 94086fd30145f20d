// setjmp/longjmp, which clang lowers to WebAssembly exceptions: out of deep recursion, repeatedly
// into the same frame, and between nested jump buffers.
//
// usage: setjmp [ROUNDS]

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

static jmp_buf outer, inner;

__attribute__((noinline)) static unsigned descend(jmp_buf where, int depth, int value) {
    if (depth == 0) longjmp(where, value);
    return descend(where, depth - 1, value) + 1;
}

// The inner handler sees odd values and passes even ones on to the outer one.
__attribute__((noinline)) static int nested(int value) {
    int caught = setjmp(inner);
    if (caught == 0) descend(inner, 5 + value % 7, value);
    if (caught % 2 == 0) descend(outer, 3, caught);
    return caught;
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 40;
    volatile int outer_count = 0;
    volatile unsigned long sum = 0;

    for (volatile int round = 1; round <= rounds; round++) {
        int value = setjmp(outer);
        if (value == 0) {
            sum = sum * 31 + (unsigned long)nested(round);
        } else {
            outer_count++;
            sum = sum * 33 + (unsigned long)value;
        }
    }

    volatile int again = 0;
    int returned = setjmp(inner);
    again++;
    if (returned < 5) longjmp(inner, returned + 1);

    printf("setjmp rounds %d outer %d sum %lu again %d returned %d\n", rounds, outer_count, sum, again, returned);
    return 0;
}

// Functions that return several values on the WebAssembly stack (clang's multi-value ABI), so that
// results, not memory, cross the check after the call.
//
// usage: multivalue [COUNT]

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

struct triple {
    int64_t gcd, x, y;
};

// Extended Euclid: gcd(a, b) = a * x + b * y.
__attribute__((noinline)) static struct triple euclid(int64_t a, int64_t b) {
    if (b == 0) return (struct triple){a, 1, 0};
    struct triple rest = euclid(b, a % b);
    return (struct triple){rest.gcd, rest.y, rest.x - a / b * rest.y};
}

struct mixed {
    float f;
    double d;
    int32_t i;
    int64_t l;
};

__attribute__((noinline)) static struct mixed turn(struct mixed m) {
    return (struct mixed){m.f * 0.5f + 1.0f, m.d * 0.25 + m.f, m.i * 31 + 7, m.l ^ (m.l << 3) ^ m.i};
}

static struct mixed (*volatile turn_pointer)(struct mixed) = turn;

int main(int argc, char **argv) {
    int count = argc > 1 ? atoi(argv[1]) : 500;
    int64_t sum = 0;
    struct mixed m = {0.0f, 0.0, 1, 2};
    for (int i = 1; i <= count; i++) {
        struct triple t = euclid(i * 7919, 1000003 - i);
        sum += t.gcd * 3 + t.x * 5 + t.y * 7;
        m = i % 2 ? turn(m) : turn_pointer(m);
    }
    printf("multivalue %d euclid %lld mixed %d %lld %d\n", count, (long long)sum, (int)m.i, (long long)m.l,
           (int)(m.d * 1000));
    return 0;
}

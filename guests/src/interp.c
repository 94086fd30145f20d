// A byte code interpreter whose every instruction is an indirect call, as in many scripting engines.
//
// usage: interp [LIMIT]
// The interpreted program counts the Collatz steps of all numbers below LIMIT and prints the total
// and how many instructions that took.

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { DEFAULT_LIMIT = 90000 };

// Registers: r[0] limit, r[1] start, r[2] value, r[3] steps, r[4] scratch.
struct machine {
    uint32_t r[8];
    uint32_t pc;
    int running;
};

struct instruction {
    uint8_t op, a, b;
    uint32_t immediate;
};

enum { MOVE, ADD_IMMEDIATE, SHIFT_RIGHT, TRIPLE_PLUS_ONE, JUMP, JUMP_IF_EVEN, JUMP_IF_ONE, JUMP_IF_LESS, HALT };

static void op_move(struct machine *m, const struct instruction *i) { m->r[i->a] = m->r[i->b]; }
static void op_add_immediate(struct machine *m, const struct instruction *i) { m->r[i->a] += i->immediate; }
static void op_shift_right(struct machine *m, const struct instruction *i) { m->r[i->a] >>= i->immediate; }
static void op_triple_plus_one(struct machine *m, const struct instruction *i) { m->r[i->a] = 3 * m->r[i->a] + 1; }
static void op_jump(struct machine *m, const struct instruction *i) { m->pc = i->immediate; }
static void op_jump_if_even(struct machine *m, const struct instruction *i) {
    if ((m->r[i->a] & 1) == 0) m->pc = i->immediate;
}
static void op_jump_if_one(struct machine *m, const struct instruction *i) {
    if (m->r[i->a] == 1) m->pc = i->immediate;
}
static void op_jump_if_less(struct machine *m, const struct instruction *i) {
    if (m->r[i->a] < m->r[i->b]) m->pc = i->immediate;
}
static void op_halt(struct machine *m, const struct instruction *i) {
    (void)i;
    m->running = 0;
}

// Not const, so that no compiler can turn the indirect calls into a switch.
typedef void (*handler)(struct machine *, const struct instruction *);
static handler handlers[] = {op_move, op_add_immediate, op_shift_right, op_triple_plus_one, op_jump,
                             op_jump_if_even, op_jump_if_one, op_jump_if_less, op_halt};

static const struct instruction collatz[] = {
    /* 0 */ {MOVE, 2, 1, 0},
    /* 1 */ {JUMP_IF_ONE, 2, 0, 8},
    /* 2 */ {ADD_IMMEDIATE, 3, 0, 1},
    /* 3 */ {JUMP_IF_EVEN, 2, 0, 6},
    /* 4 */ {TRIPLE_PLUS_ONE, 2, 0, 0},
    /* 5 */ {JUMP, 0, 0, 1},
    /* 6 */ {SHIFT_RIGHT, 2, 0, 1},
    /* 7 */ {JUMP, 0, 0, 1},
    /* 8 */ {ADD_IMMEDIATE, 1, 0, 1},
    /* 9 */ {JUMP_IF_LESS, 1, 0, 0},
    /* 10 */ {HALT, 0, 0, 0},
};

int main(int argc, char **argv) {
    struct machine m = {.running = 1};
    m.r[0] = argc > 1 ? (uint32_t)atoi(argv[1]) : DEFAULT_LIMIT;
    m.r[1] = 1;
    uint64_t executed = 0;
    while (m.running) {
        const struct instruction *next = &collatz[m.pc++];
        handlers[next->op](&m, next);
        executed++;
    }
    printf("interp %u steps %u instructions %llu\n", (unsigned)m.r[0], (unsigned)m.r[3], (unsigned long long)executed);
    return 0;
}

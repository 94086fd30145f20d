/* A server that is called on the stack of whoever sends to it: adds to its sum, and replies with that. See adder.c. */
#include "../peripatos.h"

static int64_t sum;

static int handle(const peri_envelope *from, char *message, int length) {
    int64_t number;
    (void)from;
    if (length != sizeof number) return 0;
    memcpy(&number, message, sizeof number);
    sum += number;
    memcpy(message, &sum, sizeof sum);
    return sizeof sum;
}

PERI_HANDLER(handle, sizeof sum)

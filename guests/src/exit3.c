// Leaves with exit code 3 out of nested calls, after the atexit handlers ran.

#include <stdio.h>
#include <stdlib.h>

static void last(void) { puts("last words"); }

__attribute__((noinline)) static void leave(int depth) {
    if (depth == 0) exit(3);
    leave(depth - 1);
    puts("never");
}

int main(void) {
    atexit(last);
    puts("leaving");
    leave(10);
    return 0;
}

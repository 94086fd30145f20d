/* The example of the README. peri run --local hello.wasm */
#include "../peripatos.h"
#include <stdio.h>

static void child(void) {                    /* begins here, because of PERI_SPAWNED */
    char name[32] = "";
    peri_argument(name, sizeof name);
    peri_pid parent = peri_parent();
    peri_send(&parent, name, strlen(name), NULL, 0);
}

PERI_SPAWNED(child)

int main(void) {
    peri_pid pid;
    peri_envelope from;
    char text[32];
    if (peri_spawn(NULL, "Theophrastus", 12, &pid) < 0) return 1;
    int length = peri_receive(text, sizeof text, &from);
    printf("%.*s is here\n", length, text);
    return peri_reply(&from, NULL, 0) < 0;   /* its sender goes on */
}

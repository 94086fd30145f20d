/* A program whose processes all begin in main: the first makes others, and tells them what to do as a command is told.
 *
 * peri run --local arguments.wasm */
#include "../peripatos.h"
#include <stdio.h>

static int child(int number, char **words) {
    char text[64] = "", reply[1];
    peri_pid parent = peri_parent();
    for (int i = 0; i < number; i++) {
        strcat(text, words[i]);
        strcat(text, i + 1 < number ? " " : "");
    }
    return peri_send(&parent, text, strlen(text), reply, sizeof reply) < 0;
}

int main(int argc, char **argv) {
    static const char args[] = "to\0whom\0it\0may\0concern";
    peri_pid pid;
    peri_envelope from;
    char text[64];
    if (argc > 1) return child(argc - 1, argv + 1);
    if (peri_spawn_args(NULL, args, sizeof args, NULL, 0, &pid) < 0) return 1;
    int length = peri_receive(text, sizeof text, &from);
    if (length < 0 || !peri_is(&from.from, &pid)) return 1;
    printf("%.*s\n", length, text);
    return peri_reply(&from, NULL, 0) < 0;
}

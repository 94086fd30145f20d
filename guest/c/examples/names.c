/* Processes with names, found and listed by others. peri run --local names.wasm */
#include "../peripatos.h"
#include <stdio.h>

/* Takes a name, says so, and keeps it until it is told to give it up. */
static void named(void) {
    char name[PERI_NAME_MAX + 1] = "", message[1];
    peri_envelope from;
    peri_pid parent = peri_parent();
    peri_argument(name, PERI_NAME_MAX);
    if (peri_register(name) < 0) exit(1);
    peri_send(&parent, NULL, 0, NULL, 0);
    peri_receive(message, sizeof message, &from);
    peri_unregister(name);
    peri_reply(&from, NULL, 0);
}

PERI_SPAWNED(named)

static peri_pid start(const char *name) {
    peri_pid pid;
    peri_envelope from;
    if (peri_spawn(NULL, name, strlen(name), &pid) < 0) exit(1);
    if (peri_receive_from(&pid, NULL, 0, &from, -1) < 0) exit(1);
    peri_reply(&from, NULL, 0);
    return pid;
}

static void list(const char *prefix) {
    char name[PERI_NAME_MAX + 1] = "";
    peri_pid pid;
    printf("%s:", prefix);
    while (peri_next_name(prefix, name, &pid) >= 0) printf(" %s", name);
    printf("\n");
}

int main(void) {
    peri_pid plato = start("greek/plato"), found;
    start("greek/aristotle");
    start("roman/seneca");
    if (peri_lookup("greek/plato", &found) < 0 || !peri_is(&found, &plato)) return 1;
    if (peri_register("greek/plato") != PERI_NAME_TAKEN) return 1;
    list("greek/");
    if (peri_send(&plato, NULL, 0, NULL, 0) < 0) return 1;
    list("greek/");
    return peri_lookup("greek/plato", &found) == PERI_NO_NAME ? 0 : 1;
}

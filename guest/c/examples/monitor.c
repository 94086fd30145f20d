/* Processes that end, and those who are told. peri run --local monitor.wasm */
#include "../peripatos.h"
#include <stdio.h>

/* Exits with the code that it was given; with none it waits for ever. */
static void child(void) {
    int32_t code;
    peri_envelope from;
    if (peri_argument(&code, sizeof code) == sizeof code) exit(code);
    peri_receive(NULL, 0, &from);
}

PERI_SPAWNED(child)

static void await_end(const char *what, const peri_pid *of) {
    peri_envelope ended;
    if (peri_monitor(of) < 0) exit(1);
    do {
        if (peri_receive(NULL, 0, &ended) < 0) exit(1);
    } while (ended.kind != PERI_ENDED || !peri_is(&ended.from, of));
    printf("%s: class %u, detail %u\n", what, peri_end_class(&ended), peri_end_detail(&ended));
}

int main(void) {
    peri_pid pid;
    int32_t codes[] = {0, 3};
    for (int i = 0; i < 2; i++) {
        if (peri_spawn(NULL, &codes[i], sizeof codes[i], &pid) < 0) return 1;
        await_end("exits", &pid);
    }
    if (peri_spawn(NULL, NULL, 0, &pid) < 0 || peri_end(&pid) < 0) return 1;
    await_end("is ended", &pid);
    await_end("has ended long ago", &pid);
    return 0;
}

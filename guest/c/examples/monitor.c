/* Processes that end, and those who are told. peri run --local monitor.wasm */
#include "../peripatos.h"
#include <stdio.h>

/* Waits until it is notified, and exits with the code that it was given. */
static void child(void) {
    int32_t code = 0;
    peri_envelope from;
    peri_argument(&code, sizeof code);
    peri_receive(NULL, 0, &from);
    exit(code);
}

PERI_SPAWNED(child)

static peri_pid start(int32_t code) {
    peri_pid pid;
    if (peri_spawn(NULL, &code, sizeof code, &pid) < 0 || peri_monitor(&pid) < 0) exit(1);
    return pid;
}

static void await_end(const char *what, const peri_pid *of) {
    peri_envelope ended;
    do {
        if (peri_receive(NULL, 0, &ended) < 0) exit(1);
    } while (ended.kind != PERI_ENDED || !peri_is(&ended.from, of));
    printf("%s: class %u, detail %u\n", what, peri_end_class(&ended), peri_end_detail(&ended));
}

int main(void) {
    int32_t codes[] = {0, 3};
    peri_pid pid;
    for (int i = 0; i < 2; i++) {
        pid = start(codes[i]);
        peri_notify(&pid, 1);
        await_end("exits", &pid);
    }
    pid = start(0);
    if (peri_end(&pid) < 0) return 1;
    await_end("is ended", &pid);
    if (peri_monitor(&pid) < 0) return 1;
    await_end("has ended long ago", &pid);
    return 0;
}

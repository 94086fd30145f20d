/* A megabyte that a server reads where its client has it. peri run --local lease.wasm */
#include "../peripatos.h"
#include <stdio.h>

/* Replies with the sum of all bytes that it is lent. */
static void sum(void) {
    static unsigned char part[4096];
    peri_envelope from;
    while (peri_receive(NULL, 0, &from) >= 0) {
        uint64_t total = 0;
        size_t offset = 0;
        int length;
        while ((length = peri_read_lease(&from, offset, part, sizeof part)) > 0) {
            for (int i = 0; i < length; i++) total += part[i];
            offset += (size_t)length;
        }
        peri_reply(&from, &total, sizeof total);
    }
}

PERI_SPAWNED(sum)

int main(void) {
    static unsigned char data[1 << 20];
    uint64_t total = 0;
    peri_pid pid;
    for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i / 4096);
    if (peri_spawn(NULL, NULL, 0, &pid) < 0) return 1;
    if (peri_send_lending(&pid, NULL, 0, data, sizeof data, PERI_LEASE_READ, &total, sizeof total) < 0) return 1;
    printf("sum %llu\n", (unsigned long long)total);
    return 0;
}

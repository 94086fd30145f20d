// Eats memory until malloc fails or LIMIT_MIB is reached, gives all back and uses what is left.
//
// usage: oom [LIMIT_MIB]
// wasm32 ends at 4 GiB; a runtime may stop it earlier. Either way the program goes on in good order.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK = 16 << 20, MAX_BLOCKS = 256 };

int main(int argc, char **argv) {
    int limit = argc > 1 ? atoi(argv[1]) / 16 : MAX_BLOCKS;
    if (limit > MAX_BLOCKS) limit = MAX_BLOCKS;
    static char *blocks[MAX_BLOCKS];
    int count = 0;
    while (count < limit && (blocks[count] = malloc(BLOCK))) {
        // One byte is written: the block exists, but hardly any of its pages.
        blocks[count][count * 4096] = (char)(count + 1);
        count++;
    }
    int intact = 1;
    for (int i = 0; i < count; i++) {
        if (blocks[i][i * 4096] != (char)(i + 1)) intact = 0;
        free(blocks[i]);
    }
    char *again = malloc(BLOCK);
    if (again) memset(again, 1, BLOCK);
    printf("%s %s %s\n", count == limit ? "limit" : "exhausted", intact ? "intact" : "damaged", again ? "recovered" : "lost");
    return 0;
}

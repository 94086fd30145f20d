// Runs a fixed workload, or SQL of the user's own, on SQLite.
//
// usage: sqlite [DATABASE] [ROWS]     the workload (default: ":memory:", 250000 rows)
//        sqlite DATABASE -             SQL from standard input; prints rows with | between columns

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite3.h"

static int print_row(void *unused, int count, char **values, char **names) {
    (void)unused, (void)names;
    for (int i = 0; i < count; i++) printf("%s%s", i ? "|" : "", values[i] ? values[i] : "NULL");
    putchar('\n');
    return 0;
}

static void run(sqlite3 *database, const char *sql) {
    char *message = NULL;
    if (sqlite3_exec(database, sql, print_row, NULL, &message) != SQLITE_OK) {
        fflush(stdout);
        fprintf(stderr, "sqlite: %s\n", message);
        exit(1);
    }
}

static void workload(sqlite3 *database, int rows) {
    char insert[256];
    snprintf(insert, sizeof insert,
             "with recursive c(i) as (select 1 union all select i + 1 from c where i < %d) "
             "insert into t select i, (i * 7919) %% 1009, printf('row%%06d', i) from c;", rows);
    run(database, "create table t(id integer primary key, k int, s text); create index by_k on t(k);");
    run(database, "begin");
    run(database, insert);
    run(database, "commit");
    run(database, "select count(*), sum(k), min(s), max(s) from t");
    run(database, "select k, count(*) n from t group by k order by n desc, k limit 3");
    run(database, "update t set k = k + 1 where id % 3 = 0; delete from t where id % 7 = 0;");
    run(database, "select count(*), sum(k), sum(length(s)) from t where s like '%7%'");
    run(database, "select a.id, b.s from t a join t b on a.k = b.id where a.id < 6 order by 1");
    run(database, "pragma integrity_check");
}

// Reads all of standard input and executes it.
static void from_input(sqlite3 *database) {
    size_t length = 0, capacity = 1 << 16, got;
    char *sql = malloc(capacity);
    while (sql && (got = fread(sql + length, 1, capacity - length - 1, stdin)) > 0) {
        length += got;
        if (capacity - length < 2) sql = realloc(sql, capacity *= 2);
    }
    if (!sql) exit(1);
    sql[length] = 0;
    run(database, sql);
    free(sql);
}

int main(int argc, char **argv) {
    sqlite3 *database;
    if (sqlite3_open(argc > 1 ? argv[1] : ":memory:", &database) != SQLITE_OK) {
        fprintf(stderr, "sqlite: %s\n", sqlite3_errmsg(database));
        return 1;
    }
    if (argc > 2 && strcmp(argv[2], "-") == 0) from_input(database);
    else workload(database, argc > 2 ? atoi(argv[2]) : 250000);
    return sqlite3_close(database) == SQLITE_OK ? 0 : 1;
}

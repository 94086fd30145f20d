/* Work spread over ranks: `spread WORKLOAD UNITS...`.
 *
 * skewed: rank 0 hands out, the others ask for the next one. Ranks: 3.
 * stuck: a task for each rank, the first half of the ranks on one CPU, the others on another. Ranks: 4.
 *
 * Says: seconds from the first start to the last end; seconds a unit takes while both CPUs are busy, before and after. */
#define _GNU_SOURCE
#include <mpi.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GAUGE = 1000, ASK = 1, GIVE = 2, DONE = -1 };

static volatile uint32_t sink;

static void spin(uint64_t turns) {
    uint32_t x = 1;
    for (uint64_t i = 0; i < turns; i++) {
        x = x * 1103515245u + 12345u;
        __asm__ volatile("" : "+r"(x));
    }
    sink = x;
}

/* Turns of the loop in about a millisecond. */
static uint64_t loops(void) {
    for (uint64_t turns = 1000;; turns *= 2) {
        double begun = MPI_Wtime();
        spin(turns);
        double took = MPI_Wtime() - begun;
        if (took > 0.05) return (uint64_t)((double)turns / took / 1000.0);
    }
}

/* Waits without taking the CPU from whoever works there. */
static void receive(int *word, int from, int tag, MPI_Status *status) {
    int here = 0;
    struct timespec nap = {0, 50000};
    while (MPI_Iprobe(from, tag, MPI_COMM_WORLD, &here, status), !here) nanosleep(&nap, NULL);
    MPI_Recv(word, 1, MPI_INT, status->MPI_SOURCE, tag, MPI_COMM_WORLD, status);
}

static void finish(MPI_Request *request) {
    int over = 0;
    struct timespec nap = {0, 50000};
    while (MPI_Test(request, &over, MPI_STATUS_IGNORE), !over) nanosleep(&nap, NULL);
}

static void barrier(void) {
    MPI_Request request;
    MPI_Ibarrier(MPI_COMM_WORLD, &request);
    finish(&request);
}

/* Two ranks work, all wait. */
static double gauge(int rank, int one, int two, uint64_t unit) {
    barrier();
    double begun = MPI_Wtime();
    if (rank == one || rank == two) spin(GAUGE * unit);
    barrier();
    return (MPI_Wtime() - begun) / GAUGE;
}

static void hand_out(int count, char **units, int workers) {
    for (int next = 0; workers > 0; next++) {
        int word = 0, give = next < count ? atoi(units[next]) : DONE;
        MPI_Status status;
        receive(&word, MPI_ANY_SOURCE, ASK, &status);
        MPI_Send(&give, 1, MPI_INT, status.MPI_SOURCE, GIVE, MPI_COMM_WORLD);
        if (give == DONE) workers--;
    }
}

static void pull(uint64_t unit) {
    for (;;) {
        int word = 0;
        MPI_Status status;
        MPI_Send(&word, 1, MPI_INT, 0, ASK, MPI_COMM_WORLD);
        receive(&word, 0, GIVE, &status);
        if (word == DONE) return;
        spin((uint64_t)word * unit);
    }
}

/* The first half of the ranks has the first CPU that there is, the others the second one. */
static void keep_to(int rank, int ranks) {
    cpu_set_t all, own;
    sched_getaffinity(0, sizeof all, &all);
    int wanted = rank < ranks / 2 ? 0 : 1;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all) && wanted-- == 0) {
            CPU_ZERO(&own);
            CPU_SET(cpu, &own);
            sched_setaffinity(0, sizeof own, &own);
            return;
        }
    }
}

int main(int argc, char **argv) {
    int rank = 0, ranks = 0;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks);
    if (argc < 2) MPI_Abort(MPI_COMM_WORLD, 2);
    int stuck = strcmp(argv[1], "stuck") == 0;
    if (ranks < (stuck ? 4 : 3) || (stuck && argc - 2 != ranks)) MPI_Abort(MPI_COMM_WORLD, 2);
    if (stuck) keep_to(rank, ranks);
    uint64_t unit = rank == 0 ? loops() : 0;
    MPI_Request told;
    MPI_Ibcast(&unit, 1, MPI_UINT64_T, 0, MPI_COMM_WORLD, &told);
    finish(&told);
    int one = stuck ? 0 : 1, two = stuck ? ranks / 2 : 2;
    double before = gauge(rank, one, two, unit);
    double begun = MPI_Wtime();
    if (stuck) {
        spin((uint64_t)atoi(argv[2 + rank]) * unit);
    } else if (rank == 0) {
        hand_out(argc - 2, argv + 2, ranks - 1);
    } else {
        pull(unit);
    }
    barrier();
    double took = MPI_Wtime() - begun;
    double after = gauge(rank, one, two, unit);
    if (rank == 0) printf("%f %f %f\n", took, before, after);
    MPI_Finalize();
    return 0;
}

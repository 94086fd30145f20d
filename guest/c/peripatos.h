/* Peripatos for C and C++: processes that make others and talk to them. One header; nothing to link.
 *
 * Build with any C compiler for wasm32-wasi. What the calls mean is in docs/messages.md; here is how they look.
 *
 * A negative result is one of PERI_*; nothing has happened then, if it is not said otherwise.
 *
 *   A client:                                   A server:
 *     peri_pid to;                                peri_envelope from; char message[256];
 *     peri_lookup("adder", &to);                  peri_register("adder");
 *     int n = peri_send(&to, "2 3", 3,            for (;;) {
 *                       reply, sizeof reply);         int n = peri_receive(message, sizeof message, &from);
 *                                                     if (n < 0 || from.kind != PERI_MESSAGE) continue;
 *                                                     ...
 *                                                     peri_reply(&from, answer, length);
 *                                                 }
 *
 * A handler is a server that is called for each message, on the stack of whoever sends it; that is several times
 * cheaper. It has no main. In one file of the program:
 *
 *     static int handle(const peri_envelope *from, char *message, int length) {
 *         message[0] += 1;           // the reply goes where the message was
 *         return length;             // its length
 *     }
 *     PERI_HANDLER(handle, 4096)     // at most 4096 bytes a message
 *
 * Link it with -mexec-model=reactor.
 *
 * A process that is spawned begins in main; or, if the program has it, in the function that is named once in one file
 * by PERI_SPAWNED:
 *
 *     static void child(void) { ... }
 *     PERI_SPAWNED(child)
 */
#ifndef PERIPATOS_H
#define PERIPATOS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A process. Whoever has its pid can send to it; it cannot be guessed. Nobody's is 0. */
typedef struct {
    uint64_t low, high;
} peri_pid;

/* What goes with a message that was received. */
typedef struct {
    peri_pid from;        /* of an end: who has ended; of a lost name: who has it */
    uint64_t transaction; /* of a notification: its bits; of an end: the reason, for peri_end_class and peri_end_detail */
    uint32_t length;      /* of the message, or of the name */
    uint32_t kind;        /* PERI_MESSAGE, PERI_NOTIFICATION, PERI_ENDED or PERI_NAME_LOST */
} peri_envelope;

/* What has been received. */
enum {
    PERI_MESSAGE = 0,      /* its sender waits for the reply */
    PERI_NOTIFICATION = 1, /* bits; nobody waits */
    PERI_ENDED = 2,        /* a process that is monitored has ended */
    PERI_NAME_LOST = 3     /* a name of this process is somebody else's; it lies where a message would */
};

/* How a process has ended. */
enum {
    PERI_EXITED = 0,    /* detail: the exit code */
    PERI_RAISED = 1,    /* detail: a signal, that it raised against itself */
    PERI_TRAPPED = 2,
    PERI_KILLED = 3,    /* somebody has ended it */
    PERI_LOST = 4,      /* its node cannot be reached: whether it has ended is not known */
    PERI_NOT_THERE = 5  /* nobody had this pid when it was to be monitored */
};

enum {
    PERI_WAIT = -1,        /* never seen by users of these functions */
    PERI_NO_PROCESS = -2,  /* nobody has this pid (any more) */
    PERI_UNREACHABLE = -3, /* its node cannot be reached; the outcome is not known */
    PERI_TOO_LONG = -4,    /* over PERI_MESSAGE_MAX, or no room for it */
    PERI_BAD_ADDRESS = -5,
    PERI_TIMED_OUT = -6,
    PERI_DEADLOCK = -7,    /* the receiver waits for the caller */
    PERI_NOT_WAITING = -8, /* nobody waits for this reply (any more) */
    PERI_FULL = -9,        /* too many messages wait for the receiver */
    PERI_NOT_NOW = -10,    /* a handler cannot receive */
    PERI_NAME_TAKEN = -11,
    PERI_NO_NAME = -12,
    PERI_NO_PROGRAM = -13, /* the run has no such program */
    PERI_NOT_PERMITTED = -14, /* also: nothing was lent so */
    PERI_TOO_MANY = -15    /* as many processes are there as may be */
};

/* Bytes of one message, of one reply, or of what a process is given when it is spawned. */
#define PERI_MESSAGE_MAX 65536
/* How a part of a sender's memory is lent. */
enum {
    PERI_LEASE_READ = 1,
    PERI_LEASE_WRITE = 2
};

/* Bytes of a name. */
#define PERI_NAME_MAX 256

/* Members of a group. */
#define PERI_MEMBERS_MAX 1024

#define PERI_IMPORT(name) __attribute__((import_module("peripatos_v1"), import_name(name)))
#ifdef __cplusplus
#define PERI_EXPORT(name) extern "C" __attribute__((export_name(name)))
#else
#define PERI_EXPORT(name) __attribute__((export_name(name)))
#endif

/* The calls as the kernel has them. */
PERI_IMPORT("send") int32_t peri_v1_send(const void *to, const void *message, uint32_t length, void *reply, uint32_t room);
PERI_IMPORT("receive") int32_t peri_v1_receive(const void *from, void *buffer, uint32_t room, void *envelope, int64_t timeout_ns);
PERI_IMPORT("reply") int32_t peri_v1_reply(const void *envelope, const void *message, uint32_t length);
PERI_IMPORT("reply_receive") int32_t peri_v1_reply_receive(void *envelope, const void *message, uint32_t length, const void *from,
                                                           void *buffer, uint32_t room, int64_t timeout_ns);
PERI_IMPORT("forward") int32_t peri_v1_forward(const void *envelope, const void *to, const void *message, uint32_t length);
PERI_IMPORT("lend") int32_t peri_v1_lend(const void *address, uint32_t length, uint32_t rights);
PERI_IMPORT("lease") int32_t peri_v1_lease(const void *envelope);
PERI_IMPORT("read_lease") int32_t peri_v1_read_lease(const void *envelope, uint32_t offset, void *buffer, uint32_t length);
PERI_IMPORT("write_lease") int32_t peri_v1_write_lease(const void *envelope, uint32_t offset, const void *bytes, uint32_t length);
PERI_IMPORT("notify") int32_t peri_v1_notify(const void *to, uint64_t bits);
PERI_IMPORT("wait") int32_t peri_v1_wait(void);
PERI_IMPORT("own_pid") int32_t peri_v1_own_pid(void *pid);
PERI_IMPORT("parent") int32_t peri_v1_parent(void *pid);
PERI_IMPORT("devices") int32_t peri_v1_devices(void *pid);
PERI_IMPORT("argument") int32_t peri_v1_argument(void *buffer, uint32_t room);
PERI_IMPORT("spawn") int32_t peri_v1_spawn(const void *program, uint32_t program_length, const void *args, uint32_t args_length,
                                           const void *argument, uint32_t argument_length, void *pid);
PERI_IMPORT("monitor") int32_t peri_v1_monitor(const void *pid);
PERI_IMPORT("unmonitor") int32_t peri_v1_unmonitor(const void *pid);
PERI_IMPORT("link") int32_t peri_v1_link(const void *pid);
PERI_IMPORT("unlink") int32_t peri_v1_unlink(const void *pid);
PERI_IMPORT("end") int32_t peri_v1_end(const void *pid);
PERI_IMPORT("register") int32_t peri_v1_register(const char *name, uint32_t length);
PERI_IMPORT("unregister") int32_t peri_v1_unregister(const char *name, uint32_t length);
PERI_IMPORT("lookup") int32_t peri_v1_lookup(const char *name, uint32_t length, void *pid);
PERI_IMPORT("next_name") int32_t peri_v1_next_name(const char *prefix, uint32_t prefix_length, const char *after,
                                                   uint32_t after_length, char *name, uint32_t room, void *pid);

PERI_IMPORT("join") int32_t peri_v1_join(const char *name, uint32_t length);
PERI_IMPORT("leave") int32_t peri_v1_leave(const char *name, uint32_t length);
PERI_IMPORT("members") int32_t peri_v1_members(const char *name, uint32_t length, void *pids, uint32_t room);
PERI_IMPORT("send_all") int32_t peri_v1_send_all(const char *name, uint32_t name_length, const void *message, uint32_t length,
                                                 void *reply, uint32_t room, uint32_t mode);

/* The linker's: what main has behind it when it begins. */
void __wasm_call_ctors(void);

/* --- Messages --- */

/* Sends, and waits for the reply: its length. The reply may come where the message is. */
static inline int peri_send(const peri_pid *to, const void *message, size_t length, void *reply, size_t room) {
    int32_t result = peri_v1_send(to, message, (uint32_t)length, reply, (uint32_t)room);
    return result == PERI_WAIT ? peri_v1_wait() : result;
}

/* Waits for a message of `from`, or of anybody if that is NULL, for so many nanoseconds (negative: for ever): its length.
 * PERI_TOO_LONG: it does not fit; the envelope says how long it is, and it can be received again. */
static inline int peri_receive_from(const peri_pid *from, void *buffer, size_t room, peri_envelope *envelope,
                                    int64_t timeout_ns) {
    int32_t result = peri_v1_receive(from, buffer, (uint32_t)room, envelope, timeout_ns);
    return result == PERI_WAIT ? peri_v1_wait() : result;
}

/* Waits for a message of anybody: its length. */
static inline int peri_receive(void *buffer, size_t room, peri_envelope *envelope) {
    return peri_receive_from(NULL, buffer, room, envelope, -1);
}

/* Replies to a message: its sender goes on. Does not wait. May be done at any time after the message was received. */
static inline int peri_reply(const peri_envelope *to, const void *message, size_t length) {
    return peri_v1_reply(to, message, (uint32_t)length);
}

/* Replies to a message, and waits for the next one of anybody: its length. The envelope is first the one to reply to and then the
 * one received; the message may be received where the reply is. A negative answer is of either, and nothing has been received:
 * after PERI_NOT_WAITING peri_receive is next, after another one the reply may have gone. */
static inline int peri_reply_receive(peri_envelope *envelope, const void *reply, size_t length, void *buffer, size_t room) {
    int32_t result = peri_v1_reply_receive(envelope, reply, (uint32_t)length, NULL, buffer, (uint32_t)room, -1);
    return result == PERI_WAIT ? peri_v1_wait() : result;
}

/* Hands a message on to another process, which replies in one's stead. Does not wait. */
static inline int peri_forward(const peri_envelope *from, const peri_pid *to, const void *message, size_t length) {
    return peri_v1_forward(from, to, message, (uint32_t)length);
}

/* Sets bits for a process, which gets all that have been set with its next receive. Does not wait; whether it is there
 * is not told. */
static inline int peri_notify(const peri_pid *to, uint64_t bits) {
    return peri_v1_notify(to, bits);
}

/* --- Leases: more than a message holds --- */

/* Sends, and lends a part of one's memory (PERI_LEASE_READ, PERI_LEASE_WRITE, or both) to whoever has the message, until
 * the reply is there. */
static inline int peri_send_lending(const peri_pid *to, const void *message, size_t length, const void *lent,
                                    size_t lent_length, uint32_t rights, void *reply, size_t room) {
    int32_t result = peri_v1_lend(lent, (uint32_t)lent_length, rights);
    return result < 0 ? result : peri_send(to, message, length, reply, room);
}

/* How much was lent with a message. PERI_NOT_PERMITTED: nothing. */
static inline int peri_lease(const peri_envelope *of) {
    int32_t result = peri_v1_lease(of);
    return result == PERI_WAIT ? peri_v1_wait() : result;
}

/* Reads from what was lent with a message: how many bytes; fewer at its end. */
static inline int peri_read_lease(const peri_envelope *of, size_t offset, void *buffer, size_t length) {
    size_t done = 0;
    while (done < length) {
        size_t part = length - done < PERI_MESSAGE_MAX ? length - done : PERI_MESSAGE_MAX;
        int32_t result = peri_v1_read_lease(of, (uint32_t)(offset + done), (char *)buffer + done, (uint32_t)part);
        if (result == PERI_WAIT) result = peri_v1_wait();
        if (result < 0) return result;
        done += (size_t)result;
        if ((size_t)result < part) break;
    }
    return (int)done;
}

/* Writes to what was lent with a message: how many bytes; fewer at its end. */
static inline int peri_write_lease(const peri_envelope *of, size_t offset, const void *bytes, size_t length) {
    size_t done = 0;
    while (done < length) {
        size_t part = length - done < PERI_MESSAGE_MAX ? length - done : PERI_MESSAGE_MAX;
        int32_t result = peri_v1_write_lease(of, (uint32_t)(offset + done), (const char *)bytes + done, (uint32_t)part);
        if (result == PERI_WAIT) result = peri_v1_wait();
        if (result < 0) return result;
        done += (size_t)result;
        if ((size_t)result < part) break;
    }
    return (int)done;
}

/* --- Groups: a name that several processes have --- */

/* Makes this process a member; it is one until it leaves or ends. */
static inline int peri_join(const char *name) {
    return peri_v1_join(name, (uint32_t)strlen(name));
}

static inline int peri_leave(const char *name) {
    return peri_v1_leave(name, (uint32_t)strlen(name));
}

/* Who is in a group: how many. */
static inline int peri_members(const char *name, peri_pid *pids, size_t count) {
    return peri_v1_members(name, (uint32_t)strlen(name), pids, (uint32_t)(count * sizeof *pids));
}

/* Sends to all members but oneself, and waits for the first reply: its length. PERI_NO_NAME: there is nobody. */
static inline int peri_send_any(const char *name, const void *message, size_t length, void *reply, size_t room) {
    int32_t result = peri_v1_send_all(name, (uint32_t)strlen(name), message, (uint32_t)length, reply, (uint32_t)room, 0);
    return result == PERI_WAIT ? peri_v1_wait() : result;
}

/* Sends to all members but oneself, and waits for all replies: what they take of the room, for peri_next_reply. */
static inline int peri_send_all(const char *name, const void *message, size_t length, void *replies, size_t room) {
    int32_t result = peri_v1_send_all(name, (uint32_t)strlen(name), message, (uint32_t)length, replies, (uint32_t)room, 1);
    return result == PERI_WAIT ? peri_v1_wait() : result;
}

/* One of all replies. */
typedef struct {
    peri_pid from;
    int32_t length; /* negative: what was wrong; PERI_TOO_LONG: there was no room left for it */
    const void *reply;
} peri_member_reply;

/* The next of `length` bytes of replies; `at` is 0 at first. 0: there is none. */
static inline int peri_next_reply(const void *replies, int length, int *at, peri_member_reply *next) {
    const char *record = (const char *)replies + *at;
    if (length - *at < 20) return 0;
    memcpy(&next->from, record, sizeof next->from);
    memcpy(&next->length, record + 16, sizeof next->length);
    next->reply = record + 20;
    *at += 20 + (next->length > 0 ? (next->length + 3) / 4 * 4 : 0);
    return 1;
}

/* --- Processes --- */

static inline int peri_is(const peri_pid *one, const peri_pid *other) {
    return one->low == other->low && one->high == other->high;
}

/* One's own pid. */
static inline peri_pid peri_self(void) {
    peri_pid pid = {0, 0};
    peri_v1_own_pid(&pid);
    return pid;
}

/* Who has spawned this process; 0: somebody outside. */
static inline peri_pid peri_parent(void) {
    peri_pid pid = {0, 0};
    peri_v1_parent(&pid);
    return pid;
}

/* Who serves this process's devices: its `peri run`, as a process, or whoever has the name that was given with --devices. */
static inline int peri_devices(peri_pid *pid) {
    return peri_v1_devices(pid);
}

/* What this process was given when it was spawned: its length. */
static inline int peri_argument(void *buffer, size_t room) {
    return peri_v1_argument(buffer, (uint32_t)room);
}

/* Makes a process of the program of this name (NULL: of one's own), with `length` bytes for its peri_argument. */
static inline int peri_spawn(const char *program, const void *argument, size_t length, peri_pid *pid) {
    uint32_t program_length = program ? (uint32_t)strlen(program) : 0;
    return peri_v1_spawn(program, program_length, NULL, 0, argument, (uint32_t)length, pid);
}

/* The same, with arguments for its main, which follow the program's name: each ended by a NUL byte, `args_length` bytes
 * with all of these. */
static inline int peri_spawn_args(const char *program, const char *args, size_t args_length, const void *argument,
                                  size_t length, peri_pid *pid) {
    uint32_t program_length = program ? (uint32_t)strlen(program) : 0;
    return peri_v1_spawn(program, program_length, args, (uint32_t)args_length, argument, (uint32_t)length, pid);
}

/* Wants to be told once, by a receive of kind PERI_ENDED, when a process ends. If nobody has the pid, at once. */
static inline int peri_monitor(const peri_pid *pid) {
    return peri_v1_monitor(pid);
}

/* Does not want to be told any more. */
static inline int peri_unmonitor(const peri_pid *pid) {
    return peri_v1_unmonitor(pid);
}

/* When one of the two ends otherwise than by exit code 0, the other is ended. */
static inline int peri_link(const peri_pid *pid) {
    return peri_v1_link(pid);
}

/* The two are not linked any more. */
static inline int peri_unlink(const peri_pid *pid) {
    return peri_v1_unlink(pid);
}

/* Ends a process that one has spawned. */
static inline int peri_end(const peri_pid *pid) {
    return peri_v1_end(pid);
}

/* How the process of an envelope of kind PERI_ENDED has ended: PERI_EXITED and so on. */
static inline uint32_t peri_end_class(const peri_envelope *ended) {
    return (uint32_t)(ended->transaction >> 32);
}

/* Its exit code, or its signal. */
static inline uint32_t peri_end_detail(const peri_envelope *ended) {
    return (uint32_t)ended->transaction;
}

/* --- Names --- */

/* Gives this process a name, by which others find it. It may lose it again, to a process that has taken it on a node which
 * had not heard of this one; then it receives an envelope of kind PERI_NAME_LOST, and the name. */
static inline int peri_register(const char *name) {
    return peri_v1_register(name, (uint32_t)strlen(name));
}

/* Gives a name of this process up. */
static inline int peri_unregister(const char *name) {
    return peri_v1_unregister(name, (uint32_t)strlen(name));
}

/* Finds the process of this name. */
static inline int peri_lookup(const char *name, peri_pid *pid) {
    return peri_v1_lookup(name, (uint32_t)strlen(name), pid);
}

/* Lists names that begin with `prefix`: puts the first one after `name` there, and answers its length; PERI_NO_NAME after
 * the last one. Begin with "" in `name`. */
static inline int peri_next_name(const char *prefix, char name[PERI_NAME_MAX + 1], peri_pid *pid) {
    int32_t length = peri_v1_next_name(prefix, (uint32_t)strlen(prefix), name, (uint32_t)strlen(name), name, PERI_NAME_MAX, pid);
    if (length >= 0) name[length] = '\0';
    return length;
}

/* --- What a program exports --- */

/* What a handler's function answers that replies later: it keeps the envelope, is called for other messages meanwhile, and
 * calls peri_reply. */
#define PERI_LATER (-1)

/* Makes this program a handler with this function, for messages of up to `room` bytes. It is called for words of other kinds than
 * PERI_MESSAGE, too (an end, a lost name, whose length is in the envelope), with a length of 0; nobody gets its reply. */
#define PERI_HANDLER(function, room)                                                                     \
    static struct {                                                                                      \
        peri_envelope envelope;                                                                          \
        char message[room];                                                                              \
    } peri_buffer_;                                                                                      \
    PERI_EXPORT("peripatos_buffer") uint64_t peri_tell_buffer_(void) {                                   \
        return (uint64_t)sizeof peri_buffer_ << 32 | (uint32_t)(uintptr_t)&peri_buffer_;                 \
    }                                                                                                    \
    PERI_EXPORT("peripatos_handle") int32_t peri_handle_(int32_t length) {                               \
        return function(&peri_buffer_.envelope, peri_buffer_.message, length);                           \
    }

/* Lets the processes of this program that others have spawned begin in this function, and not in main. When it returns the
 * process exits with code 0. */
#define PERI_SPAWNED(function)                                                                           \
    PERI_EXPORT("peripatos_spawned") void peri_spawned_(void) {                                          \
        __wasm_call_ctors();                                                                             \
        function();                                                                                      \
        exit(0);                                                                                         \
    }

#ifdef __cplusplus
}
#endif

#endif

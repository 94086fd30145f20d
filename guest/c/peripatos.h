/* Peripatos for C: processes that send, receive and reply. One header; nothing to link.
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
 */
#ifndef PERIPATOS_H
#define PERIPATOS_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A process. Whoever has its pid can send to it; it cannot be guessed. */
typedef struct {
    uint64_t low, high;
} peri_pid;

/* What goes with a message that was received. */
typedef struct {
    peri_pid from;
    uint64_t transaction; /* of a notification: its bits */
    uint32_t length;
    uint32_t kind; /* PERI_MESSAGE or PERI_NOTIFICATION */
} peri_envelope;

enum { PERI_MESSAGE = 0, PERI_NOTIFICATION = 1 };

enum {
    PERI_WAIT = -1,        /* never seen by users of these functions */
    PERI_NO_PROCESS = -2,  /* nobody has this pid (any more) */
    PERI_UNREACHABLE = -3, /* its node cannot be reached; the outcome is not known */
    PERI_TOO_LONG = -4,    /* over PERI_MESSAGE_MAX, or no room for it */
    PERI_BAD_ADDRESS = -5,
    PERI_TIMED_OUT = -6,
    PERI_DEADLOCK = -7,    /* the receiver waits for the caller */
    PERI_NOT_WAITING = -8, /* nobody waits for this reply (any more) */
    PERI_FULL = -9,
    PERI_NOT_NOW = -10,
    PERI_NAME_TAKEN = -11,
    PERI_NO_NAME = -12
};

/* Bytes of one message, or of one reply. */
#define PERI_MESSAGE_MAX 65536

#define PERI_IMPORT(name) __attribute__((import_module("peripatos_v1"), import_name(name)))

/* The calls as the kernel has them. */
PERI_IMPORT("send") int32_t peri_v1_send(const void *to, const void *message, uint32_t length, void *reply, uint32_t room);
PERI_IMPORT("receive") int32_t peri_v1_receive(const void *from, void *buffer, uint32_t room, void *envelope, int64_t timeout_ns);
PERI_IMPORT("reply") int32_t peri_v1_reply(const void *envelope, const void *message, uint32_t length);
PERI_IMPORT("forward") int32_t peri_v1_forward(const void *envelope, const void *to, const void *message, uint32_t length);
PERI_IMPORT("notify") int32_t peri_v1_notify(const void *to, uint64_t bits);
PERI_IMPORT("own_pid") int32_t peri_v1_own_pid(void *pid);
PERI_IMPORT("register") int32_t peri_v1_register(const char *name, uint32_t length);
PERI_IMPORT("lookup") int32_t peri_v1_lookup(const char *name, uint32_t length, void *pid);
PERI_IMPORT("wait") int32_t peri_v1_wait(void);

/* Sends, and waits for the reply: its length. */
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

/* Replies to a message: its sender goes on. Does not wait. */
static inline int peri_reply(const peri_envelope *to, const void *message, size_t length) {
    return peri_v1_reply(to, message, (uint32_t)length);
}

/* Hands a message on to another process, which replies in one's stead. */
static inline int peri_forward(const peri_envelope *from, const peri_pid *to, const void *message, size_t length) {
    return peri_v1_forward(from, to, message, (uint32_t)length);
}

/* Sets bits for a process. Does not wait; whether it is there is not told. */
static inline int peri_notify(const peri_pid *to, uint64_t bits) {
    return peri_v1_notify(to, bits);
}

/* One's own pid. */
static inline peri_pid peri_self(void) {
    peri_pid pid;
    peri_v1_own_pid(&pid);
    return pid;
}

/* Gives this process a name, by which others find it. */
static inline int peri_register(const char *name) {
    return peri_v1_register(name, (uint32_t)strlen(name));
}

/* Finds the process of this name. */
static inline int peri_lookup(const char *name, peri_pid *pid) {
    return peri_v1_lookup(name, (uint32_t)strlen(name), pid);
}

/* Makes this program a handler with this function, for messages of up to `room` bytes. */
#define PERI_HANDLER(function, room)                                                                     \
    static struct {                                                                                      \
        peri_envelope envelope;                                                                          \
        char message[room];                                                                              \
    } peri_buffer_;                                                                                      \
    __attribute__((export_name("peripatos_buffer"))) uint64_t peri_tell_buffer_(void) {                  \
        return (uint64_t)sizeof peri_buffer_ << 32 | (uint32_t)(uintptr_t)&peri_buffer_;                 \
    }                                                                                                    \
    __attribute__((export_name("peripatos_handle"))) int32_t peri_handle_(int32_t length) {              \
        return function(&peri_buffer_.envelope, peri_buffer_.message, length);                           \
    }

#ifdef __cplusplus
}
#endif

#endif

//! The calls as the kernel has them, with slices in place of pointers: all `unsafe` code of this crate is here.
//!
//! A negative answer is a status (docs/messages.md). Whoever has something to wait for waits here.

use std::cell::UnsafeCell;

use crate::message::MESSAGE_BYTES_MAX;

/// Bytes of an envelope.
pub const ENVELOPE_BYTES: usize = 32;
const WAIT: i32 = -1;

#[cfg(target_family = "wasm")]
mod v1 {
    #[link(wasm_import_module = "peripatos_v1")]
    unsafe extern "C" {
        pub(super) fn send(
            to: *const u8,
            message: *const u8,
            len: usize,
            reply: *mut u8,
            room: usize,
        ) -> i32;
        pub(super) fn receive(
            from: *const u8,
            buffer: *mut u8,
            room: usize,
            envelope: *mut u8,
            timeout_ns: i64,
        ) -> i32;
        pub(super) fn reply(envelope: *const u8, message: *const u8, len: usize) -> i32;
        pub(super) fn reply_receive(
            envelope: *mut u8,
            message: *const u8,
            len: usize,
            from: *const u8,
            buffer: *mut u8,
            room: usize,
            timeout_ns: i64,
        ) -> i32;
        pub(super) fn forward(
            envelope: *const u8,
            to: *const u8,
            message: *const u8,
            len: usize,
        ) -> i32;
        pub(super) fn lend(address: *const u8, len: usize, rights: u32) -> i32;
        pub(super) fn lease(envelope: *const u8) -> i32;
        pub(super) fn read_lease(
            envelope: *const u8,
            offset: u32,
            buffer: *mut u8,
            len: usize,
        ) -> i32;
        pub(super) fn write_lease(
            envelope: *const u8,
            offset: u32,
            bytes: *const u8,
            len: usize,
        ) -> i32;
        pub(super) fn notify(to: *const u8, bits: u64) -> i32;
        pub(super) fn wait() -> i32;
        pub(super) fn own_pid(pid: *mut u8) -> i32;
        pub(super) fn parent(pid: *mut u8) -> i32;
        pub(super) fn devices(pid: *mut u8) -> i32;
        pub(super) fn argument(buffer: *mut u8, room: usize) -> i32;
        pub(super) fn spawn(
            program: *const u8,
            program_len: usize,
            args: *const u8,
            args_len: usize,
            argument: *const u8,
            argument_len: usize,
            pid: *mut u8,
        ) -> i32;
        pub(super) fn monitor(pid: *const u8) -> i32;
        pub(super) fn unmonitor(pid: *const u8) -> i32;
        pub(super) fn link(pid: *const u8) -> i32;
        pub(super) fn unlink(pid: *const u8) -> i32;
        pub(super) fn end(pid: *const u8) -> i32;
        pub(super) fn register(name: *const u8, len: usize) -> i32;
        pub(super) fn unregister(name: *const u8, len: usize) -> i32;
        pub(super) fn lookup(name: *const u8, len: usize, pid: *mut u8) -> i32;
        pub(super) fn next_name(
            prefix: *const u8,
            prefix_len: usize,
            after: *const u8,
            after_len: usize,
            name: *mut u8,
            room: usize,
            pid: *mut u8,
        ) -> i32;
        pub(super) fn join(name: *const u8, len: usize) -> i32;
        pub(super) fn leave(name: *const u8, len: usize) -> i32;
        pub(super) fn members(name: *const u8, len: usize, pids: *mut u8, room: usize) -> i32;
        pub(super) fn send_all(
            name: *const u8,
            name_len: usize,
            message: *const u8,
            len: usize,
            reply: *mut u8,
            room: usize,
            mode: u32,
        ) -> i32;
    }
}

/// Elsewhere than on Peripatos nobody answers: so the crate can be checked and documented there.
#[cfg(not(target_family = "wasm"))]
mod v1 {
    macro_rules! nobody {
        ($($name:ident($($type:ty),*);)*) => {
            $(pub(super) unsafe fn $name($(_: $type),*) -> i32 { -14 })*
        };
    }
    nobody! {
        send(*const u8, *const u8, usize, *mut u8, usize);
        receive(*const u8, *mut u8, usize, *mut u8, i64);
        reply(*const u8, *const u8, usize);
        reply_receive(*mut u8, *const u8, usize, *const u8, *mut u8, usize, i64);
        forward(*const u8, *const u8, *const u8, usize);
        lend(*const u8, usize, u32);
        lease(*const u8);
        read_lease(*const u8, u32, *mut u8, usize);
        write_lease(*const u8, u32, *const u8, usize);
        notify(*const u8, u64);
        wait();
        own_pid(*mut u8);
        parent(*mut u8);
        devices(*mut u8);
        argument(*mut u8, usize);
        spawn(*const u8, usize, *const u8, usize, *const u8, usize, *mut u8);
        monitor(*const u8);
        unmonitor(*const u8);
        link(*const u8);
        unlink(*const u8);
        end(*const u8);
        register(*const u8, usize);
        unregister(*const u8, usize);
        lookup(*const u8, usize, *mut u8);
        next_name(*const u8, usize, *const u8, usize, *mut u8, usize, *mut u8);
        join(*const u8, usize);
        leave(*const u8, usize);
        members(*const u8, usize, *mut u8, usize);
        send_all(*const u8, usize, *const u8, usize, *mut u8, usize, u32);
    }
}

type PidBytes = [u8; 16];
type EnvelopeBytes = [u8; ENVELOPE_BYTES];

fn waited(answer: i32) -> i32 {
    if answer != WAIT {
        return answer;
    }
    // SAFETY: the buffers of the call that is waited for are borrowed by whoever has called this.
    unsafe { v1::wait() }
}

/// Sends, and waits for the reply.
pub fn send(to: &PidBytes, message: &[u8], reply: &mut [u8]) -> i32 {
    let (reply, room) = (reply.as_mut_ptr(), reply.len());
    // SAFETY: all of it is borrowed until the answer is there, for that is waited for.
    waited(unsafe { v1::send(to.as_ptr(), message.as_ptr(), message.len(), reply, room) })
}

/// Sends the first `len` bytes; the reply comes in their place.
pub fn send_in_place(to: &PidBytes, buffer: &mut [u8], len: usize) -> i32 {
    assert!(len <= buffer.len());
    let (message, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: as for `send`; the message has been taken out before the reply is written.
    waited(unsafe { v1::send(to.as_ptr(), message, len, message, room) })
}

/// Waits for a message.
pub fn receive(
    from: Option<&PidBytes>,
    buffer: &mut [u8],
    envelope: &mut EnvelopeBytes,
    timeout_ns: i64,
) -> i32 {
    let from = from.map_or(std::ptr::null(), |from| from.as_ptr());
    let (buffer, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: all of it is borrowed until the answer is there.
    waited(unsafe { v1::receive(from, buffer, room, envelope.as_mut_ptr(), timeout_ns) })
}

/// Replies.
pub fn reply(envelope: &EnvelopeBytes, message: &[u8]) -> i32 {
    // SAFETY: read at once.
    unsafe { v1::reply(envelope.as_ptr(), message.as_ptr(), message.len()) }
}

/// Replies, and waits for the next message of anybody.
pub fn reply_receive(envelope: &mut EnvelopeBytes, message: &[u8], buffer: &mut [u8]) -> i32 {
    let (envelope, from) = (envelope.as_mut_ptr(), std::ptr::null());
    let (reply, len) = (message.as_ptr(), message.len());
    let (buffer, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: as for `receive`.
    waited(unsafe { v1::reply_receive(envelope, reply, len, from, buffer, room, -1) })
}

/// Replies with the first `len` bytes; the next message comes in their place.
pub fn reply_receive_in_place(envelope: &mut EnvelopeBytes, buffer: &mut [u8], len: usize) -> i32 {
    assert!(len <= buffer.len());
    let (envelope, from) = (envelope.as_mut_ptr(), std::ptr::null());
    let (buffer, room) = (buffer.as_mut_ptr(), buffer.len());
    // SAFETY: as for `receive`; the reply has been taken out before a message is written.
    waited(unsafe { v1::reply_receive(envelope, buffer, len, from, buffer, room, -1) })
}

/// Hands on.
pub fn forward(envelope: &EnvelopeBytes, to: &PidBytes, message: &[u8]) -> i32 {
    // SAFETY: read at once.
    unsafe { v1::forward(envelope.as_ptr(), to.as_ptr(), message.as_ptr(), message.len()) }
}

/// A part of the caller's memory, as it is lent.
#[derive(Debug)]
pub enum Lent<'a> {
    /// To be read.
    Read(&'a [u8]),
    /// To be read and written.
    Write(&'a mut [u8]),
}

/// Sends, lends something, and waits for the reply.
pub fn send_lending(to: &PidBytes, message: &[u8], lent: Lent<'_>, reply: &mut [u8]) -> i32 {
    let (address, len, rights) = match lent {
        Lent::Read(lent) => (lent.as_ptr(), lent.len(), 1),
        Lent::Write(lent) => (lent.as_mut_ptr().cast_const(), lent.len(), 3),
    };
    // SAFETY: until this returns it is borrowed, for writing if it may be written; and the send is over then, whatever
    // has come of it: it is not lent any more.
    match unsafe { v1::lend(address, len, rights) } {
        0 => send(to, message, reply),
        error => error,
    }
}

/// How much was lent.
pub fn lease(envelope: &EnvelopeBytes) -> i32 {
    // SAFETY: read at once.
    waited(unsafe { v1::lease(envelope.as_ptr()) })
}

/// Reads from it.
pub fn read_lease(envelope: &EnvelopeBytes, offset: u32, buffer: &mut [u8]) -> i32 {
    // SAFETY: the envelope is read at once; the buffer is borrowed until the answer is there.
    waited(unsafe { v1::read_lease(envelope.as_ptr(), offset, buffer.as_mut_ptr(), buffer.len()) })
}

/// Writes to it.
pub fn write_lease(envelope: &EnvelopeBytes, offset: u32, bytes: &[u8]) -> i32 {
    // SAFETY: read at once.
    waited(unsafe { v1::write_lease(envelope.as_ptr(), offset, bytes.as_ptr(), bytes.len()) })
}

/// Sets bits.
pub fn notify(to: &PidBytes, bits: u64) -> i32 {
    // SAFETY: read at once.
    unsafe { v1::notify(to.as_ptr(), bits) }
}

/// One's own pid.
pub fn own_pid(pid: &mut PidBytes) -> i32 {
    // SAFETY: written at once.
    unsafe { v1::own_pid(pid.as_mut_ptr()) }
}

/// Who has spawned the caller.
pub fn parent(pid: &mut PidBytes) -> i32 {
    // SAFETY: written at once.
    unsafe { v1::parent(pid.as_mut_ptr()) }
}

/// Who serves the caller's devices.
pub fn devices(pid: &mut PidBytes) -> i32 {
    // SAFETY: written at once.
    unsafe { v1::devices(pid.as_mut_ptr()) }
}

/// What the caller was given.
pub fn argument(buffer: &mut [u8]) -> i32 {
    // SAFETY: written at once.
    unsafe { v1::argument(buffer.as_mut_ptr(), buffer.len()) }
}

/// Makes a process.
pub fn spawn(program: &[u8], args: &[u8], argument: &[u8], pid: &mut PidBytes) -> i32 {
    // SAFETY: read, and written, at once.
    unsafe {
        v1::spawn(
            program.as_ptr(),
            program.len(),
            args.as_ptr(),
            args.len(),
            argument.as_ptr(),
            argument.len(),
            pid.as_mut_ptr(),
        )
    }
}

/// What one process has to do with the end of another.
#[derive(Clone, Copy, Debug)]
pub enum Tie {
    Monitor,
    Unmonitor,
    Link,
    Unlink,
    End,
}

/// Ties or unties, or ends.
pub fn tie(tie: Tie, pid: &PidBytes) -> i32 {
    let pid = pid.as_ptr();
    // SAFETY: read at once.
    unsafe {
        match tie {
            Tie::Monitor => v1::monitor(pid),
            Tie::Unmonitor => v1::unmonitor(pid),
            Tie::Link => v1::link(pid),
            Tie::Unlink => v1::unlink(pid),
            Tie::End => v1::end(pid),
        }
    }
}

/// Takes a name.
pub fn register(name: &[u8]) -> i32 {
    // SAFETY: read at once.
    unsafe { v1::register(name.as_ptr(), name.len()) }
}

/// Gives a name up.
pub fn unregister(name: &[u8]) -> i32 {
    // SAFETY: read at once.
    unsafe { v1::unregister(name.as_ptr(), name.len()) }
}

/// Whose name it is.
pub fn lookup(name: &[u8], pid: &mut PidBytes) -> i32 {
    // SAFETY: read, and written, at once.
    unsafe { v1::lookup(name.as_ptr(), name.len(), pid.as_mut_ptr()) }
}

/// The next name.
pub fn next_name(prefix: &[u8], after: &[u8], name: &mut [u8], pid: &mut PidBytes) -> i32 {
    // SAFETY: read, and written, at once.
    unsafe {
        v1::next_name(
            prefix.as_ptr(),
            prefix.len(),
            after.as_ptr(),
            after.len(),
            name.as_mut_ptr(),
            name.len(),
            pid.as_mut_ptr(),
        )
    }
}

/// Into a group.
pub fn join(name: &[u8]) -> i32 {
    // SAFETY: read at once.
    unsafe { v1::join(name.as_ptr(), name.len()) }
}

/// Out of it.
pub fn leave(name: &[u8]) -> i32 {
    // SAFETY: read at once.
    unsafe { v1::leave(name.as_ptr(), name.len()) }
}

/// Who is in it.
pub fn members(name: &[u8], pids: &mut [u8]) -> i32 {
    // SAFETY: read, and written, at once.
    unsafe { v1::members(name.as_ptr(), name.len(), pids.as_mut_ptr(), pids.len()) }
}

/// Sends to all of it, and waits for one reply, or for all.
pub fn send_all(name: &[u8], message: &[u8], reply: &mut [u8], all: bool) -> i32 {
    let (name_ptr, name_len) = (name.as_ptr(), name.len());
    let (message, len, room) = (message.as_ptr(), message.len(), reply.len());
    let mode = u32::from(all);
    // SAFETY: name and message are read at once; the reply's room is borrowed until the answer is there.
    waited(unsafe {
        v1::send_all(name_ptr, name_len, message, len, reply.as_mut_ptr(), room, mode)
    })
}

/// The function at this place in the program's table, of which it was told by [`address`].
///
/// # Safety
/// `address` was got from a function of type `F` of this very program.
pub(crate) unsafe fn function<F: Copy>(address: usize) -> F {
    assert_eq!(size_of::<F>(), size_of::<usize>());
    // SAFETY: the caller's promise; the sizes are equal.
    unsafe { std::mem::transmute_copy(&address) }
}

/// A handler's buffer.
#[repr(C, align(8))]
struct Buffer {
    envelope: EnvelopeBytes,
    message: [u8; MESSAGE_BYTES_MAX],
}

struct HandlerBuffer(UnsafeCell<Buffer>);

// SAFETY: a process has one thread, and elsewhere nobody calls `handle`.
unsafe impl Sync for HandlerBuffer {}

static BUFFER: HandlerBuffer = HandlerBuffer(UnsafeCell::new(Buffer {
    envelope: [0; ENVELOPE_BYTES],
    message: [0; MESSAGE_BYTES_MAX],
}));

/// What `peripatos_buffer` answers.
#[must_use]
pub fn handler_buffer() -> u64 {
    (size_of::<Buffer>() as u64) << 32 | BUFFER.0.get() as usize as u64
}

/// What a handler answers that replies later.
const LATER: i32 = -1;

/// What `peripatos_handle` does: `handle` gets the envelope, the buffer, and the length of the message in it; it answers
/// the length of the reply, which it has written over the message, or nothing: it replies later, or has replied.
pub fn handle(
    len: i32,
    handle: impl FnOnce(&EnvelopeBytes, &mut [u8; MESSAGE_BYTES_MAX], usize) -> Option<usize>,
) -> i32 {
    // SAFETY: the kernel does not call a handler that has not answered yet, and nobody else comes here.
    let Buffer { envelope, message } = unsafe { &mut *BUFFER.0.get() };
    let len = usize::try_from(len).unwrap_or(0).min(MESSAGE_BYTES_MAX);
    handle(envelope, message, len).map_or(LATER, |len| len as i32)
}

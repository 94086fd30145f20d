//! Typed calls: the part of [`service`](crate::service) that is the same for every trait.
//!
//! On the wire a call is the number of the method (in the order of the trait) and the tuple of its arguments, both in
//! postcard's encoding; the reply is a byte, 0 if the value follows it, else what was wrong.

use std::cell::Cell;
use std::marker::PhantomData;

use serde::{Serialize, de::DeserializeOwned};

use crate::raw::ENVELOPE_BYTES;
use crate::{Caller, Ended, Error, Message, NameLost, Pid, Received, buffers, raw, receive};

/// First byte of a reply: the value follows.
const VALUE: u8 = 0;
/// No such method, or its arguments are others.
const MISUNDERSTOOD: u8 = 1;
/// The value does not fit into a message.
const TOO_LONG: u8 = 2;

/// Implemented by `dyn Trait` for each trait with the attribute [`service`](crate::service): how an `S` that has the
/// trait is called.
pub trait Interface<S> {
    /// A message of length `len` lies in the buffer. The reply is written over it: its length.
    #[doc(hidden)]
    fn dispatch(service: &mut S, buffer: &mut [u8], len: usize) -> usize;
}

/// What the generated clients do.
///
/// # Errors
/// As [`send`](crate::send), and [`Error::Misunderstood`].
pub fn call<A: Serialize, R: DeserializeOwned>(
    to: Pid,
    method: u32,
    arguments: &A,
) -> Result<R, Error> {
    buffers::for_call(|buffer| {
        let len = postcard::to_slice(&(method, arguments), buffer)?.len();
        let len = Error::check(raw::send_in_place(to.bytes(), buffer, len))?;
        match buffer[..len].split_first() {
            Some((&VALUE, value)) => Ok(postcard::from_bytes(value)?),
            Some((&TOO_LONG, _)) => Err(Error::TooLong),
            _ => Err(Error::Misunderstood),
        }
    })
}

/// Which method a message is for, and the bytes of its arguments.
#[must_use]
pub fn method(message: &[u8]) -> (u32, &[u8]) {
    postcard::take_from_bytes(message).unwrap_or((u32::MAX, &[]))
}

/// Reads a method's arguments.
#[must_use]
pub fn arguments<'a, A: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Option<A> {
    postcard::from_bytes(bytes).ok()
}

/// Writes a reply: its length. `None`: the arguments could not be read.
pub fn answer<R: Serialize>(value: Option<R>, buffer: &mut [u8]) -> usize {
    let Some(value) = value else { return fault(MISUNDERSTOOD, buffer) };
    match postcard::to_slice(&(VALUE, value), buffer) {
        Ok(bytes) => bytes.len(),
        Err(_) => fault(TOO_LONG, buffer),
    }
}

fn fault(what: u8, buffer: &mut [u8]) -> usize {
    buffer[0] = what;
    1
}

/// A reply that a typed call waits for, to be sent at any time.
#[derive(Debug)]
#[must_use = "its sender waits for a reply"]
pub struct Reply<T> {
    caller: Caller,
    of: PhantomData<fn(T)>,
}

impl<T: Serialize> Reply<T> {
    /// Of this caller.
    #[doc(hidden)]
    pub fn new(caller: Caller) -> Reply<T> {
        Reply { caller, of: PhantomData }
    }

    /// Whose it is.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.caller.pid()
    }

    /// Replies: the caller goes on.
    ///
    /// # Errors
    /// [`Error::NotWaiting`]: nobody waits for it any more. [`Error::TooLong`].
    pub fn send(self, value: &T) -> Result<(), Error> {
        if now::is_for(&self.caller) {
            return now::reply(&(VALUE, value));
        }
        self.caller.reply_with(&(VALUE, value))
    }
}

/// Tells a caller that it is not understood.
#[doc(hidden)]
pub fn refuse(caller: Caller) {
    // If it does not wait any more, all the better.
    let _ = caller.reply(&[MISUNDERSTOOD]);
}

thread_local! {
    static CALLER: Cell<Pid> = const { Cell::new(Pid::NOBODY) };
}

/// Who has sent the message that is being served.
#[must_use]
pub fn caller() -> Pid {
    CALLER.get()
}

/// Serves typed calls with this service, one after another, until receiving fails.
///
/// ```no_run
/// # #[peripatos::service]
/// # trait Adder { fn add(&mut self, a: i64, b: i64) -> i64; }
/// # struct Plain;
/// # impl Adder for Plain { fn add(&mut self, a: i64, b: i64) -> i64 { a + b } }
/// peripatos::register("adder").unwrap();
/// peripatos::serve::<dyn Adder, _>(Plain);
/// ```
pub fn serve<I: Interface<S> + ?Sized, S>(service: S) -> Error {
    serve_events::<I, S>(service, |_, _| ())
}

/// The same; what is no message is given to `event`.
pub fn serve_events<I: Interface<S> + ?Sized, S>(
    mut service: S,
    mut event: impl FnMut(&mut S, Event),
) -> Error {
    buffers::for_serving(|buffer| {
        let mut received = receive(buffer);
        loop {
            let one = match received {
                Ok(Received::Message(Message { bytes, caller })) => {
                    CALLER.set(caller.pid());
                    let len = bytes.len();
                    let len = I::dispatch(&mut service, buffer, len);
                    received = match caller.reply_receive_in_place(buffer, len) {
                        // A caller that has ended meanwhile is no reason to stop.
                        Err(_) => receive(buffer),
                        received => received,
                    };
                    continue;
                }
                Ok(Received::Notification(bits)) => Event::Notification(bits),
                Ok(Received::Ended(ended)) => Event::Ended(ended),
                Ok(Received::NameLost(lost)) => Event::NameLost(lost),
                Err(error) => return error,
            };
            event(&mut service, one);
            received = receive(buffer);
        }
    })
}

/// What comes to a server besides messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Bits that somebody has notified.
    Notification(u64),
    /// A process that is monitored has ended.
    Ended(Ended),
    /// A name of the server is somebody else's.
    NameLost(NameLost),
}

impl Event {
    /// What a handler is called for, if it is no message. `None`: it is one, or nothing that is known.
    fn of(caller: &Caller, buffer: &[u8]) -> Option<Event> {
        match caller.kind() {
            1 => Some(Event::Notification(caller.transaction())),
            2 => Some(Event::Ended(Ended::new(caller.pid(), caller.transaction()))),
            3 => Some(Event::NameLost(NameLost::new(buffer.get(..caller.len())?, caller.pid()))),
            _ => None,
        }
    }
}

/// What the exports of a handler do.
pub fn handle<I: Interface<S> + ?Sized, S>(
    service: &mut S,
    event: impl FnOnce(&mut S, Event),
    len: i32,
) -> i32 {
    raw::handle(len, |envelope: &[u8; ENVELOPE_BYTES], message, len| {
        let caller = Caller::from_envelope(*envelope);
        if caller.kind() != 0 {
            if let Some(one) = Event::of(&caller, message) {
                event(service, one);
            }
            return Some(0);
        }
        CALLER.set(caller.pid());
        Some(I::dispatch(service, message, len))
    })
}

/// The service of a handler, of a type that [`handler!`](crate::handler) cannot name.
pub type Serve = Box<dyn FnMut(i32) -> i32>;

/// A handler with this service.
pub fn handler<I: Interface<S> + ?Sized, S: 'static>(mut service: S) -> Serve {
    Box::new(move |len| handle::<I, S>(&mut service, |_, _| (), len))
}

/// The same, which is told of ends and of lost names.
pub fn handler_events<I: Interface<S> + ?Sized, S: 'static>(
    mut service: S,
    event: fn(&mut S, Event),
) -> Serve {
    Box::new(move |len| handle::<I, S>(&mut service, event, len))
}

/// Makes the program a handler: a server that is called for each message, on the stack of whoever sends it, which is
/// several times cheaper than a receive loop. It has no `main`, and is built as a `cdylib`.
///
/// `handler!(Trait, new)`: `new` is called before the first message and gives what has the trait.
///
/// ```no_run
/// #[peripatos::service]
/// pub trait Adder {
///     fn add(&mut self, a: i64, b: i64) -> i64;
/// }
///
/// struct Plain;
///
/// impl Adder for Plain {
///     fn add(&mut self, a: i64, b: i64) -> i64 {
///         a + b
///     }
/// }
///
/// peripatos::handler!(Adder, || Plain);
/// ```
///
/// `handler!(Trait, new, event)`: what is no message is given to `event`.
///
/// ```no_run
/// # #[peripatos::service]
/// # pub trait Adder { fn add(&mut self, a: i64, b: i64) -> i64; }
/// # struct Plain;
/// # impl Adder for Plain { fn add(&mut self, a: i64, b: i64) -> i64 { a + b } }
/// peripatos::handler!(Adder, || Plain, |_: &mut Plain, event| {
///     if let peripatos::Event::NameLost(lost) = event {
///         println!("{} has the name {} now", lost.owner, lost.name);
///     }
/// });
/// ```
///
/// `handler!(later TraitRequest, new, serve)`: for a server that replies when it likes. `serve` is called with what `new`
/// has given and a request; it may keep the request's `reply`, and is called for others meanwhile.
///
/// ```no_run
/// # use peripatos::Reply;
/// #[peripatos::service]
/// pub trait Gate {
///     fn pass(&mut self);
///     fn open(&mut self);
/// }
///
/// peripatos::handler!(later GateRequest, Vec::new, |waiting: &mut Vec<Reply<()>>, request| match request {
///     GateRequest::Pass { reply } => waiting.push(reply),
///     GateRequest::Open { reply } => {
///         waiting.drain(..).chain([reply]).for_each(|reply| drop(reply.send(&())));
///     }
/// });
/// ```
///
/// `handler!(bytes: function)`: `function` is called with the sender, the buffer and the length of the message in it. It
/// writes the reply over the message and answers its length; or it keeps the sender and answers `None`.
///
/// ```no_run
/// fn echo(_from: peripatos::Caller, _buffer: &mut [u8], length: usize) -> Option<usize> {
///     Some(length)
/// }
///
/// peripatos::handler!(bytes: echo);
/// ```
#[macro_export]
macro_rules! handler {
    (bytes: $function:expr) => {
        $crate::handler!(@ |len| $crate::typed::handle_bytes(len, $function));
    };
    (later $request:ty, $new:expr, $serve:expr) => {
        $crate::handler!(service $crate::typed::handler_later(<$request>::of, ($new)(), $serve));
    };
    ($interface:path, $new:expr) => {
        $crate::handler!(service $crate::typed::handler::<dyn $interface, _>(($new)()));
    };
    ($interface:path, $new:expr, $event:expr) => {
        $crate::handler!(service $crate::typed::handler_events::<dyn $interface, _>(($new)(), $event));
    };
    (service $service:expr) => {
        ::std::thread_local! {
            static PERIPATOS_SERVICE: ::std::cell::RefCell<$crate::typed::Serve> =
                ::std::cell::RefCell::new($service);
        }
        $crate::handler!(@ |len| {
            // A handler is not called while it is being called.
            PERIPATOS_SERVICE.with(|service| (service.borrow_mut())(len))
        });
    };
    (@ $handle:expr) => {
        const _: () = {
            #[unsafe(export_name = "peripatos_buffer")]
            extern "C" fn peripatos_buffer() -> u64 {
                $crate::raw::handler_buffer()
            }

            #[unsafe(export_name = "peripatos_handle")]
            extern "C" fn peripatos_handle(len: i32) -> i32 {
                let handle: fn(i32) -> i32 = $handle;
                handle(len)
            }
        };
    };
}

/// What `handler!(bytes: ...)` does.
pub fn handle_bytes(len: i32, function: fn(Caller, &mut [u8], usize) -> Option<usize>) -> i32 {
    raw::handle(len, |envelope, message, len| {
        function(Caller::from_envelope(*envelope), message, len)
    })
}

/// A handler that replies when it likes.
pub fn handler_later<R: 'static, S: 'static>(
    request: fn(Message<'_>) -> Option<R>,
    mut service: S,
    serve: fn(&mut S, R),
) -> Serve {
    Box::new(move |len| {
        raw::handle(len, |envelope, message, len| {
            let caller = Caller::from_envelope(*envelope);
            if caller.kind() != 0 {
                return Some(0);
            }
            now::begin(&caller);
            if let Some(request) = request(Message { bytes: &message[..len], caller }) {
                serve(&mut service, request);
            }
            now::end(message)
        })
    })
}

/// A handler that replies while it is called needs no call of the kernel for that: the reply goes where the message was.
mod now {
    use std::cell::Cell;

    use serde::Serialize;

    use crate::{Caller, Error, buffers};

    thread_local! {
        /// Whose call it is, until it is replied to.
        static CALL: Cell<Option<[u8; 24]>> = const { Cell::new(None) };
        /// The length of the reply, which lies in the buffer for serving.
        static REPLY: Cell<Option<usize>> = const { Cell::new(None) };
    }

    pub(super) fn begin(caller: &Caller) {
        CALL.set(Some(caller.send_id()));
        REPLY.set(None);
    }

    pub(super) fn is_for(caller: &Caller) -> bool {
        CALL.get().is_some_and(|call| call == caller.send_id())
    }

    pub(super) fn reply<T: Serialize>(value: &T) -> Result<(), Error> {
        let len = buffers::for_serving(|buffer| {
            Ok::<_, Error>(postcard::to_slice(value, buffer)?.len())
        })?;
        CALL.set(None);
        REPLY.set(Some(len));
        Ok(())
    }

    pub(super) fn end(message: &mut [u8]) -> Option<usize> {
        CALL.set(None);
        let len = REPLY.take()?;
        buffers::for_serving(|buffer| message[..len].copy_from_slice(&buffer[..len]));
        Some(len)
    }
}

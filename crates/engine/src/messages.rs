//! The calls by which a guest talks to other processes ([`peripatos_abi::message`]), on their way to its kernel.
//!
//! The engine shows the kernel the guest's memory, and knows no more of messages than that `wait` may block: on a fiber
//! it waits, in a handler it parks, and when the process is to be frozen it is left and made again after the thaw.

use std::future::poll_fn;
use std::task::{Context, Poll};

use peripatos_abi::message::{MODULE, Status, WAIT};
use wasmtime::{Caller, Engine, FuncType, Linker, ValType};

use crate::Form;
use crate::hostcalls::interrupt;
use crate::state::State;
use crate::view::of_caller as memory;

/// A process's kernel, as the process sees it. Pairs are an address in the guest's memory and a length.
///
/// All that a guest gives is an allegation; each answer is as [`peripatos_abi::message`] says.
#[allow(missing_docs, reason = "each is the call of its name")]
pub trait Messages: Send {
    fn send(&mut self, memory: &mut [u8], to: u32, message: Span, reply: Span) -> Answer;
    fn receive(
        &mut self,
        memory: &mut [u8],
        from: u32,
        buffer: Span,
        envelope: u32,
        timeout_ns: i64,
    ) -> Answer;
    fn reply(&mut self, memory: &mut [u8], envelope: u32, message: Span) -> Answer;
    fn reply_receive(
        &mut self,
        memory: &mut [u8],
        envelope: u32,
        message: Span,
        from: u32,
        buffer: Span,
        timeout_ns: i64,
    ) -> Answer;
    fn forward(&mut self, memory: &mut [u8], envelope: u32, to: u32, message: Span) -> Answer;
    fn notify(&mut self, memory: &mut [u8], to: u32, bits: u64) -> Answer;
    fn lend(&mut self, memory: &mut [u8], part: Span, rights: u32) -> Answer;
    fn lease(&mut self, memory: &mut [u8], envelope: u32) -> Answer;
    fn read_lease(&mut self, memory: &mut [u8], envelope: u32, offset: u32, buffer: Span)
    -> Answer;
    fn write_lease(&mut self, memory: &mut [u8], envelope: u32, offset: u32, bytes: Span)
    -> Answer;
    fn own_pid(&mut self, memory: &mut [u8], pid: u32) -> Answer;
    fn parent(&mut self, memory: &mut [u8], pid: u32) -> Answer;
    fn devices(&mut self, memory: &mut [u8], pid: u32) -> Answer;
    fn argument(&mut self, memory: &mut [u8], buffer: Span) -> Answer;
    fn spawn(
        &mut self,
        memory: &mut [u8],
        program: Span,
        args: Span,
        argument: Span,
        pid: u32,
    ) -> Answer;
    /// `monitor`, `unmonitor`, `link`, `unlink` and `end`.
    fn watch(&mut self, memory: &mut [u8], pid: u32, watch: Watch) -> Answer;
    fn register(&mut self, memory: &mut [u8], name: Span) -> Answer;
    fn unregister(&mut self, memory: &mut [u8], name: Span) -> Answer;
    fn lookup(&mut self, memory: &mut [u8], name: Span, pid: u32) -> Answer;
    fn next_name(
        &mut self,
        memory: &mut [u8],
        prefix: Span,
        after: Span,
        name: Span,
        pid: u32,
    ) -> Answer;
    fn join(&mut self, memory: &mut [u8], name: Span) -> Answer;
    fn leave(&mut self, memory: &mut [u8], name: Span) -> Answer;
    fn members(&mut self, memory: &mut [u8], name: Span, pids: Span) -> Answer;
    fn send_all(
        &mut self,
        memory: &mut [u8],
        name: Span,
        message: Span,
        reply: Span,
        mode: u32,
    ) -> Answer;
    /// Registers the waker of `cx` if it is not there yet.
    fn wait(&mut self, cx: &mut Context<'_>, memory: &mut [u8]) -> Poll<Answer>;
}

/// What a process wants of another one's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// To be told of it.
    Monitor,
    /// Not to be told any more.
    Unmonitor,
    /// To end with it, unless it ends well.
    Link,
    /// Not any more.
    Unlink,
    /// To bring it about.
    End,
}

/// An address in a guest's memory, and a length.
pub type Span = (u32, u32);

/// A length, or why there is none.
pub type Answer = Result<u32, Status>;

/// The calls, and how many parameters each has; `true`: the last one has 64 bits.
const CALLS: [(&str, usize, bool); 29] = [
    ("send", 5, false),
    ("receive", 5, true),
    ("reply", 3, false),
    ("reply_receive", 7, true),
    ("forward", 4, false),
    ("notify", 2, true),
    ("lend", 3, false),
    ("lease", 1, false),
    ("read_lease", 4, false),
    ("write_lease", 4, false),
    ("own_pid", 1, false),
    ("parent", 1, false),
    ("devices", 1, false),
    ("argument", 2, false),
    ("spawn", 7, false),
    ("monitor", 1, false),
    ("unmonitor", 1, false),
    ("link", 1, false),
    ("unlink", 1, false),
    ("end", 1, false),
    ("register", 2, false),
    ("unregister", 2, false),
    ("lookup", 3, false),
    ("next_name", 7, false),
    ("join", 2, false),
    ("leave", 2, false),
    ("members", 4, false),
    ("send_all", 7, false),
    (WAIT, 0, false),
];

/// The type of the call of this name.
pub(crate) fn signature(engine: &Engine, name: &str) -> Option<FuncType> {
    let (_, count, wide) = CALLS.iter().find(|(known, ..)| *known == name)?;
    let mut parameters = vec![ValType::I32; *count];
    if let (true, Some(last)) = (*wide, parameters.last_mut()) {
        *last = ValType::I64;
    }
    Some(FuncType::new(engine, parameters, [ValType::I32]))
}

/// Offers the call of this name; `import` is its index in the module.
pub(crate) fn define(
    linker: &mut Linker<State>,
    name: &str,
    import: u32,
    form: Form,
) -> wasmtime::Result<()> {
    type Store<'a> = Caller<'a, State>;
    match (name, form) {
        (WAIT, Form::Program) => linker
            .func_wrap_async(MODULE, WAIT, move |caller, (): ()| Box::new(wait(caller, import)))?,
        (WAIT, Form::Handler) => {
            linker.func_wrap(MODULE, WAIT, move |caller: Store<'_>| wait_now(caller, import))?
        }
        ("send", _) => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, to, message, len, reply, room| {
                call(&mut caller, |kernel, memory| {
                    kernel.send(memory, to, (message, len), (reply, room))
                })
            },
        )?,
        ("receive", _) => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, from, buffer, room, envelope, timeout_ns: i64| {
                call(&mut caller, |kernel, memory| {
                    kernel.receive(memory, from, (buffer, room), envelope, timeout_ns)
                })
            },
        )?,
        ("reply", _) => {
            linker.func_wrap(MODULE, name, |mut caller: Store<'_>, envelope, message, len| {
                call(&mut caller, |kernel, memory| kernel.reply(memory, envelope, (message, len)))
            })?
        }
        ("reply_receive", _) => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, envelope, message, len, from, buffer, room, timeout: i64| {
                call(&mut caller, |kernel, memory| {
                    let (message, buffer) = ((message, len), (buffer, room));
                    kernel.reply_receive(memory, envelope, message, from, buffer, timeout)
                })
            },
        )?,
        ("forward", _) => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, envelope, to, message, len| {
                call(&mut caller, |kernel, memory| {
                    kernel.forward(memory, envelope, to, (message, len))
                })
            },
        )?,
        ("notify", _) => {
            linker.func_wrap(MODULE, name, |mut caller: Store<'_>, to, bits: i64| {
                call(&mut caller, |kernel, memory| kernel.notify(memory, to, bits as u64))
            })?
        }
        ("lend" | "lease" | "read_lease" | "write_lease", _) => leases(linker, name)?,
        ("join" | "leave" | "members" | "send_all", _) => groups(linker, name)?,
        ("own_pid", _) => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, pid| {
            call(&mut caller, |kernel, memory| kernel.own_pid(memory, pid))
        })?,
        ("parent", _) => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, pid| {
            call(&mut caller, |kernel, memory| kernel.parent(memory, pid))
        })?,
        ("devices", _) => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, pid| {
            call(&mut caller, |kernel, memory| kernel.devices(memory, pid))
        })?,
        ("argument", _) => {
            linker.func_wrap(MODULE, name, |mut caller: Store<'_>, buffer, room| {
                call(&mut caller, |kernel, memory| kernel.argument(memory, (buffer, room)))
            })?
        }
        ("spawn", _) => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, program, name_len, args, args_len, argument, len, pid| {
                call(&mut caller, |kernel, memory| {
                    let (program, args) = ((program, name_len), (args, args_len));
                    kernel.spawn(memory, program, args, (argument, len), pid)
                })
            },
        )?,
        ("monitor", _) => watch(linker, name, Watch::Monitor)?,
        ("unmonitor", _) => watch(linker, name, Watch::Unmonitor)?,
        ("link", _) => watch(linker, name, Watch::Link)?,
        ("unlink", _) => watch(linker, name, Watch::Unlink)?,
        ("end", _) => watch(linker, name, Watch::End)?,
        ("unregister", _) => {
            linker.func_wrap(MODULE, name, |mut caller: Store<'_>, name, len| {
                call(&mut caller, |kernel, memory| kernel.unregister(memory, (name, len)))
            })?
        }
        ("next_name", _) => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, prefix, len, after, after_len, name, room, pid| {
                call(&mut caller, |kernel, memory| {
                    kernel.next_name(memory, (prefix, len), (after, after_len), (name, room), pid)
                })
            },
        )?,
        ("register", _) => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, name, len| {
            call(&mut caller, |kernel, memory| kernel.register(memory, (name, len)))
        })?,
        ("lookup", _) => {
            linker.func_wrap(MODULE, name, |mut caller: Store<'_>, name, len, pid| {
                call(&mut caller, |kernel, memory| kernel.lookup(memory, (name, len), pid))
            })?
        }
        _ => linker,
    };
    Ok(())
}

fn leases<'a>(
    linker: &'a mut Linker<State>,
    name: &str,
) -> wasmtime::Result<&'a mut Linker<State>> {
    type Store<'a> = Caller<'a, State>;
    match name {
        "lend" => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, address, len, rights| {
            call(&mut caller, |kernel, memory| kernel.lend(memory, (address, len), rights))
        }),
        "lease" => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, envelope| {
            call(&mut caller, |kernel, memory| kernel.lease(memory, envelope))
        }),
        "read_lease" => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, envelope, offset, buffer, len| {
                call(&mut caller, |kernel, memory| {
                    kernel.read_lease(memory, envelope, offset, (buffer, len))
                })
            },
        ),
        _ => {
            linker.func_wrap(MODULE, name, |mut caller: Store<'_>, envelope, offset, bytes, len| {
                call(&mut caller, |kernel, memory| {
                    kernel.write_lease(memory, envelope, offset, (bytes, len))
                })
            })
        }
    }
}

fn groups<'a>(
    linker: &'a mut Linker<State>,
    name: &str,
) -> wasmtime::Result<&'a mut Linker<State>> {
    type Store<'a> = Caller<'a, State>;
    match name {
        "join" => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, name, len| {
            call(&mut caller, |kernel, memory| kernel.join(memory, (name, len)))
        }),
        "leave" => linker.func_wrap(MODULE, name, |mut caller: Store<'_>, name, len| {
            call(&mut caller, |kernel, memory| kernel.leave(memory, (name, len)))
        }),
        "members" => {
            linker.func_wrap(MODULE, name, |mut caller: Store<'_>, name, len, pids, room| {
                call(&mut caller, |kernel, memory| {
                    kernel.members(memory, (name, len), (pids, room))
                })
            })
        }
        _ => linker.func_wrap(
            MODULE,
            name,
            |mut caller: Store<'_>, name, name_len, message, len, reply, room, mode| {
                call(&mut caller, |kernel, memory| {
                    let name = (name, name_len);
                    kernel.send_all(memory, name, (message, len), (reply, room), mode)
                })
            },
        ),
    }
}

fn watch<'a>(
    linker: &'a mut Linker<State>,
    name: &str,
    what: Watch,
) -> wasmtime::Result<&'a mut Linker<State>> {
    linker.func_wrap(MODULE, name, move |mut caller: Caller<'_, State>, pid| {
        call(&mut caller, |kernel, memory| kernel.watch(memory, pid, what))
    })
}

/// Makes a call that does not block.
fn call(
    caller: &mut Caller<'_, State>,
    make: impl FnOnce(&mut dyn Messages, &mut [u8]) -> Answer,
) -> i32 {
    let (memory, state) = memory(caller);
    code(match &mut state.messages {
        Some(kernel) => make(&mut **kernel, memory),
        None => Err(Status::NoProcess),
    })
}

/// What a guest is answered. Lengths are far below what an `i32` holds.
fn code(answer: Answer) -> i32 {
    answer.map_or_else(Status::code, |len| i32::try_from(len).unwrap_or(i32::MAX))
}

fn poll(caller: &mut Caller<'_, State>, cx: &mut Context<'_>) -> Poll<Answer> {
    let (memory, state) = memory(caller);
    match &mut state.messages {
        Some(kernel) => kernel.wait(cx, memory),
        None => Poll::Ready(Err(Status::NotNow)),
    }
}

/// Waits on the process's fiber, until the answer is there or a freeze is wanted.
async fn wait(mut caller: Caller<'_, State>, import: u32) -> wasmtime::Result<i32> {
    let answer = poll_fn(|cx| {
        if let Poll::Ready(answer) = poll(&mut caller, cx) {
            return Poll::Ready(Some(answer));
        }
        let state = caller.data_mut();
        state.shared.register(cx.waker(), &mut state.known_waker);
        if state.hot.is_some() && state.shared.freeze_wanted() {
            return Poll::Ready(None);
        }
        Poll::Pending
    })
    .await;
    match answer {
        Some(answer) => Ok(code(answer)),
        None => interrupt(&mut caller, import, &[]).map(|()| 0),
    }
}

/// Answers at once, or parks the handler.
fn wait_now(mut caller: Caller<'_, State>, import: u32) -> wasmtime::Result<i32> {
    let waker = caller.data().waker.clone();
    match poll(&mut caller, &mut Context::from_waker(&waker)) {
        Poll::Ready(answer) => Ok(code(answer)),
        Poll::Pending => {
            caller.data_mut().parked = true;
            interrupt(&mut caller, import, &[]).map(|()| 0)
        }
    }
}

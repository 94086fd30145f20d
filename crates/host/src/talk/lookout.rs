//! A process that waits stays on its stack while packets of other cores come soon, and hears them for its kernel. So a call between
//! two cores takes no change of stacks and no turn of a core's loop.

use std::task::Waker;

use peripatos_engine::Answer;
use peripatos_kernel::Slot;

use super::{deliver, has_work, with};

/// What it waits for, if that comes soon. It says that it looks for it; and will be woken, if it does not come.
pub(super) fn wait(me: Slot, waker: &Waker, memory: &mut [u8]) -> Option<Answer> {
    let look_out = with(|talk| talk.surroundings.look_out)?;
    let mut answer = None;
    while answer.is_none()
        && let Some(word) = look_out()
    {
        let quiet;
        (answer, quiet) = with(|talk| {
            talk.kernel.arrived(*word);
            (talk.kernel.wait(me, memory), talk.kernel.is_quiet())
        })?;
        if !quiet {
            deliver();
            if has_work() {
                break;
            }
        }
    }
    with(|talk| {
        let seat = talk.seat(me);
        seat.looks = false;
        if answer.is_some() {
            talk.deadlines.clear(me);
        } else {
            seat.wake_by(waker);
            talk.looks_out = false;
        }
    })?;
    answer
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake};

    use peripatos_abi::Pid;
    use peripatos_abi::message::Status;
    use peripatos_engine::Messages as _;
    use peripatos_kernel::{Form, Kernel, Packet, Place};

    use super::*;
    use crate::talk::{Line, Surroundings, adopt, arrived, close, open, set_looks_out};

    const CLIENT: Pid = Pid::new(1, 2);
    const SERVER: Pid = Pid::new(3, 4);
    const ENVELOPE: u32 = 32;
    const MESSAGE: (u32, u32) = (100, 5);
    const REPLY: (u32, u32) = (200, 50);
    const THERE: Place = Place { node: 1, core: 1 };

    thread_local! {
        /// On its way to the other core.
        static SENT: RefCell<Vec<Packet>> = const { RefCell::new(Vec::new()) };
        /// The other core, with the server's memory.
        static OTHER: RefCell<Option<(Kernel, Slot, Vec<u8>)>> = const { RefCell::new(None) };
    }

    /// The server has its turn.
    fn serve() -> Option<Box<Packet>> {
        OTHER.with_borrow_mut(|other| {
            let (kernel, server, memory) = other.as_mut()?;
            SENT.take().into_iter().for_each(|packet| kernel.arrived(packet));
            kernel.receive(*server, memory, 0, MESSAGE, ENVELOPE).ok()?;
            memory[100..105].reverse();
            kernel.reply(*server, memory, ENVELOPE, MESSAGE).unwrap();
            kernel.next_packet()
        })
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn begin(look_out: fn() -> Option<Box<Packet>>) -> (Line, Vec<u8>) {
        open(Surroundings {
            post: Box::new(|packet| {
                SENT.with_borrow_mut(|sent| sent.push(*packet));
                None
            }),
            locate: Box::new(|pid| (pid == SERVER).then_some(THERE)),
            look_out,
            ..Surroundings::of_test(|_, _| false)
        });
        let mut kernel = Kernel::new(THERE, 0);
        let server = kernel.add(SERVER, Form::Fiber).unwrap();
        OTHER.set(Some((kernel, server, vec![0; 300])));
        adopt(CLIENT, None);
        let mut memory = vec![0; 300];
        memory[..16].copy_from_slice(&SERVER.bits().to_le_bytes());
        memory[100..105].copy_from_slice(b"hello");
        (Line::new(CLIENT), memory)
    }

    #[test]
    fn a_reply_that_comes_soon_is_there_without_a_change_of_stacks() {
        let (mut client, mut memory) = begin(serve);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        for _ in 0..2 {
            set_looks_out(true);
            assert_eq!(client.send(&mut memory, 0, MESSAGE, REPLY), Err(Status::Wait));
            let answer = client.wait(&mut Context::from_waker(&waker), &mut memory);
            assert_eq!(answer, Poll::Ready(Ok(5)));
            assert_eq!(&memory[200..205], b"olleh");
        }
        close();
        assert_eq!((woken.0.load(Ordering::Relaxed), Arc::strong_count(&woken)), (0, 2));
    }

    #[test]
    fn what_does_not_come_soon_is_waited_for() {
        let (mut client, mut memory) = begin(|| None);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        set_looks_out(true);
        assert_eq!(client.send(&mut memory, 0, MESSAGE, REPLY), Err(Status::Wait));
        assert!(client.wait(&mut context, &mut memory).is_pending());
        assert_eq!(with(|talk| talk.looks_out), Some(false), "it has not paid");
        arrived(*serve().unwrap());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(client.wait(&mut context, &mut memory), Poll::Ready(Ok(5)));
        close();
    }
}

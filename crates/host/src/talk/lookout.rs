//! A process that waits stays on its stack while packets of other cores come soon, and hears them for its kernel. So a call between
//! two cores takes no change of stacks and no turn of a core's loop.

use std::task::Waker;

use peripatos_engine::Answer;
use peripatos_kernel::{Packet, Slot};

use super::{arrived, deliver, has_work, with};

/// What came of looking.
#[derive(Debug, PartialEq)]
pub enum Looked {
    /// A word to this thread's kernel.
    Word(Box<Packet>),
    /// None, soon, or others want the thread: to look does not pay.
    Nothing,
    /// The thread has something else to do for a moment.
    NotNow,
}

/// What runs is about to wait.
pub(super) fn begin() {
    let begin = with(|talk| talk.looks_out.then_some(talk.surroundings.begin_looking));
    if let Some(begin) = begin.flatten() {
        begin();
    }
}

/// What it waits for, if that comes soon. It says that it looks for it; and will be woken, if it does not come.
pub(super) fn wait(me: Slot, waker: &Waker, memory: &mut [u8]) -> Option<Answer> {
    let look_out = with(|talk| talk.surroundings.look_out)?;
    let (mut answer, mut pays) = (None, true);
    while answer.is_none() && !has_work() {
        match look_out() {
            Looked::Word(word) => {
                arrived(*word);
                answer = look(me, memory);
            }
            looked => {
                pays = looked == Looked::NotNow;
                break;
            }
        }
    }
    with(|talk| {
        let seat = talk.seat(me);
        seat.looks = false;
        if answer.is_none() {
            seat.wake_by(waker);
            talk.looks_out = pays;
        }
    })?;
    // Nobody has woken it for what came since it looked, as long as it said that it looks.
    let answer = answer.or_else(|| look(me, memory))?;
    with(|talk| talk.deadlines.clear(me))?;
    Some(answer)
}

/// Whether it is there.
fn look(me: Slot, memory: &mut [u8]) -> Option<Answer> {
    let (answer, quiet) = with(|talk| (talk.kernel.wait(me, memory), talk.kernel.is_quiet()))?;
    if !quiet {
        deliver();
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Poll, Wake};

    use peripatos_abi::Pid;
    use peripatos_abi::message::{FIRST_REPLY, Status};
    use peripatos_engine::Messages as _;
    use peripatos_kernel::{Form, Kernel, Place};

    use super::*;
    use crate::talk::{Line, Surroundings, adopt, close, open, set_looks_out};

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
    fn serve() -> Looked {
        let word = OTHER.with_borrow_mut(|other| {
            let (kernel, server, memory) = other.as_mut()?;
            SENT.take().into_iter().for_each(|packet| kernel.arrived(packet));
            kernel.receive(*server, memory, 0, MESSAGE, ENVELOPE).ok()?;
            memory[100..105].reverse();
            kernel.reply(*server, memory, ENVELOPE, MESSAGE).unwrap();
            kernel.next_packet()
        });
        word.map_or(Looked::Nothing, Looked::Word)
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn begin(look_out: fn() -> Looked) -> (Line, Vec<u8>) {
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

    /// What a packet brings to one that sends in its stead is its own only when that one's turn has come.
    #[test]
    fn the_replies_of_a_group_are_not_missed() {
        let (mut client, mut memory) = begin(serve);
        memory[..4].copy_from_slice(b"crew");
        with(|talk| talk.names().join(b"crew", SERVER)).unwrap().unwrap();
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        set_looks_out(true);
        let sent = client.send_all(&mut memory, (0, 4), MESSAGE, REPLY, FIRST_REPLY);
        assert_eq!(sent, Err(Status::Wait));
        let answer = client.wait(&mut Context::from_waker(&waker), &mut memory);
        assert!(answer.is_ready(), "nobody would wake it");
        close();
    }

    #[test]
    fn what_does_not_come_soon_is_waited_for() {
        let (mut client, mut memory) = begin(|| Looked::Nothing);
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        set_looks_out(true);
        assert_eq!(client.send(&mut memory, 0, MESSAGE, REPLY), Err(Status::Wait));
        assert!(client.wait(&mut context, &mut memory).is_pending());
        assert_eq!(with(|talk| talk.looks_out), Some(false), "it has not paid");
        let Looked::Word(reply) = serve() else { panic!("it replies") };
        arrived(*reply);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(client.wait(&mut context, &mut memory), Poll::Ready(Ok(5)));
        close();
    }

    #[test]
    fn who_could_not_look_has_not_found_that_it_does_not_pay() {
        let (mut client, mut memory) = begin(|| Looked::NotNow);
        let mut context = Context::from_waker(Waker::noop());
        set_looks_out(true);
        assert_eq!(client.send(&mut memory, 0, MESSAGE, REPLY), Err(Status::Wait));
        assert!(client.wait(&mut context, &mut memory).is_pending());
        assert_eq!(with(|talk| talk.looks_out), Some(true));
        close();
    }

    /// Else whoever is sent something might answer before, and have it give way for that.
    #[test]
    fn it_says_that_it_will_look_before_what_it_sends_leaves() {
        thread_local! {
            static LEFT_BEFORE: RefCell<Option<usize>> = const { RefCell::new(None) };
        }
        for looks_out in [true, false] {
            let (mut client, mut memory) = begin(|| Looked::Nothing);
            SENT.take();
            LEFT_BEFORE.take();
            with(|talk| {
                talk.surroundings.begin_looking =
                    || LEFT_BEFORE.set(Some(SENT.with_borrow(Vec::len)));
            })
            .unwrap();
            set_looks_out(looks_out);
            assert_eq!(client.send(&mut memory, 0, MESSAGE, REPLY), Err(Status::Wait));
            assert_eq!(SENT.with_borrow(Vec::len), 1);
            assert_eq!(LEFT_BEFORE.take(), looks_out.then_some(0));
            close();
        }
    }
}

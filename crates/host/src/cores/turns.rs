//! The loop of a core's thread: whose turn it is, again and again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Poll;
use std::thread;

use peripatos_engine::Outcome;

use super::board::Board;
use super::core::{Core, Departure, Next};
use super::packet::Packet;
use super::tag::Wish;
use super::watch::Watch;
use super::{CoreEvent, ProcessEnd, cpus, here};

/// Runs processes on this thread until the board closes.
pub(super) fn serve(board: &Arc<Board>, number: usize, cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        cpus::pin(cpu);
    }
    board.post(number).open();
    here::enter(Core::new(Arc::clone(board), number));
    run(board, number);
    // In this order: what is dropped may still wake others.
    let late = board.post(number).inbox.close();
    let core = here::leave();
    drop((core, late));
}

fn run(board: &Arc<Board>, number: usize) {
    // Where there is one CPU, whoever could push has to get it first.
    let spin = thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
    let mut packets = VecDeque::new();
    let mut watch = Watch::start();
    loop {
        receive(board, number, &mut packets);
        match here::with(|core| core.next(&watch)) {
            Next::Run(mut turn) => {
                let polled = turn.run();
                // Those who came meanwhile are ahead of one who gives way.
                receive(board, number, &mut packets);
                if here::with(|core| core.is_closing()) {
                    return;
                }
                let used = watch.lap();
                let departure = here::with(|core| core.end_slice(turn, polled, used));
                if let Some(departure) = departure {
                    board.tell(leave(board, departure));
                    // What the event took is nobody's time.
                    watch.skip();
                }
            }
            Next::Give(core, parcel) => board.send(core, Packet::Take(parcel)),
            Next::Receive => {}
            Next::AskOn => {
                if board.idle.any() {
                    board.ask(number);
                }
            }
            Next::Wait => {
                board.idle.offer(number);
                board.ask(number);
                board.post(number).inbox.wait(spin);
                board.idle.withdraw(number);
                watch.skip();
            }
            Next::Close => return,
        }
    }
}

/// Empties the inbox.
fn receive(board: &Board, number: usize, packets: &mut VecDeque<Packet>) {
    board.post(number).inbox.take_all(packets);
    while let Some(packet) = packets.pop_front() {
        if let Some((core, packet)) = here::with(|core| core.receive(packet)) {
            board.send(core, packet);
        }
    }
}

/// The event of a process that leaves. It is dropped before its end is told.
fn leave(board: &Board, departure: Departure) -> CoreEvent {
    let Departure { tag, execution, polled } = departure;
    let killed = board.registry.leave(&tag) == Wish::Kill;
    drop(execution);
    let (pid, cpu) = (tag.pid(), tag.used());
    let end = match polled {
        Poll::Ready(Ok((process, Outcome::Frozen))) if !killed => {
            return CoreEvent::Stopped { process: *process, cpu };
        }
        Poll::Ready(Ok((_, Outcome::Frozen))) | Poll::Pending => ProcessEnd::Killed,
        Poll::Ready(Ok((_, Outcome::Exited(code)))) => ProcessEnd::Exited(code),
        Poll::Ready(Ok((_, Outcome::Raised(signal)))) => ProcessEnd::Raised(signal),
        Poll::Ready(Err(error)) => ProcessEnd::Failed(error),
    };
    CoreEvent::Ended { pid, end, cpu }
}

//! The loop of a core's thread: whose turn it is, again and again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::iter;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use peripatos_abi::Pid;
use peripatos_abi::message::Status;
use peripatos_engine::Outcome;

use super::board::Board;
use super::core::{Core, Departure, Next};
use super::crossing::Join;
use super::idle::Offers;
use super::lately::Lately;
use super::lookout::SPIN;
use super::packet::{Packet, Parcel};
use super::parting;
use super::sleep::Sleep;
use super::tag::Wish;
use super::watch::Watch;
use super::{CoreEvent, ProcessEnd, SLICE, cpus, handlers, here, wires};
use crate::talk::{self, Body, DeviceWord, Newcomer, Surroundings};

/// In place of a seat: handlers run, on no process's slice.
const HANDLERS: usize = usize::MAX - 1;
/// Calls of handlers until processes have their turn.
const WORK_MAX: usize = 64;

/// Runs processes on this thread until the board closes.
pub(super) fn serve(board: &Arc<Board>, number: usize, cpu: Option<usize>) {
    if let Some(cpu) = cpu {
        cpus::pin(cpu);
    }
    board.post(number).open();
    here::enter(Core::new(Arc::clone(board), number));
    let [bring, locate, kill, settle, named, deadlock, again] = [(); 7].map(|()| Arc::clone(board));
    talk::open(Surroundings {
        place: board.place(number),
        era: board.era(),
        names: Arc::clone(&board.names),
        post: Box::new(move |packet| {
            if let Some(packet) = bring.bring(packet) {
                bring.nobody(packet, 0);
            }
            None
        }),
        locate: {
            let lately = RefCell::new(Lately::default());
            Box::new(move |pid| {
                let core = lately.borrow_mut().core_of(&locate.registry, pid)?;
                Some(locate.place(core))
            })
        },
        named: Box::new(move || named.named()),
        // Who has gone has ended.
        kill: Box::new(move |pid| {
            let _ = kill.kill(pid);
        }),
        settle: Rc::new(move |newcomer| self::settle(&settle, number, newcomer)),
        deadlock: Box::new(move |circle| deadlock.deadlock(circle)),
        calls: Arc::clone(&board.post(number).calls),
        turn: here::turn,
        begin_looking: here::begin_looking,
        look_out: here::look_out,
        again: Rc::new(move |pid| {
            again.send(number, Packet::Devices(Box::new(DeviceWord::Retry(pid))));
        }),
    });
    talk::set_awake_max(board.awake_max);
    run(board, number);
    // In this order: what is dropped may still wake others.
    let late = board.post(number).inbox.close();
    let core = here::leave();
    wires::close();
    drop((core, late));
    talk::close();
}

/// Lets a new process run on this core, on which its parent does.
fn settle(board: &Arc<Board>, number: usize, newcomer: Newcomer) -> Result<(), Status> {
    talk::make_room();
    let Newcomer { body, parent, share } = newcomer;
    match body {
        Body::Process(process) => {
            let pid = process.pid();
            let parcel = board.enter(*process, number, share).map_err(|_| Status::TooMany)?;
            talk::adopt(pid, Some(parent));
            here::take(board, parcel);
        }
        Body::Handler(handler) => {
            let tag = board.enter_handler(&handler, number).map_err(|_| Status::TooMany)?;
            let waker = handlers::waker(board, &tag);
            // Its pid was free.
            let _ = talk::adopt_handler(handler, waker, Some(parent));
        }
    }
    Ok(())
}

fn run(board: &Arc<Board>, number: usize) {
    let mut packets = VecDeque::new();
    let mut watch = Watch::start();
    let mut sleep = Sleep::new();
    let mut offers = Offers::default();
    loop {
        receive(board, number, &mut packets);
        if handle(board, number, &mut watch) {
            // A handler that gave way has rung again: it is not to have the next turn, too.
            receive(board, number, &mut packets);
        }
        if sleep.tend(board, watch.at()) {
            let took = watch.lap();
            here::with(|core| core.queue.note_lull(took));
        }
        match here::with(|core| core.next(&watch)) {
            Next::Run(mut turn) => {
                sleep.note_turn(watch.at());
                if let Some(pid) = here::with(|core| turn.wakes(core)) {
                    board.registry.woke(pid);
                }
                let calls = talk::calls();
                let polled = turn.run();
                board.post(number).inbox.end_looking();
                // Those who came meanwhile are ahead of one who gives way.
                receive(board, number, &mut packets);
                if here::with(|core| core.is_closing()) {
                    return;
                }
                let waited = here::with(Core::take_waited);
                let used = watch.lap().saturating_sub(waited);
                let near = talk::calls() - calls;
                let departure = here::with(|core| core.end_slice(turn, polled, used, near));
                handlers::tell_over(board);
                let nested = iter::from_fn(|| here::with(Core::next_departure));
                for departure in departure.into_iter().chain(nested) {
                    board.tell(leave(board, departure));
                    // What the event took is nobody's time.
                    watch.skip();
                }
            }
            Next::Give(core, parcels) => {
                parcels.into_iter().for_each(|parcel| send(board, core, parcel));
            }
            Next::Part => {
                let began = watch.at();
                part(board, number);
                watch.skip();
                here::with(|core| core.note_parting(began, watch.at()));
            }
            Next::Join(join) => {
                self::join(board, number, join);
                watch.skip();
                offers.note_join(watch.at());
            }
            Next::Receive => {}
            Next::AskOn => {
                if board.idle.any() {
                    board.ask(number);
                }
            }
            Next::Wait if talk::has_work() => {}
            Next::Wait => {
                let paused = offers.paused_until(watch.at());
                if paused.is_none() {
                    board.idle.offer(number);
                    board.ask(number);
                }
                let held = here::with(|core| core.held_until_ns()).map(|ns| board.instant(ns));
                let until = talk::next_deadline().into_iter().chain(sleep.next_look());
                let began = watch.at();
                wires::wait(board, number, until.chain(held).chain(paused).min());
                let given = paused.is_none() && !board.idle.withdraw(number);
                watch.skip();
                let words = !board.post(number).inbox.is_empty();
                talk::set_looks_out(board.spin && words && watch.at() - began <= SPIN);
                if given {
                    offers.note_given(watch.at());
                }
            }
            Next::Close => return,
        }
    }
}

/// Gives an idle core some of those who talk with each other, if that pays.
fn part(board: &Board, number: usize) {
    let ready = here::with(|core| core.ready());
    let talkers = parting::free(ready, talk::partners, talk::is_laden);
    let Some(group) = parting::part(&talkers) else { return };
    let Some(core) = board.idle.claim() else { return };
    // First those who are called: so their callers find them there.
    for pid in group.servers.into_iter().chain(group.talkers) {
        if !give_handler(board, number, pid, core)
            && let Some(parcel) = here::with(|here| here.part_with(pid, core))
        {
            send(board, core, parcel);
        }
    }
}

/// All who talk go to another core.
fn join(board: &Board, number: usize, Join { core, since }: Join) {
    for pid in talk::called_since(board.time_ns(since)) {
        if !talk::is_laden(pid) {
            give_handler(board, number, pid, core);
        }
    }
    for pid in here::with(|here| here.talkers(since)) {
        if let Some(mut parcel) = here::with(|here| here.part_with(pid, core)) {
            parcel.habits.joins(core);
            send(board, core, parcel);
        }
    }
}

/// A handler leaves for another core. `false`: nobody of this pid is one here.
fn give_handler(board: &Board, number: usize, pid: Pid, core: usize) -> bool {
    let handler = board.registry.handler(pid);
    handler.map(|tag| handlers::give(board, number, &tag, core)).is_some()
}

/// A process leaves for another core, with all that it has under way with others.
fn send(board: &Board, core: usize, mut parcel: Parcel) {
    parcel.talking = talk::extract(parcel.tag.pid(), board.place(core)).map(Box::new);
    board.send(core, Packet::Take(parcel));
}

/// Empties the inbox, and takes in what has come by wires.
fn receive(board: &Arc<Board>, number: usize, packets: &mut VecDeque<Packet>) {
    wires::receive(board, number);
    board.post(number).inbox.take_all(packets);
    while let Some(packet) = packets.pop_front() {
        let Some(packet) = hear(board, number, packet) else { continue };
        if let Some((core, packet)) = here::with(|core| core.receive(packet)) {
            board.send(core, packet);
        }
    }
}

/// What a packet says to the kernel of this core. `None`: that was all.
fn hear(board: &Arc<Board>, number: usize, mut packet: Packet) -> Option<Packet> {
    match packet {
        Packet::Talk(packet) => {
            if let Some(core) = board.core_of(packet.source) {
                here::with(|here| here.crossing.note_packet(core));
            }
            talk::arrived(*packet);
        }
        Packet::Nobody(packet, asked) => {
            if let Some(packet) = talk::nobody(*packet, asked + 1 >= board.cores()) {
                board.nobody(Box::new(packet), asked + 1);
            }
        }
        Packet::Unreachable(node) => talk::unreachable(node),
        Packet::Wire(wire) => wires::open(board, number, *wire),
        Packet::LostNames(pid) => talk::tell_lost_names(pid),
        Packet::Visit(visit) => talk::visit(*visit),
        Packet::Leave(pid) => talk::leave(pid),
        Packet::Devices(word) => talk::tell_devices(*word),
        Packet::Survey(survey) => survey.answer(|pid| here::with(|core| core.doing(pid))),
        Packet::Serve(station) => handlers::take(board, number, station),
        Packet::Resume(tag) => handlers::resume(board, number, tag),
        Packet::Shift(tag) => handlers::attend(board, number, tag),
        Packet::Hurry(tag) if tag.is_handler() => handlers::attend(board, number, tag),
        Packet::Take(ref mut parcel) => {
            match parcel.talking.take() {
                Some(leaving) => talk::adopt_leaving(*leaving),
                None => talk::adopt(parcel.tag.pid(), None),
            }
            return Some(packet);
        }
        other => return Some(other),
    }
    None
}

/// Lets handlers do what they have to do on no sender's stack, and tells those who have waited long enough. Whether
/// there was something to do.
fn handle(board: &Board, number: usize, watch: &mut Watch) -> bool {
    let now_ns = board.time_ns(watch.at());
    let mut chores = talk::chores(now_ns);
    if chores.deadline.is_some_and(|at| at <= watch.at()) {
        talk::expire(watch.at());
        chores = talk::chores(now_ns);
    }
    let post = board.post(number);
    post.show_deadline(chores.deadline.map(|at| board.time_ns(at)));
    if !chores.work {
        return false;
    }
    post.show_running(HANDLERS, now_ns, watch.cpu());
    board.ticker.look_at(now_ns + SLICE.as_nanos() as u64);
    for _ in 0..WORK_MAX {
        if !talk::work() {
            break;
        }
    }
    post.show_nothing();
    handlers::tell_over(board);
    watch.skip();
    true
}

/// The event of a process that leaves. It is dropped before its end is told.
pub(super) fn leave(board: &Board, departure: Departure) -> CoreEvent {
    let Departure { tag, execution, polled } = departure;
    let killed = board.registry.leave(&tag) == Wish::Kill;
    drop(execution);
    let (pid, cpu) = (tag.pid(), tag.used());
    let ran = match polled {
        Poll::Ready(end) => Some(*end),
        Poll::Pending => None,
    };
    let end = match ran {
        Some(Ok((process, Outcome::Frozen))) if !killed => {
            let talking = talk::extract(pid, board.elsewhere()).map(Box::new);
            return CoreEvent::Stopped { process, talking, cpu };
        }
        Some(Ok((_, Outcome::Frozen))) | None => ProcessEnd::Killed,
        Some(Ok((_, Outcome::Exited(code)))) => ProcessEnd::Exited(code),
        Some(Ok((_, Outcome::Raised(signal)))) => ProcessEnd::Raised(signal),
        Some(Err(error)) => ProcessEnd::Failed(error),
    };
    talk::ended(pid, end.reason());
    CoreEvent::Ended { pid, end, cpu }
}

//! Signals to `peri` are signals to the program that it runs: they end it as they would natively, with nothing left
//! behind.
//!
//! Ctrl-C, SIGTERM and SIGHUP end the command by the signal itself, so that a shell sees 128+N and stops its script too.
//! What is done before may take its time; a second signal ends the command without waiting for it.
//! What was ignored when the command started (`nohup`, a background job of a script) stays ignored.

use crate::leftovers;
use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
/// What comes so soon after the first signal is the same wish: `timeout` signals a command, and then its process group.
const SAME_WISH: Duration = Duration::from_millis(100);

/// Starts to watch. Errors: the operating system refuses a handler or a thread.
pub(crate) fn watch() -> io::Result<()> {
    // Rust ignores SIGPIPE; a program natively is ended by it at the write, before it can see an error.
    signal_hook::flag::register_conditional_default(SIGPIPE, ends_by_broken_pipe().clone())?;
    let ignored = ignored_at_start();
    let watched = ENDING.iter().filter(|signal| ignored & mask(**signal) == 0);
    let mut signals = Signals::new(watched)?;
    thread::Builder::new().name("signals".into()).spawn(move || {
        let mut signals = signals.forever();
        let Some(signal) = signals.next() else { return };
        let begun = Instant::now();
        let hook = hook().take();
        let ending = move || {
            if let Some(hook) = hook {
                hook(signal);
            }
            end(signal);
        };
        if thread::Builder::new().name("ending".into()).spawn(ending).is_err() {
            end(signal);
        }
        if let Some(second) = signals.find(|_| begun.elapsed() >= SAME_WISH) {
            end(second);
        }
    })?;
    Ok(())
}

/// From now on a pipe or socket that nobody reads is an error for who writes: this command speaks to nodes, which may
/// end at any time.
pub(crate) fn broken_pipes_are_errors() {
    ends_by_broken_pipe().store(false, Ordering::Relaxed);
}

fn ends_by_broken_pipe() -> &'static Arc<AtomicBool> {
    static ENDS: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| Arc::new(AtomicBool::new(true)));
    &ENDS
}

/// What is done before this signal ends this command; it may take a moment. The last one given counts.
pub(crate) fn before_end(hooked: impl FnOnce(i32) + Send + 'static) {
    *hook() = Some(Box::new(hooked));
}

type Hook = Box<dyn FnOnce(i32) + Send>;

fn hook() -> MutexGuard<'static, Option<Hook>> {
    static HOOK: Mutex<Option<Hook>> = Mutex::new(None);
    // A function or none is whole after any panic.
    HOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end(signal: i32) -> ! {
    leftovers::remove_all();
    end_by(signal)
}

/// Ends this OS process as `signal` does by default; with 128+N if it does not end by it.
pub(crate) fn end_by(signal: i32) -> ! {
    if !is_first_of_its_namespace() {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    std::process::exit(128 + signal)
}

/// In a container, that is. No signal ends such a process by default, and whoever raises one all the same crashes.
fn is_first_of_its_namespace() -> bool {
    std::process::id() == 1
}

/// The operating system's number of a signal that a program raised against itself. WASI counts as Linux does, but
/// leaves out number 16.
pub(crate) fn number(signal: peripatos_abi::Signal) -> i32 {
    let number = signal as i32;
    if number < 16 { number } else { number + 1 }
}

/// The signals that this command was started with ignored, as a mask. None where the system does not tell.
fn ignored_at_start() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

fn mask(signal: i32) -> u64 {
    1 << (signal - 1)
}

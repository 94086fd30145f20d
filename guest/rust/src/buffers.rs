//! Room for messages: without allocation, and a page that nobody writes to costs nothing.

use std::cell::RefCell;
use std::thread::LocalKey;

use crate::message::MESSAGE_BYTES_MAX;

type Room = RefCell<[u8; MESSAGE_BYTES_MAX]>;

thread_local! {
    static CALL: Room = const { RefCell::new([0; MESSAGE_BYTES_MAX]) };
    static SERVE: Room = const { RefCell::new([0; MESSAGE_BYTES_MAX]) };
}

/// For a call: its message, and then its reply. Also what is to be sent once.
pub(crate) fn for_call<R>(act: impl FnOnce(&mut [u8]) -> R) -> R {
    with(&CALL, act)
}

/// For a server: one message at a time.
pub(crate) fn for_serving<R>(act: impl FnOnce(&mut [u8]) -> R) -> R {
    with(&SERVE, act)
}

/// Who needs a second one meanwhile, gets it from the heap: somebody's (de)serialisation makes calls, say.
fn with<R>(room: &'static LocalKey<Room>, act: impl FnOnce(&mut [u8]) -> R) -> R {
    room.with(|room| match room.try_borrow_mut() {
        Ok(mut room) => act(&mut room[..]),
        Err(_) => act(&mut vec![0; MESSAGE_BYTES_MAX]),
    })
}

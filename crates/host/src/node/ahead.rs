//! What a process may be about to read: sent along with what it has asked for, so that it need not ask for each piece.
//!
//! A process that does nothing but read on in a file cannot tell when its reads happen: it is told nothing by anybody in between. So what
//! was in the file when the first of them was answered is a right answer to the following ones, as if they had been made at once. Anything
//! else that it asks could tell it that time has passed, or others that it has come so far: what was sent ahead and not used is thrown away
//! first. (A process that also talks learns from others without asking its origin: for such nothing is sent ahead.) Somebody outside
//! may see it read what was there [`AGE_MAX`] before, and no longer.
//!
//! The descriptor stands at the origin where the process would have read to, but for what was used of what was sent ahead. That the origin is
//! told with the next request, whatever it is, again and again until one has had a reply ([`Used`]).

use std::sync::Arc;
use std::time::{Duration, Instant};

use peripatos_abi::Fd;
use peripatos_abi::device::{Ahead, Reply, Request, Used};
use peripatos_abi::limits::TRANSFER_BYTES_MAX;

/// So long what was sent ahead is good for.
const AGE_MAX: Duration = Duration::from_millis(100);
/// Bytes that are sent ahead when somebody begins to read on; then twice as many each time,
const BYTES_MIN: u32 = 64 << 10;
/// up to this.
const BYTES_MAX: u32 = 512 << 10;

/// Of one process. Pure: time comes in as an argument.
#[derive(Debug, Default)]
pub(super) struct ReadAhead {
    enabled: bool,
    sent: Option<Sent>,
    used: Option<Used>,
    /// What the process has asked last is to read here.
    reads: Option<Fd>,
    /// Bytes that were wanted last.
    window: u32,
}

/// What was sent ahead.
#[derive(Debug)]
struct Sent {
    fd: Fd,
    /// With the reply to this.
    sequence: u64,
    bytes: Arc<Vec<u8>>,
    /// Where it begins in these, behind what was asked for, and where the process is.
    begin: usize,
    next: usize,
    came: Instant,
}

/// What becomes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The answer is here.
    Here(Reply),
    /// The origin is asked, and told this.
    Ask(Ahead),
}

impl ReadAhead {
    /// From now on the origin is asked for more than is needed.
    pub(super) fn enable(&mut self) {
        self.enabled = true;
    }

    /// What the origin is to be told still.
    pub(super) fn used(&self) -> Option<Used> {
        self.used
    }

    /// What another node has left to be told.
    pub(super) fn continue_from(&mut self, used: Option<Used>) {
        self.used = used;
    }

    /// Nothing that was sent ahead is good any more.
    pub(super) fn forget(&mut self) {
        (self.sent, self.reads, self.window) = (None, None, 0);
    }

    /// The origin has answered something: what went with that it has heard.
    pub(super) fn heard(&mut self) {
        self.used = None;
    }

    /// The process asks something new.
    pub(super) fn ask(&mut self, now: Instant, request: &Request) -> Next {
        let Request::Read { fd, len: len @ 1.., offset: None } = *request else {
            self.forget();
            return Next::Ask(Ahead { used: self.used, bytes: 0 });
        };
        let len = len.min(TRANSFER_BYTES_MAX);
        if let Some(reply) = self.sent.as_mut().and_then(|sent| sent.take(now, fd, len)) {
            self.used = self.sent.as_ref().map(Sent::used);
            return Next::Here(reply);
        }
        // What is left of it may be less than is asked for: the origin sends that again, with the rest.
        self.sent = None;
        let reads_on = self.enabled && self.reads.replace(fd) == Some(fd);
        self.window = if reads_on { (2 * self.window).clamp(BYTES_MIN, BYTES_MAX) } else { 0 };
        Next::Ask(Ahead { used: self.used, bytes: self.window.min(TRANSFER_BYTES_MAX - len) })
    }

    /// The origin's reply to a request of this number: what the process gets of it.
    pub(super) fn came(
        &mut self,
        now: Instant,
        sequence: u64,
        request: &Request,
        reply: Reply,
    ) -> Reply {
        // The request said so, and was not answered without having been done.
        self.heard();
        let (Request::Read { fd, len, offset: None }, Reply::Data(bytes)) = (request, &reply)
        else {
            return reply;
        };
        let begin = (*len).min(TRANSFER_BYTES_MAX) as usize;
        if bytes.len() <= begin {
            return reply;
        }
        let asked = Reply::Data(Arc::new(bytes[..begin].to_vec()));
        if self.enabled {
            let (fd, bytes) = (*fd, Arc::clone(bytes));
            self.sent = Some(Sent { fd, sequence, bytes, begin, next: begin, came: now });
            self.reads = Some(fd);
        }
        asked
    }
}

impl Sent {
    /// All of `len` bytes, or nothing: a short read would be the end of the file.
    fn take(&mut self, now: Instant, fd: Fd, len: u32) -> Option<Reply> {
        let end = self.next + len as usize;
        let fresh = now.saturating_duration_since(self.came) <= AGE_MAX;
        if fd != self.fd || !fresh || end > self.bytes.len() {
            return None;
        }
        let bytes = self.bytes[self.next..end].to_vec();
        self.next = end;
        Some(Reply::Data(Arc::new(bytes)))
    }

    fn used(&self) -> Used {
        // A reply is no longer than a transfer.
        Used { sequence: self.sequence, bytes: (self.next - self.begin) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use peripatos_abi::Errno;

    fn read(fd: u32, len: u32) -> Request {
        Request::Read { fd: Fd(fd), len, offset: None }
    }

    fn data(bytes: impl Into<Vec<u8>>) -> Reply {
        Reply::Data(Arc::new(bytes.into()))
    }

    fn wants(bytes: u32) -> Next {
        Next::Ask(Ahead { used: None, bytes })
    }

    fn after(sequence: u64, used: u32, bytes: u32) -> Next {
        Next::Ask(Ahead { used: Some(Used { sequence, bytes: used }), bytes })
    }

    /// One that has read on for the second time, and has 1, 2, 3, 4, 5 and 6 of what was sent ahead.
    fn reading(now: Instant) -> ReadAhead {
        let mut ahead = ReadAhead::default();
        ahead.enable();
        assert_eq!(ahead.ask(now, &read(4, 2)), wants(0));
        assert_eq!(ahead.came(now, 1, &read(4, 2), data([8, 9])), data([8, 9]));
        assert_eq!(ahead.ask(now, &read(4, 2)), wants(BYTES_MIN));
        let reply = data([0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(ahead.came(now, 2, &read(4, 2), reply), data([0, 0]));
        ahead
    }

    #[test]
    fn who_reads_on_is_sent_more_each_time() {
        let now = Instant::now();
        let mut ahead = reading(now);
        assert_eq!(ahead.ask(now, &read(4, 2)), Next::Here(data([1, 2])));
        assert_eq!(ahead.ask(now, &read(4, 3)), Next::Here(data([3, 4, 5])));
        // Only all of it is given: the origin sends the last byte again.
        assert_eq!(ahead.ask(now, &read(4, 2)), after(2, 5, 2 * BYTES_MIN));
        assert_eq!(ahead.came(now, 5, &read(4, 2), data([6])), data([6]));
        for factor in [4, 8, 8] {
            assert_eq!(ahead.ask(now, &read(4, 2)), wants(factor * BYTES_MIN));
        }
        let all = ahead.ask(now, &read(4, TRANSFER_BYTES_MAX + 7));
        assert_eq!(all, wants(0), "a reply is no longer than a transfer");
    }

    #[test]
    fn whatever_else_it_asks_it_is_told_how_it_is_now() {
        let now = Instant::now();
        let others = [
            Request::Tell(Fd(4)),
            Request::Read { fd: Fd(4), len: 1, offset: Some(0) },
            Request::Write { fd: Fd(5), data: vec![1], offset: None },
            Request::Poll(Vec::new()),
            read(4, 0),
        ];
        for other in others {
            let mut ahead = reading(now);
            assert_eq!(ahead.ask(now, &read(4, 2)), Next::Here(data([1, 2])));
            assert_eq!(ahead.ask(now, &other), after(2, 2, 0), "{other:?}");
            assert_eq!(ahead.came(now, 4, &other, Reply::Done), Reply::Done);
            assert_eq!(ahead.ask(now, &read(4, 1)), wants(0), "{other:?}");
        }
        // Of another descriptor.
        let mut ahead = reading(now);
        assert_eq!(ahead.ask(now, &read(5, 1)), wants(0));
        assert_eq!(ahead.ask(now, &read(4, 1)), wants(0));
        // Later.
        let mut ahead = reading(now);
        let late = now + AGE_MAX + Duration::from_nanos(1);
        assert_eq!(ahead.ask(now + AGE_MAX, &read(4, 1)), Next::Here(data([1])));
        assert_eq!(ahead.ask(late, &read(4, 1)), after(2, 1, 2 * BYTES_MIN));
    }

    #[test]
    fn the_origin_is_told_what_was_used_until_it_has_heard() {
        let now = Instant::now();
        let mut ahead = reading(now);
        assert_eq!(ahead.used(), None);
        ahead.ask(now, &read(4, 2));
        let used = ahead.used();
        assert_eq!(used, Some(Used { sequence: 2, bytes: 2 }));
        // It is silent, and is asked again: nothing is used meanwhile.
        ahead.forget();
        assert_eq!(ahead.ask(now, &read(4, 2)), after(2, 2, 0));
        assert_eq!(ahead.ask(now, &Request::Tell(Fd(4))), after(2, 2, 0));
        // On another node, too; and an error is an answer.
        let mut there = ReadAhead::default();
        there.continue_from(used);
        assert_eq!(there.ask(now, &read(4, 2)), after(2, 2, 0));
        let failed = Reply::Failed(Errno::Io);
        assert_eq!(there.came(now, 9, &read(4, 2), failed.clone()), failed);
        assert_eq!(there.ask(now, &read(4, 2)), wants(0));
    }

    #[test]
    fn what_was_not_wanted_is_cut_off() {
        let now = Instant::now();
        // A reply to a request that was made on another node, which reads ahead.
        let mut ahead = ReadAhead::default();
        assert_eq!(ahead.ask(now, &read(4, 2)), wants(0));
        assert_eq!(ahead.came(now, 1, &read(4, 2), data([1, 2, 3])), data([1, 2]));
        assert_eq!(ahead.ask(now, &read(4, 1)), wants(0));
        assert_eq!(ahead.ask(now, &read(4, 1)), wants(0), "it is for programs that do not talk");
    }
}

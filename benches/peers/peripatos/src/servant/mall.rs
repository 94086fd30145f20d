//! Where chameneos meet: who comes first waits for the second, and each is told the other's colour.

use peripatos::Caller;

use crate::part::FADED;

/// See the module.
pub(crate) struct Mall {
    meetings_left: u64,
    waiting: Option<(Caller, u8)>,
}

impl Mall {
    pub(crate) fn new(meetings: u64) -> Mall {
        Mall { meetings_left: meetings, waiting: None }
    }

    pub(crate) fn serve(&mut self, caller: Caller, buffer: &mut [u8]) -> Option<usize> {
        if self.meetings_left == 0 {
            buffer[0] = FADED;
            return Some(1);
        }
        let colour = buffer[0];
        let Some((first, colour_of_first)) = self.waiting.take() else {
            self.waiting = Some((caller, colour));
            return None;
        };
        self.meetings_left -= 1;
        first.reply(&[colour]).expect("one who waits");
        buffer[0] = colour_of_first;
        Some(1)
    }
}

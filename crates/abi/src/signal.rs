//! The signals of WASI preview 1, which a process can only raise against itself.

/// A signal, with the number that the guest gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Signal {
    /// No signal.
    None = 0,
    /// Hangup.
    Hup = 1,
    /// Terminate interrupt signal.
    Int = 2,
    /// Terminal quit signal.
    Quit = 3,
    /// Illegal instruction.
    Ill = 4,
    /// Trace/breakpoint trap.
    Trap = 5,
    /// Process abort signal.
    Abrt = 6,
    /// Access to an undefined portion of a memory object.
    Bus = 7,
    /// Erroneous arithmetic operation.
    Fpe = 8,
    /// Kill.
    Kill = 9,
    /// User-defined signal 1.
    Usr1 = 10,
    /// Invalid memory reference.
    Segv = 11,
    /// User-defined signal 2.
    Usr2 = 12,
    /// Write on a pipe with no one to read it.
    Pipe = 13,
    /// Alarm clock.
    Alrm = 14,
    /// Termination signal.
    Term = 15,
    /// Child process terminated, stopped, or continued.
    Chld = 16,
    /// Continue executing, if stopped.
    Cont = 17,
    /// Stop executing.
    Stop = 18,
    /// Terminal stop signal.
    Tstp = 19,
    /// Background process attempting read.
    Ttin = 20,
    /// Background process attempting write.
    Ttou = 21,
    /// High bandwidth data is available at a socket.
    Urg = 22,
    /// CPU time limit exceeded.
    Xcpu = 23,
    /// File size limit exceeded.
    Xfsz = 24,
    /// Virtual timer expired.
    Vtalrm = 25,
    /// Profiling timer expired.
    Prof = 26,
    /// Window changed.
    Winch = 27,
    /// I/O possible.
    Poll = 28,
    /// Power failure.
    Pwr = 29,
    /// Bad system call.
    Sys = 30,
}

/// What a signal does to a process that has no handler for it; guests have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultAction {
    /// The process ends.
    Terminate,
    /// Nothing happens.
    Ignore,
    /// The process stops until it is continued, which no one can do: treated as `Terminate`.
    Stop,
}

impl Signal {
    const ALL: [Self; 31] = [
        Self::None,
        Self::Hup,
        Self::Int,
        Self::Quit,
        Self::Ill,
        Self::Trap,
        Self::Abrt,
        Self::Bus,
        Self::Fpe,
        Self::Kill,
        Self::Usr1,
        Self::Segv,
        Self::Usr2,
        Self::Pipe,
        Self::Alrm,
        Self::Term,
        Self::Chld,
        Self::Cont,
        Self::Stop,
        Self::Tstp,
        Self::Ttin,
        Self::Ttou,
        Self::Urg,
        Self::Xcpu,
        Self::Xfsz,
        Self::Vtalrm,
        Self::Prof,
        Self::Winch,
        Self::Poll,
        Self::Pwr,
        Self::Sys,
    ];

    /// The number the guest gives: 0 to 30.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The signal of this number.
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// What the specification says the signal does.
    #[must_use]
    pub const fn default_action(self) -> DefaultAction {
        match self {
            Self::None | Self::Pipe | Self::Chld | Self::Urg | Self::Winch | Self::Cont => {
                DefaultAction::Ignore
            }
            Self::Stop | Self::Tstp | Self::Ttin | Self::Ttou => DefaultAction::Stop,
            _ => DefaultAction::Terminate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_specification() {
        for (index, signal) in Signal::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(signal.code()), index);
        }
        assert_eq!(Signal::from_code(6), Some(Signal::Abrt));
        assert_eq!(Signal::from_code(30), Some(Signal::Sys));
        assert_eq!(Signal::from_code(31), None);
    }
}

//! Inputs: some by lot, most made of valid ones by changing a few bytes.

/// Xorshift (Marsaglia 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn byte(&mut self) -> u8 {
        // Numbers are short at the ends of their ranges.
        match self.below(4) {
            0 => [0, 1, 0x7f, 0x80, 0xff][self.below(5)],
            _ => self.below(256) as u8,
        }
    }
}

/// Says which input it was, if the check panics.
struct Input<'a>(&'a [u8]);

impl Drop for Input<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input: {:?}", self.0);
        }
    }
}

/// Checks the valid ones, and so many others.
pub(crate) fn each(valid: &[Vec<u8>], count: usize, check: impl Fn(&[u8])) {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let checked = |bytes: &[u8]| {
        let input = Input(bytes);
        check(input.0);
    };
    valid.iter().for_each(|bytes| checked(bytes));
    for _ in 0..count {
        if random.below(10) == 0 {
            let bytes: Vec<u8> = (0..random.below(200)).map(|_| random.byte()).collect();
            checked(&bytes);
            continue;
        }
        let mut bytes = valid[random.below(valid.len())].clone();
        for _ in 0..=random.below(4) {
            change(&mut bytes, valid, &mut random);
        }
        checked(&bytes);
    }
}

fn change(bytes: &mut Vec<u8>, valid: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    match random.below(7) {
        0 => bytes.truncate(at),
        1 => bytes.insert(at, random.byte()),
        2 => drop(bytes.splice(at..(at + 1 + random.below(4)).min(bytes.len()).max(at), [])),
        // The largest number of its kind.
        3 => drop(bytes.splice(at..at, vec![0xff; 1 + random.below(18)])),
        4 => {
            let other = &valid[random.below(valid.len())];
            let from = random.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
        _ => {
            let byte = random.byte();
            if let Some(changed) = bytes.get_mut(at) {
                *changed = byte;
            }
        }
    }
}

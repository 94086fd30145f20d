//! The cluster's token, and the one that it had before: a rotation and what becomes of those that miss it.
//!
//! A rotation draws a new token. Nodes tell it each other over their links; of two that were drawn, the one of the higher generation
//! counts, and of one generation the greater one, so that all come to the same. The token before is accepted until a time that
//! goes with it. After that it is still known, so that who comes with it can be told. A rotation is believed only of somebody who shows
//! that he had the token before.
//!
//! Who has a keyring signs for others; who has none has what they have signed ([`Certified`]). Pure: time comes in.

use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fmt, io};

use peripatos_cluster::{Certified, Proof, Secret, Tokens};

use super::authority::{Authority, PublicKey, Validity};
use super::datagram::gossip_secret;
use super::identity::IdentityError;
use super::statement::{self, Statement};
use super::token::{Token, TokenError};

/// Nobody was away for so many rotations, and could still make a link. Whoever says so must not use the numbers up.
const GENERATIONS_AHEAD_MAX: u64 = 1_000;

/// The tokens that a node has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring {
    generation: u64,
    token: Token,
    previous: Option<Previous>,
}

/// The token before, and until when it is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Previous {
    token: Token,
    /// Seconds since 1970.
    until: u64,
}

/// One that was never rotated, as far as its node knows.
impl From<Token> for Keyring {
    fn from(token: Token) -> Keyring {
        Keyring { generation: 0, token, previous: None }
    }
}

impl Keyring {
    /// The token in force.
    #[must_use]
    pub fn token(&self) -> &Token {
        &self.token
    }

    /// With a new token; the one in force is accepted for so long. Errors: the operating system's generator.
    pub fn rotated(&self, grace: Duration, now: SystemTime) -> io::Result<Keyring> {
        let until = match grace.is_zero() {
            true => 0,
            false => unix_seconds(now).saturating_add(grace.as_secs().max(1)),
        };
        let previous = Some(Previous { token: self.token.clone(), until });
        let generation = self.generation.saturating_add(1);
        Ok(Keyring { generation, token: Token::generate()?, previous })
    }

    /// With this token, which an operator has brought: the node was away while it was drawn. What the others say of it counts for
    /// more.
    #[must_use]
    pub fn with(&self, token: Token) -> Keyring {
        if token == self.token {
            return self.clone();
        }
        let previous = Some(Previous { token: self.token.clone(), until: 0 });
        Keyring { generation: 0, token, previous }
    }

    /// What another node has, if it is to be taken over.
    #[must_use]
    pub fn newer(&self, theirs: &Tokens) -> Option<Keyring> {
        let own = self.tokens();
        let is_newer = (theirs.generation, theirs.current) > (own.generation, own.current);
        let possible = theirs.generation <= self.generation.saturating_add(GENERATIONS_AHEAD_MAX);
        let before = theirs.previous.map(|(secret, _)| secret);
        let same_before = before.is_some() && before == own.previous.map(|(secret, _)| secret);
        let proved = theirs.current == own.current || before == Some(own.current) || same_before;
        (is_newer && possible && proved).then(|| Keyring::of(theirs))
    }

    /// What another node has, whatever it is.
    #[must_use]
    pub fn of(theirs: &Tokens) -> Keyring {
        let token = |secret: Secret| Token::from_secret(secret.0);
        let previous = theirs.previous;
        let previous = previous.map(|(before, until)| Previous { token: token(before), until });
        Keyring { generation: theirs.generation, token: token(theirs.current), previous }
    }

    /// What other nodes are told.
    #[must_use]
    pub fn tokens(&self) -> Tokens {
        let secret = |token: &Token| Secret(*token.secret());
        Tokens {
            generation: self.generation,
            current: secret(&self.token),
            previous: self.previous.as_ref().map(|one| (secret(&one.token), one.until)),
        }
    }

    /// A certificate for the node of this key, with all that it needs to be in the cluster.
    ///
    /// # Errors
    /// No certificate can be made.
    pub fn certify(&self, node: &PublicKey, now: SystemTime) -> Result<Certified, IdentityError> {
        let (authority, validity) = (Authority::of(&self.token)?, Validity::from(now));
        let mut chain = vec![authority.certify(node, validity)?.to_vec()];
        let (mut previous, mut gossip) = (None, vec![gossip_secret(&self.token)]);
        if let Some(Previous { token, until }) = &self.previous {
            gossip.extend((unix_seconds(now) < *until).then(|| gossip_secret(token)));
            let before = Authority::of(token)?;
            // So that those who have missed the rotation know whom they speak to, and can be told.
            chain.push(before.vouch_for(&authority, validity)?.to_vec());
            previous = Some((before.certificate.to_vec(), *until));
        }
        Ok(Certified {
            generation: self.generation,
            authority: authority.certificate.to_vec(),
            previous,
            chain,
            made: validity.made_unix_seconds(),
            gossip,
        })
    }

    /// Signs for what an operator says.
    ///
    /// # Errors
    /// The token makes no key.
    pub fn sign(&self, statement: Statement) -> Result<Proof, IdentityError> {
        statement::sign(statement, &self.token, self.previous.as_ref().map(|one| &one.token))
    }

    /// Whether the authority of the token in force is the one that has certified this.
    #[must_use]
    pub fn is_of(&self, certified: &Certified) -> bool {
        let own = Authority::of(&self.token);
        own.is_ok_and(|own| own.certificate.as_ref() == certified.authority.as_slice())
    }

    /// Whether it was ever rotated.
    #[must_use]
    pub fn was_rotated(&self) -> bool {
        self.generation > 0
    }

    /// What `Display` has written. Errors: it is nothing of that kind.
    pub fn parse(text: &str) -> Result<Keyring, KeyringError> {
        let mut lines = text.lines();
        let token = lines.next().unwrap_or_default().parse()?;
        let Some(line) = lines.next() else { return Ok(Keyring::from(token)) };
        let number = |text: &str| text.parse::<u64>().map_err(|_| KeyringError::Malformed);
        let generation = line.strip_prefix("generation ").ok_or(KeyringError::Malformed)?;
        let generation = number(generation)?;
        let previous = match lines.next() {
            None => None,
            Some(line) => {
                let rest = line.strip_prefix("before ").and_then(|rest| rest.split_once(" until "));
                let (token, until) = rest.ok_or(KeyringError::Malformed)?;
                Some(Previous { token: token.parse()?, until: number(until)? })
            }
        };
        match lines.next() {
            None => Ok(Keyring { generation, token, previous }),
            Some(_) => Err(KeyringError::Malformed),
        }
    }
}

/// A line each: the token, how often it was rotated, the one before. For the node's token file: it shows them.
impl fmt::Display for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.token)?;
        if self.was_rotated() || self.previous.is_some() {
            writeln!(f, "generation {}", self.generation)?;
        }
        if let Some(Previous { token, until }) = &self.previous {
            writeln!(f, "before {token} until {until}")?;
        }
        Ok(())
    }
}

/// Why a text is not what a node keeps of its tokens.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// What should be a token is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// A line is not as it must be.
    #[error("a line behind the token is malformed")]
    Malformed,
}

/// Seconds since 1970.
pub(super) fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    fn new() -> Keyring {
        Token::generate().unwrap().into()
    }

    #[test]
    fn the_token_before_is_accepted_for_its_time() {
        let now = UNIX_EPOCH + 500_000 * HOUR;
        let first = new();
        let check = |grace, after, expected| {
            let rotated = first.rotated(grace, now).unwrap();
            assert_ne!(rotated.token, first.token);
            let previous = rotated.previous.unwrap();
            assert_eq!(previous.token, first.token);
            let accepted = unix_seconds(now + after) < previous.until;
            assert_eq!(accepted, expected, "{grace:?} {after:?}");
        };
        check(HOUR, Duration::ZERO, true);
        check(HOUR, HOUR - Duration::from_secs(1), true);
        check(HOUR, HOUR, false);
        check(Duration::ZERO, Duration::ZERO, false);
        check(Duration::from_millis(1), Duration::ZERO, true);
        check(Duration::MAX, 1_000_000 * HOUR, true);
    }

    #[test]
    fn all_come_to_the_same() {
        let (now, first) = (SystemTime::now(), new());
        let rotated = first.rotated(HOUR, now).unwrap();
        let again = rotated.rotated(HOUR, now).unwrap();
        assert_eq!(first.newer(&rotated.tokens()), Some(rotated.clone()));
        for (own, theirs) in [(&rotated, &first), (&again, &rotated), (&again, &again)] {
            assert_eq!(own.newer(&theirs.tokens()), None);
        }
        // Two at once: one of them, for both.
        let other = first.rotated(HOUR, now).unwrap();
        let taken = [rotated.newer(&other.tokens()), other.newer(&rotated.tokens())];
        assert_eq!(taken.iter().flatten().count(), 1);
        // An operator brings it to one that was away; the others say the rest.
        for away in [&first, &new(), &again] {
            let brought = away.with(other.token.clone());
            assert_eq!(brought.newer(&other.tokens()), Some(other.clone()));
            assert_eq!(other.newer(&brought.tokens()), None);
        }
        assert_eq!(rotated.with(rotated.token.clone()), rotated);
    }

    #[test]
    fn only_who_had_the_token_before_rotates_it_and_nobody_uses_the_generations_up() {
        let first = new();
        let stranger = new().rotated(HOUR, SystemTime::now()).unwrap();
        assert_eq!(first.newer(&stranger.tokens()), None);
        assert_eq!(first.newer(&Tokens { previous: None, ..stranger.tokens() }), None);
        let next = first.rotated(HOUR, SystemTime::now()).unwrap();
        let of = |generation| Tokens { generation, ..next.tokens() };
        assert!(first.newer(&of(GENERATIONS_AHEAD_MAX)).is_some());
        assert_eq!(first.newer(&of(GENERATIONS_AHEAD_MAX + 1)), None);
        assert_eq!(first.newer(&of(u64::MAX)), None);
    }

    #[test]
    fn text_and_back() {
        let first = new();
        let rotated = first.rotated(HOUR, SystemTime::now()).unwrap();
        for one in [first.with(Token::generate().unwrap()), first.clone(), rotated.clone()] {
            assert_eq!(Keyring::parse(&one.to_string()), Ok(one));
        }
        assert_eq!(first.to_string().lines().count(), 1, "as it always was");
        let text = rotated.to_string();
        let check = |text: &str| assert!(Keyring::parse(text).is_err(), "{text:?}");
        check("");
        check("short\n");
        check(&format!("{}x\n", first.token));
        check(&text.replace("generation", "generations"));
        check(&text.replace("until", "after"));
        check(&format!("{text}more\n"));
        assert!(!format!("{rotated:?}").contains(&rotated.token.to_string()));
    }
}

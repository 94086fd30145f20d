//! The cluster's secret: who holds the token belongs to the cluster, nobody else does.
//!
//! Invariants:
//! * 32 bytes from the operating system's generator; as text 52 characters of lower-case base32 (RFC 4648, no padding),
//!   which can be read aloud, selected with a double click and passed as one word of a command line.
//! * One token has one text: bits that the last character has to spare are zero, or the text is refused.
//! * `Debug` does not show the secret. `Display` does; it is for the operator's eyes and the token file.

use rustix::rand::{GetRandomFlags, getrandom};
use std::fmt;
use std::io;
use std::str::FromStr;

const TOKEN_BYTES: usize = 32;
/// Length of the text: 256 bits at 5 a character, rounded up.
const TEXT_CHARACTERS: usize = (TOKEN_BYTES * 8).div_ceil(5);
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The secret that all nodes of a cluster share.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; TOKEN_BYTES]);

/// Why a text is not a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Too short or too long: not copied as a whole.
    #[error("a token has {TEXT_CHARACTERS} characters, this has {0}")]
    Length(usize),
    /// Not of the alphabet; the position counts from 1.
    #[error("{character:?}, character {position}, is not in a token (a-z and 2-7 are)")]
    Character {
        /// What stands there.
        character: char,
        /// Where.
        position: usize,
    },
    /// The last character says more than 32 bytes.
    #[error("the token's last character is wrong")]
    Last,
}

impl Token {
    /// Draws a new token. Errors: the operating system's generator.
    pub fn generate() -> io::Result<Token> {
        let mut bytes = [0; TOKEN_BYTES];
        // Up to 256 bytes come as a whole, says getrandom(2).
        let drawn = getrandom(&mut bytes, GetRandomFlags::empty())?;
        if drawn != TOKEN_BYTES {
            return Err(io::Error::other("the random generator gave too little"));
        }
        Ok(Token(bytes))
    }

    /// The token of this secret.
    pub(crate) fn from_secret(secret: [u8; TOKEN_BYTES]) -> Token {
        Token(secret)
    }

    /// The secret itself, to derive keys from.
    pub(crate) fn secret(&self) -> &[u8; TOKEN_BYTES] {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bit = |index: usize| {
            self.0.get(index / 8).map_or(0, |byte| usize::from(byte >> (7 - index % 8) & 1))
        };
        for character in 0..TEXT_CHARACTERS {
            let value = (0..5).fold(0, |value, next| value << 1 | bit(character * 5 + next));
            write!(f, "{}", char::from(ALPHABET[value]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(secret)")
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// White space around the text, such as a file's last newline, is not part of it.
    fn from_str(text: &str) -> Result<Token, TokenError> {
        let text = text.trim();
        let characters = text.chars().count();
        if characters != TEXT_CHARACTERS {
            return Err(TokenError::Length(characters));
        }
        let mut bytes = [0_u8; TOKEN_BYTES];
        for (index, character) in text.chars().enumerate() {
            let value = ALPHABET.iter().position(|known| char::from(*known) == character);
            let value = value.ok_or(TokenError::Character { character, position: index + 1 })?;
            for bit in (0..5).filter(|bit| value >> (4 - bit) & 1 == 1) {
                let at = index * 5 + bit;
                *bytes.get_mut(at / 8).ok_or(TokenError::Last)? |= 1 << (7 - at % 8);
            }
        }
        Ok(Token(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let check = |bytes: [u8; TOKEN_BYTES], start: &str| {
            let text = Token(bytes).to_string();
            assert!(text.starts_with(start), "{text}");
            assert_eq!(text.len(), TEXT_CHARACTERS);
            assert_eq!(text.parse(), Ok(Token(bytes)));
        };
        check([0; TOKEN_BYTES], "aaaa");
        check([0xff; TOKEN_BYTES], "7777");
        // RFC 4648, section 10: "foobar" is MZXW6YTBOI.
        let mut bytes = [0; TOKEN_BYTES];
        bytes[..6].copy_from_slice(b"foobar");
        check(bytes, "mzxw6ytboi");
        check(*Token::generate().unwrap().secret(), "");
    }

    #[test]
    fn tokens_differ() {
        assert_ne!(Token::generate().unwrap(), Token::generate().unwrap());
    }

    #[test]
    fn a_wrong_text_says_what_is_wrong() {
        let good = Token([7; TOKEN_BYTES]).to_string();
        let check = |text: &str, expected: TokenError| {
            assert_eq!(text.parse::<Token>(), Err(expected));
        };
        assert_eq!(format!(" {good}\n").parse(), Ok(Token([7; TOKEN_BYTES])));
        check("", TokenError::Length(0));
        check(&good[1..], TokenError::Length(51));
        check(
            &good.to_uppercase(),
            TokenError::Character {
                character: good.to_uppercase().chars().next().unwrap(),
                position: 1,
            },
        );
        check(&format!("{}ä", &good[..51]), TokenError::Character { character: 'ä', position: 52 });
        check(&format!("{}b", &good[..51]), TokenError::Last);
    }

    #[test]
    fn debug_keeps_the_secret() {
        assert_eq!(format!("{:?}", Token([7; TOKEN_BYTES])), "Token(secret)");
    }
}

//! The fingerprint of a certificate: by it a person tells one node which other one is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The SHA-256 of a certificate, `sha256:` and 64 hexadecimal digits: what `pspawn node` prints and
/// [`Pool::attach_pinned`](crate::Pool::attach_pinned) asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate in DER.
    pub(crate) fn of(certificate: &[u8]) -> Fingerprint {
        Fingerprint(Sha256::digest(certificate).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PREFIX)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Fingerprint, FingerprintError> {
        let fault = || FingerprintError { text: text.chars().take(TEXT_CHARS_MAX).collect() };
        let digits = text.strip_prefix(PREFIX).ok_or_else(fault)?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(fault());
        }
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16);
        let mut bytes = [0; 32];
        for (at, place) in bytes.iter_mut().enumerate() {
            *place = byte(at).map_err(|_| fault())?;
        }
        Ok(Fingerprint(bytes))
    }
}

/// A text that is no fingerprint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is no fingerprint: expected sha256: and 64 hexadecimal digits, as `pspawn node` prints it"
)]
pub struct FingerprintError {
    /// The text, or the beginning of a long one.
    pub text: String,
}

const PREFIX: &str = "sha256:";

/// What an error shows of a text.
const TEXT_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_as_it_is_printed() {
        let fingerprint = Fingerprint::of(b"a certificate");
        let text = fingerprint.to_string();
        assert!(text.starts_with("sha256:") && text.len() == 71, "{text}");
        assert_eq!(text.parse(), Ok(fingerprint));
        assert_eq!(format!("sha256:{}", text[7..].to_uppercase()).parse(), Ok(fingerprint));
    }

    #[test]
    fn what_is_no_fingerprint_is_refused() {
        let short = format!("sha256:{}", "a".repeat(63));
        let signed = format!("sha256:{}", "+a".repeat(32));
        let other = format!("sha256:{}ä", "a".repeat(62));
        for text in ["", "sha256:", "sha1:00", &"a".repeat(64), &short, &signed, &other] {
            assert!(text.parse::<Fingerprint>().is_err(), "{text}");
        }
    }
}

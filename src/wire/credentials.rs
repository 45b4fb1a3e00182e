//! What a node proves itself with to nodes of other hosts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A certificate of the pool's own authority for one node, with its key. Made by the master, and handed
/// over on channels that are as secret as the cookie.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// The certificate of the pool's authority, DER.
    #[serde(with = "crate::term::bytes_field")]
    pub(crate) ca: Vec<u8>,
    /// The node's certificate, DER.
    #[serde(with = "crate::term::bytes_field")]
    pub(crate) cert: Vec<u8>,
    /// Its private key, DER of PKCS #8.
    #[serde(with = "crate::term::bytes_field")]
    pub(crate) key: Vec<u8>,
}

/// Nothing of it: it may end up in a log.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

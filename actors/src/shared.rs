//! Functions that work on the master's files, on whichever node they run: what they read comes in chunks, a few
//! ahead, so a file of any size takes little memory.
//!
//! ```text
//! $ pspawn spawn shared sha256 '["large.iso"]'
//! {"bytes":1073741824,"millis":2210,"sha256":"9a0c…"}
//! $ pspawn spawn shared list '["."]'
//! ```

use std::time::Instant;

use pspawn::FileError;
use pspawn::prelude::*;
use sha2::{Digest, Sha256};

/// What a file is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digested {
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// How long it took to read and digest.
    pub millis: u64,
}

/// Reads a file of the master's and digests it here.
pub async fn sha256(ctx: Ctx, path: String) -> Digested {
    let digested = async {
        let begin = Instant::now();
        let mut file = ctx.files().open(&path).await?;
        let (mut hash, mut bytes) = (Sha256::new(), 0);
        while let Some(chunk) = file.read_chunk().await? {
            hash.update(&chunk);
            bytes += chunk.len() as u64;
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let millis = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Digested { bytes, sha256, millis })
    };
    digested.await.unwrap_or_else(or_exit)
}

/// The names in a directory of the master's.
pub async fn list(ctx: Ctx, path: String) -> Vec<String> {
    let entries = ctx.files().list(&path).await.unwrap_or_else(or_exit);
    entries.into_iter().map(|entry| entry.name.to_string_lossy().into_owned()).collect()
}

remote_fn!("shared": sha256, list);

fn or_exit<T>(why: FileError) -> T {
    exit(ExitReason::exit(why.to_string()))
}

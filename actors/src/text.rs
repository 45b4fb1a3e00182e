//! Functions that count the words of a text or of a file, wherever they run.
//!
//! A function that fails says why in its exit reason: that is an answer, which whoever called gets and
//! whoever is linked hears. It needs no error type, and there is no trace of a panic.
//!
//! ```text
//! $ pspawn spawn text word_count '["README.md"]'
//! ```

use std::collections::HashMap;

use pspawn::FileError;
use pspawn::prelude::*;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

/// How much text there is, and which words are in it most often.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordCount {
    /// Its lines; the last one may lack its end.
    pub lines: u64,
    /// What white space separates.
    pub words: u64,
    /// Its length.
    pub bytes: u64,
    /// The ten most frequent words, in lower case and without punctuation around them; of those that
    /// are equally frequent the first in the alphabet.
    pub most_frequent: Vec<(String, u64)>,
}

/// Counts the words of a file of the node where this runs.
pub async fn word_count(_: Ctx, path: String) -> WordCount {
    let counted = async {
        let (mut file, mut piece) = (File::open(&path).await?, vec![0; PIECE_BYTES]);
        let mut tally = Tally::default();
        loop {
            match file.read(&mut piece).await? {
                0 => return Ok(tally.end()),
                bytes => tally.take(&piece[..bytes]),
            }
            yield_now().await;
        }
    };
    counted.await.unwrap_or_else(|why: std::io::Error| {
        // Where this runs is another folder than where it was asked for, perhaps.
        let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
        exit(ExitReason::exit(format!("cannot read {}: {why}", path.display())))
    })
}

/// Counts the words of a file of the master's, on whichever node this runs: one below a directory that the
/// master shares.
pub async fn count_shared(ctx: Ctx, path: String) -> WordCount {
    let counted = async {
        let mut file = ctx.files().open(&path).await?;
        let mut tally = Tally::default();
        while let Some(chunk) = file.read_chunk().await? {
            tally.take(&chunk);
        }
        Ok(tally.end())
    };
    counted.await.unwrap_or_else(|why: FileError| exit(ExitReason::exit(why.to_string())))
}

/// Counts the words of a text.
pub async fn count_words(_: Ctx, text: String) -> WordCount {
    let mut tally = Tally::default();
    for piece in text.as_bytes().chunks(PIECE_BYTES) {
        tally.take(piece);
        yield_now().await;
    }
    tally.end()
}

remote_fn!("text": word_count, count_shared, count_words);

/// A count in the making.
#[derive(Default)]
struct Tally {
    count: WordCount,
    seen: HashMap<String, u64>,
    /// The beginning of a word whose end is in the next piece.
    begun: Vec<u8>,
    in_line: bool,
}

impl Tally {
    fn take(&mut self, piece: &[u8]) {
        self.count.bytes += piece.len() as u64;
        self.count.lines += piece.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.in_line = piece.last().is_some_and(|byte| *byte != b'\n');
        self.begun.extend_from_slice(piece);
        // All but what follows the last white space: in UTF-8 no part of a longer character looks like it.
        let whole = self.begun.iter().rposition(u8::is_ascii_whitespace).map_or(0, |at| at + 1);
        let rest = self.begun.split_off(whole);
        let words = std::mem::replace(&mut self.begun, rest);
        self.words(&words);
    }

    fn words(&mut self, text: &[u8]) {
        for word in String::from_utf8_lossy(text).split_whitespace() {
            self.count.words += 1;
            let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            if !word.is_empty() {
                *self.seen.entry(word).or_default() += 1;
            }
        }
    }

    fn end(mut self) -> WordCount {
        let last = std::mem::take(&mut self.begun);
        self.words(&last);
        self.count.lines += u64::from(self.in_line);
        let mut seen: Vec<(String, u64)> = self.seen.into_iter().collect();
        seen.sort_by(|(a, often), (b, more_often)| more_often.cmp(often).then_with(|| a.cmp(b)));
        seen.truncate(MOST_FREQUENT);
        self.count.most_frequent = seen;
        self.count
    }
}

const MOST_FREQUENT: usize = 10;

/// As much is counted in one go.
const PIECE_BYTES: usize = 64 << 10;

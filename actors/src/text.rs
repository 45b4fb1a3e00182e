//! Functions that count the words of a text or of a file, wherever they run.
//!
//! A function that fails says why in its exit reason: that is an answer, which whoever called gets and
//! whoever is linked hears. It needs no error type, and there is no trace of a panic.
//!
//! ```text
//! $ pspawn spawn text word_count '["README.md"]'
//! ```

use std::collections::HashMap;

use pspawn::prelude::*;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, BufReader};

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
    let counted = async { count(BufReader::new(File::open(&path).await?)).await };
    counted.await.unwrap_or_else(|why| {
        // Where this runs is another folder than where it was asked for, perhaps.
        let path = std::path::absolute(&path).unwrap_or_else(|_| path.into());
        exit(ExitReason::exit(format!("cannot read {}: {why}", path.display())))
    })
}

/// Counts the words of a file of the master's, on whichever node this runs: one below a directory that the
/// master shares.
pub async fn count_shared(ctx: Ctx, path: String) -> WordCount {
    match ctx.files().read(&path).await {
        Ok(text) => count(&text[..]).await.expect("to read from memory cannot fail"),
        Err(why) => exit(ExitReason::exit(why.to_string())),
    }
}

/// Counts the words of a text.
pub async fn count_words(_: Ctx, text: String) -> WordCount {
    count(text.as_bytes()).await.expect("to read from memory cannot fail")
}

remote_fn!("text": word_count, count_shared, count_words);

async fn count(mut text: impl AsyncBufRead + Unpin) -> std::io::Result<WordCount> {
    let mut count = WordCount::default();
    let mut seen: HashMap<String, u64> = HashMap::new();
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line).await? > 0 {
        count.lines += 1;
        count.bytes += line.len() as u64;
        for word in String::from_utf8_lossy(&line).split_whitespace() {
            count.words += 1;
            let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
            if !word.is_empty() {
                *seen.entry(word).or_default() += 1;
            }
        }
        line.clear();
        yield_now().await;
    }
    let mut seen: Vec<(String, u64)> = seen.into_iter().collect();
    seen.sort_by(|(a, often), (b, more_often)| more_often.cmp(often).then_with(|| a.cmp(b)));
    seen.truncate(MOST_FREQUENT);
    count.most_frequent = seen;
    Ok(count)
}

const MOST_FREQUENT: usize = 10;

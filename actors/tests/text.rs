//! Words counted, in a file and in a text.

#[path = "support/pool.rs"]
mod support;

use pspawn::prelude::*;
use pspawn_actors::text::WordCount;
use support::on_pool;

#[test]
fn the_words_of_a_file_are_counted_where_the_pool_likes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a text");
    std::fs::write(&path, TEXT).unwrap();
    on_pool(|pool| async move {
        let running = pool.call::<WordCount>("text", "word_count", (path,)).await?;
        assert_eq!(running.result().await?, expected());
        Ok(())
    });
}

#[test]
fn a_text_is_counted_like_a_file() {
    on_pool(|pool| async move {
        let running = pool.call::<WordCount>("text", "count_words", (TEXT,)).await?;
        assert_eq!(running.result().await?, expected());
        let running = pool.call::<WordCount>("text", "count_words", ("",)).await?;
        assert_eq!(running.result().await?, WordCount::default());
        Ok(())
    });
}

#[test]
fn a_missing_file_is_an_exit_reason_that_names_it() {
    on_pool(|pool| async move {
        let running = pool.call::<WordCount>("text", "word_count", ("/no/such/file",)).await?;
        let why = "cannot read /no/such/file: No such file or directory (os error 2)";
        let failed = running.result().await.unwrap_err();
        assert_eq!(failed.exit_reason(), Some(&ExitReason::exit(why)));
        Ok(())
    });
}

const TEXT: &str = "One fish, two fish,\nred fish – blue fish!\n\n(ONE) a b c d e f g h";

fn expected() -> WordCount {
    let most_frequent = [
        ("fish", 4),
        ("one", 2),
        ("a", 1),
        ("b", 1),
        ("blue", 1),
        ("c", 1),
        ("d", 1),
        ("e", 1),
        ("f", 1),
        ("g", 1),
    ];
    WordCount {
        lines: 4,
        words: 18,
        bytes: TEXT.len() as u64,
        most_frequent: most_frequent.map(|(word, times)| (word.to_owned(), times)).to_vec(),
    }
}

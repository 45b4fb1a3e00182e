//! The master's files, from a slave: on whatever machine it is, it writes, appends, lists and reads them
//! there, and nothing but what the master shares.
//!
//! ```text
//! $ cargo run --example files
//! a slave has written: notes.txt, 32 bytes
//! the first line is: one
//! it may not read /etc/passwd
//! ```

use pspawn::FileError;
use pspawn::prelude::*;

/// Runs on a slave; the files are the master's all the same.
async fn takes_notes(ctx: Ctx) -> Result<(), String> {
    let notes = async {
        let mut file = ctx.files().create("notes.txt").await?;
        for line in ["one", "two", "three"] {
            file.write_all(format!("{line}\n").as_bytes()).await?;
        }
        file.close().await?; // they are on the master's disk
        let mut log = ctx.files().append("notes.txt").await?;
        log.write_all(b"four, appended by\n").await?;
        log.close().await
    };
    notes.await.map_err(|why: FileError| why.to_string())
}
remote_fn!("files": takes_notes);

fn main() -> ExitCode {
    pspawn::run(|| async {
        let folder = std::env::temp_dir().join(format!("pspawn-files-{}", std::process::id()));
        std::fs::create_dir(&folder)?;
        let pool = Pool::builder("demo").local(1).share(&folder).start().await?;
        pool.call::<Result<(), String>>("files", "takes_notes", ()).await?.await??;

        for entry in pool.files().list(".").await? {
            println!("a slave has written: {}, {} bytes", entry.name.display(), entry.len);
        }
        let notes = pool.files().read_to_string("notes.txt").await?;
        println!("the first line is: {}", notes.lines().next().unwrap_or("none"));
        if let Err(FileError::NotAllowed { path, .. }) = pool.files().read("/etc/passwd").await {
            println!("it may not read {}", path.display());
        }
        std::fs::remove_dir_all(&folder)?;
        pool.stop().await
    })
}

//! Shell commands: only where they are allowed, and gone with their actor.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::Command;

use pspawn::prelude::*;
use pspawn::{Cookie, Error, SpawnError};
use pspawn_actors::shell::Done;

#[test]
fn a_command_is_run_and_its_output_and_code_are_returned() {
    with_shell(|pool| async move {
        let command = "echo out; echo err >&2; exit 7";
        let running = pool.call::<Done>("shell", "run", (command,)).await?;
        let done = Done { code: Some(7), stdout: "out\n".to_owned(), stderr: "err\n".to_owned() };
        assert_eq!(running.result().await?, done);
        Ok(())
    });
}

#[test]
fn a_long_output_is_cut_and_the_command_ends_all_the_same() {
    with_shell(|pool| async move {
        let command = "head -c 9000000 /dev/zero; echo done >&2";
        let running = pool.call::<Done>("shell", "run", (command,)).await?;
        let done = running.result().await?;
        assert_eq!((done.code, done.stdout.len()), (Some(0), 4 << 20));
        assert_eq!(done.stderr, "done\n");
        Ok(())
    });
}

#[test]
fn a_command_and_its_children_end_when_the_actor_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    with_shell(|pool| async move {
        let mut me = pool.mailbox();
        let command = format!("exec >{}; echo begun; sleep 1000 & sleep 1000; :", pipe.display());
        let shell = me.pspawn_link_mfa("shell", "run", (command,)).await?;
        let mut heard = BufReader::new(File::open(&pipe)?);
        let mut line = String::new();
        heard.read_line(&mut line)?;
        assert_eq!(line, "begun\n");
        me.exit(shell, ExitReason::Kill);
        let killed = Exited { pid: shell, reason: ExitReason::Killed };
        assert_eq!(me.receive::<Exited>().await, killed);
        let end_of_the_last_writer = heard.read_to_end(&mut Vec::new())?;
        assert_eq!(end_of_the_last_writer, 0);
        Ok(())
    });
}

#[test]
fn a_pool_that_does_not_allow_it_by_name_runs_no_commands() {
    let done = pspawn::run(|| async {
        let builder = Pool::builder("no-shell").cookie(Cookie::random().unwrap()).local(1);
        let pool = builder.start().await?;
        for node in pool.nodes().await? {
            let refused = pool.spawn_mfa_on(node, "shell", "run", ("true",)).await;
            assert!(matches!(refused, Err(SpawnError::NotAllowed { .. })), "{refused:?}");
        }
        pool.stop().await
    });
    assert_eq!(done, ExitCode::SUCCESS);
}

fn with_shell<F>(test: impl FnOnce(Pool) -> F)
where
    F: Future<Output = Result<(), Error>>,
{
    let done = pspawn::run(|| async {
        let builder = Pool::builder("shell").cookie(Cookie::random().unwrap()).local(1);
        let pool = builder.allow("shell").start().await?;
        test(pool.clone()).await?;
        pool.stop().await
    });
    assert_eq!(done, ExitCode::SUCCESS);
}

//! `pspawn demo`: the real executable, its real slaves, a real kill -9.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use pspawn_actors::mandelbrot::View;
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn the_picture_is_right_though_a_slave_was_killed_and_nothing_is_left_running() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("picture.png");
    let name = format!("demo-test-{}-", std::process::id());
    let ended = demo(&name, &picture, "200x120");
    let story = String::from_utf8(ended.stdout).unwrap();
    assert!(ended.status.success(), "{story}{}", String::from_utf8_lossy(&ended.stderr));

    let killed = story.lines().filter(|line| line.ends_with("  killed")).collect::<Vec<_>>();
    assert_eq!(killed.len(), 1, "{story}");
    let victim = killed[0].split_whitespace().next().unwrap();
    assert!(victim.starts_with(&name) && !victim.contains("master"), "{story}");
    assert!(story.contains(&format!("{victim} dies")), "{story}");
    let tiles =
        story.lines().filter_map(|line| line.strip_prefix(&name)).map(tiles_of).sum::<u32>();
    assert_eq!(tiles, 16 * 10, "{story}");

    let view = View::seahorse_tail(200, 120);
    let expected: Vec<u8> =
        (0..120).flat_map(|y| (0..200).flat_map(move |x| view.pixel(x, y))).collect();
    assert!(decode(&picture, 200, 120) == expected, "the pixels differ");
    assert_eq!(running(&name), Vec::<String>::new());
}

#[test]
fn a_picture_of_one_pixel_is_a_picture() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("pixel.png");
    let name = format!("demo-pixel-{}-", std::process::id());
    let ended = demo(&name, &picture, "1x1");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(decode(&picture, 1, 1), View::seahorse_tail(1, 1).pixel(0, 0));
    assert_eq!(running(&name), Vec::<String>::new());
}

#[test]
fn a_demo_that_is_ended_half_way_leaves_nothing_running_and_no_broken_picture() {
    let dir = tempfile::tempdir().unwrap();
    let picture = dir.path().join("picture.png");
    fs::write(&picture, "what was there before").unwrap();
    let name = format!("demo-ended-{}-", std::process::id());
    let mut demo = command(&name, &picture, "16000x16000").stdout(Stdio::piped()).spawn().unwrap();
    let mut story = BufReader::new(demo.stdout.take().unwrap()).lines();
    assert!(story.any(|line| line.unwrap().starts_with("Drawing")));
    kill_process(Pid::from_child(&demo), Signal::TERM).unwrap();
    assert_eq!(demo.wait().unwrap().code(), Some(130));

    let begin = Instant::now();
    while !running(&name).is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", running(&name));
        thread::yield_now();
    }
    assert_eq!(fs::read_to_string(&picture).unwrap(), "what was there before");
}

#[test]
fn where_no_file_can_be_written_nothing_is_started() {
    let ended = demo("demo-nowhere", Path::new("/no/such/directory/x.png"), "10x10");
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&ended.stdout), "");
    let why = "error: cannot write /no/such/directory/x.png: No such file or directory (os error 2); use --out FILE for another\n";
    assert_eq!(String::from_utf8_lossy(&ended.stderr), why);
}

#[test]
fn a_size_that_is_none_is_a_usage_error() {
    for size in ["0x10", "10", "10x", "x", "10x20x30", "99999x10", "-1x5"] {
        let ended = demo("demo-size", Path::new("unused.png"), size);
        assert_eq!(ended.status.code(), Some(2), "{size}");
    }
}

fn demo(name: &str, out: &Path, size: &str) -> Output {
    command(name, out, size).stderr(Stdio::piped()).output().unwrap()
}

fn command(name: &str, out: &Path, size: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pspawn"));
    command
        .args(["demo", "--local", "2", "--name", name])
        .arg(format!("--size={size}"))
        .arg("--out")
        .arg(out)
        .stderr(Stdio::null());
    command
}

/// The number of tiles in a line of the table.
fn tiles_of(line: &str) -> u32 {
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn decode(path: &Path, width: u32, height: u32) -> Vec<u8> {
    let mut reader =
        png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (width, height));
    assert_eq!((info.color_type, info.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    pixels
}

/// The command lines of all OS processes in which the name occurs.
fn running(name: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap();
    let lines = processes.filter_map(|entry| fs::read(entry.ok()?.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(name))
        .collect()
}

//! `pspawn demo`: a pool, a real computation, a crash, a recovery, a picture.
//!
//! A process a tile draws the Mandelbrot set, wherever the pool places it. All of them are linked with
//! one mailbox, which therefore hears of every end. Half way one slave is killed: the links say which
//! tiles went with it, and these are placed anew.
//!
//! What happens is told on standard output; the progress, and what the nodes themselves have to say, goes
//! to standard error.
//!
//! ```text
//! $ pspawn demo
//! The pool is up: 4 nodes, an OS process each.
//!   demo-master@vm  OS process 10292, the master: this program
//!   demo1@vm  OS process 10319
//!   demo2@vm  OS process 10318
//!   demo3@vm  OS process 10320
//! Drawing 160 tiles: each is a process, placed by the pool and linked with this program.
//! Half of them are done. kill -9 10319: demo1@vm dies; tiles in work there: 5.
//!   a link says: actor <15.2586928816 demo1@vm> of tile 1000,400 died: noconnection
//!   a link says: actor <17.2586928816 demo1@vm> of tile 200,500 died: noconnection
//!   a link says: actor <18.2586928816 demo1@vm> of tile 900,500 died: noconnection
//!   a link says: actor <19.2586928816 demo1@vm> of tile 1100,500 died: noconnection
//!   tile 1100,500 is placed anew: <24.4054022755 demo2@vm>
//!   tile 900,500 is placed anew: <18.3444889361 demo3@vm>
//!   tile 200,500 is placed anew: <25.4054022755 demo2@vm>
//!   tile 1000,400 is placed anew: <19.3444889361 demo3@vm>
//!
//! node            tiles  lost
//! demo-master@vm     72     0
//! demo1@vm           14     4  killed
//! demo2@vm           45     0
//! demo3@vm           29     0
//! mandelbrot.png: 1600x1000, 1186 kB, 2.7 s from start to end
//! ```

use std::collections::{HashMap, VecDeque};
use std::fmt::{self, Display};
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, IsTerminal, Write, stderr, stdout};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::mandelbrot::{Drawn, Tile, View};
use crate::os::{KillNode, Os, ProcessId};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pspawn::{
    Cookie, Ctx, Error, ExitReason, Exited, NodeName, OutputLine, Pid, Pool, SpawnError, StartError,
};

use super::hosts::Hosts;
use super::running::Running;

/// Draw a picture on a pool, of this machine if nothing else is said, and kill one of its slaves meanwhile
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Demo {
    /// Where the picture goes
    #[arg(long, value_name = "FILE", default_value = "mandelbrot.png")]
    out: PathBuf,
    /// Its size in pixels
    #[arg(long, value_name = "WxH", default_value = "1600x1000")]
    size: Size,
    /// The pool's name, the first part of the nodes' names
    #[arg(long, default_value = "demo")]
    name: String,
    /// Draw on a pool that runs already, and kill nobody
    #[arg(long, conflicts_with_all = ["hosts", "local", "slurm"])]
    running: bool,
    #[command(flatten)]
    of: Running,
    #[command(flatten)]
    hosts: Hosts,
}

/// Draws the picture on a pool of its own, and kills one of the slaves meanwhile.
///
/// # Errors
/// If the pool does not start, the picture cannot be written, or a tile is lost for another reason than
/// the loss of its node.
pub(crate) async fn demo(args: Demo) -> Result<(), Error> {
    try_out(&args.out)?; // what cannot be written is not worth drawing
    let begin = Instant::now();
    let progress = Progress::hidden();
    let show = progress.clone();
    let show = move |OutputLine { node, line, .. }: &OutputLine| {
        show.warn(format_args!("{node}| {line}"));
    };
    let view = View::seahorse_tail(args.size.width, args.size.height);
    let (drawn, stopped) = if args.running {
        let pool = args.of.connect_with(show).await?;
        (draw(&pool, view, progress, false).await, Ok(()))
    } else {
        args.hosts.be_in_allocation("demo")?;
        let cookie = Cookie::random().map_err(StartError::from)?;
        let builder = Pool::builder(&args.name).cookie(cookie).output(show);
        let builder = match args.hosts.are_given() {
            true => args.hosts.set(builder, "demo"),
            false => args.hosts.set(builder, "demo").local(SLAVES),
        };
        let pool = builder.start().await?;
        let drawn = draw(&pool, view, progress, true).await;
        (drawn, pool.stop().await)
    };
    let picture = drawn?; // the first thing that went wrong
    stopped?;
    let bytes = write_png(&args.out, view, &picture.rgb)
        .map_err(|why| format!("cannot write {}: {why}", args.out.display()))?;

    tell(format_args!("\n{picture}"));
    tell(format_args!(
        "{}: {}, {} kB, {:.1} s from start to end",
        args.out.display(),
        args.size,
        bytes / 1000,
        begin.elapsed().as_secs_f64(),
    ));
    Ok(())
}

async fn draw(pool: &Pool, view: View, progress: Progress, kills: bool) -> Result<Picture, Error> {
    let mut nodes = pool.nodes().await?;
    nodes[1..].sort(); // the master comes first
    let (mut os, mut os_pids) = (HashMap::new(), HashMap::new());
    tell(format_args!("The pool is up: {} nodes, an OS process each.", nodes.len()));
    for &node in &nodes {
        let teller = pool.spawn_on::<Os>(node, ()).await?;
        let os_pid = teller.send(ProcessId).await?;
        os.insert(node, teller);
        let role = if node == pool.here() { ", the master: this program" } else { "" };
        tell(format_args!("  {node}  OS process {os_pid}{role}"));
        os_pids.insert(node, os_pid);
    }

    let mut easel = Easel::new(pool, view, &nodes, progress);
    tell(format_args!(
        "Drawing {} tiles: each is a process, placed by the pool and linked with this program.",
        easel.tiles
    ));
    if !kills {
        easel.draw_until(easel.tiles).await?;
        return Ok(easel.picture);
    }
    easel.draw_until(easel.tiles / 2).await?;

    let slaves = nodes.iter().copied().filter(|&node| node != pool.here());
    let busiest = slaves.map(|node| (easel.in_work_on(node), node)).max();
    let (tiles, victim) = busiest.expect("a pool that has started has a slave");
    easel.progress.tell(format_args!(
        "Half of them are done. kill -9 {}: {victim} dies; tiles in work there: {tiles}.",
        os_pids[&victim]
    ));
    os[&victim].do_send(KillNode);
    easel.picture.killed = Some(victim);
    easel.draw_until(easel.tiles).await?;
    if easel.picture.lost.is_empty() {
        tell("  no link broke: its tiles had been sent in time");
    }
    Ok(easel.picture)
}

/// A picture in the making.
struct Easel {
    pool: Pool,
    /// Linked with all that draw; their tiles and their ends come here.
    me: Ctx,
    view: View,
    tiles: usize,
    waiting: VecDeque<Job>,
    /// What is being drawn, and by whom.
    in_work: HashMap<Pid, Job>,
    in_work_max: usize,
    done: usize,
    picture: Picture,
    progress: Progress,
}

/// A tile to draw.
struct Job {
    tile: Tile,
    /// It was in work on a node that is lost.
    again: bool,
}

impl Easel {
    fn new(pool: &Pool, view: View, nodes: &[NodeName], progress: Progress) -> Easel {
        let side = view.width.max(view.height).div_ceil(TILES_A_SIDE);
        let waiting: VecDeque<Job> =
            view.tiles(side).map(|tile| Job { tile, again: false }).collect();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Easel {
            pool: pool.clone(),
            me: pool.mailbox(),
            view,
            tiles: waiting.len(),
            in_work: HashMap::new(),
            // enough that no core of this machine has to wait for the next one
            in_work_max: nodes.len() * 3 + cores,
            done: 0,
            picture: Picture::blank(view, nodes),
            progress: progress.of(waiting.len()),
            waiting,
        }
    }

    /// Draws until as many tiles are done, and as many as may be are in work.
    async fn draw_until(&mut self, done: usize) -> Result<(), Error> {
        self.place().await?;
        while self.done < done {
            let mut ended = self.me.receive_within::<Exited>(PATIENCE).await;
            if ended.is_none() {
                return Err(format!("no tile was done for {PATIENCE:?}").into());
            }
            while let Some(exited) = ended {
                // A tile comes before the notice of its process's end (rule O6): if that end is still
                // news after all tiles that came have been taken, the tile is lost.
                while let Some(drawn) = self.me.receive_within::<Drawn>(Duration::ZERO).await {
                    self.take(drawn);
                }
                if let Some(job) = self.in_work.remove(&exited.pid) {
                    self.lose(exited, job)?;
                }
                ended = self.me.receive_within::<Exited>(Duration::ZERO).await;
            }
            self.place().await?;
        }
        Ok(())
    }

    /// Starts processes for the tiles that wait, where the pool likes.
    async fn place(&mut self) -> Result<(), Error> {
        while self.in_work.len() < self.in_work_max
            && let Some(job) = self.waiting.pop_front()
        {
            let args = (self.me.pid(), self.view, job.tile);
            match self.me.pspawn_link_mfa("mandelbrot", "draw", args).await {
                Ok(pid) => {
                    if job.again {
                        let tile = job.tile;
                        self.progress.tell(format_args!("  {tile} is placed anew: {pid}"));
                    }
                    self.in_work.insert(pid, job);
                }
                // The pool had not heard of its loss. Now it has, and says another one.
                Err(SpawnError::NodeDown { node }) if node != self.pool.here() => {
                    self.waiting.push_front(job);
                }
                Err(why) => return Err(why.into()),
            }
        }
        Ok(())
    }

    /// A tile is done, unless its process was given up already.
    fn take(&mut self, drawn: Drawn) {
        if self.in_work.remove(&drawn.by).is_some() {
            self.picture.put(&drawn);
            self.done += 1;
            self.progress.done(self.done);
        }
    }

    /// The process of a tile ended without it.
    fn lose(&mut self, Exited { pid, reason }: Exited, job: Job) -> Result<(), Error> {
        let tile = job.tile;
        self.progress.tell(format_args!("  a link says: actor {pid} of {tile} died: {reason}"));
        if reason != ExitReason::NoConnection {
            return Err(format!("{tile} cannot be drawn: {reason}").into());
        }
        *self.picture.lost.entry(pid.node()).or_default() += 1;
        self.waiting.push_front(Job { tile, again: true });
        Ok(())
    }

    fn in_work_on(&self, node: NodeName) -> usize {
        self.in_work.keys().filter(|pid| pid.node() == node).count()
    }
}

/// What is drawn, and by whom.
struct Picture {
    view: View,
    rgb: Vec<u8>,
    nodes: Vec<NodeName>,
    done: HashMap<NodeName, usize>,
    lost: HashMap<NodeName, usize>,
    killed: Option<NodeName>,
}

impl Picture {
    fn blank(view: View, nodes: &[NodeName]) -> Picture {
        let rgb = vec![0; view.width as usize * view.height as usize * RGB];
        let nodes = nodes.to_vec();
        Picture { view, rgb, nodes, done: HashMap::new(), lost: HashMap::new(), killed: None }
    }

    fn put(&mut self, Drawn { by, tile, rgb }: &Drawn) {
        let row_bytes = tile.width as usize * RGB;
        for (y, row) in (tile.y..).zip(rgb.chunks_exact(row_bytes)) {
            let at = (y as usize * self.view.width as usize + tile.x as usize) * RGB;
            self.rgb[at..at + row_bytes].copy_from_slice(row);
        }
        *self.done.entry(by.node()).or_default() += 1;
    }
}

/// Who did how much: a line a node.
impl Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.nodes.iter().map(|node| node.as_str().len());
        let wide = names.max().unwrap_or_default().max("node".len());
        write!(f, "{:wide$}  tiles  lost", "node")?;
        for node in &self.nodes {
            let done = self.done.get(node).unwrap_or(&0);
            let lost = self.lost.get(node).unwrap_or(&0);
            write!(f, "\n{:wide$}  {done:5}  {lost:4}", node.as_str())?;
            if self.killed == Some(*node) {
                f.write_str("  killed")?;
            }
        }
        Ok(())
    }
}

/// How far it is: a bar on a terminal, else a line now and then.
#[derive(Clone)]
struct Progress {
    bar: ProgressBar,
    tiles: usize,
    /// Tenths that have been shown.
    tenths: usize,
}

impl Progress {
    /// It shows nothing until its end is known.
    fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden(), tiles: 0, tenths: 0 }
    }

    fn of(mut self, tiles: usize) -> Progress {
        let style = ProgressStyle::with_template("{bar:48.blue} {pos}/{len} tiles")
            .expect("the template is well formed");
        self.tiles = tiles;
        self.bar.set_style(style);
        self.bar.set_length(tiles as u64);
        self.bar.set_draw_target(ProgressDrawTarget::stderr()); // which is none without a terminal
        self
    }

    fn done(&mut self, done: usize) {
        self.bar.set_position(done as u64);
        let tenths = done * 10 / self.tiles;
        if !stderr().is_terminal() && tenths > self.tenths {
            let _ = writeln!(stderr(), "{done}/{} tiles", self.tiles); // nobody may be reading it
        }
        self.tenths = tenths;
        if done == self.tiles {
            self.bar.finish_and_clear();
        }
    }

    fn tell(&self, line: impl Display) {
        self.bar.suspend(|| tell(line));
    }

    fn warn(&self, line: impl Display) {
        self.bar.suspend(|| writeln!(stderr(), "{line}").unwrap_or(())); // nobody may be reading it
    }
}

/// Width and height in pixels.
#[derive(Clone, Copy, Debug)]
struct Size {
    width: u32,
    height: u32,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let side = |text: &str| text.parse().ok().filter(|side| (1..=SIDE_MAX).contains(side));
        text.split_once('x')
            .and_then(|(width, height)| Some(Size { width: side(width)?, height: side(height)? }))
            .ok_or_else(|| format!("expected WIDTHxHEIGHT, each from 1 to {SIDE_MAX}"))
    }
}

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

/// Opens the file to write without emptying it: that is left until there is a picture.
/// Whether there is a picture at this path or can be one. Leaves things as they are.
fn try_out(path: &Path) -> Result<(), Error> {
    let is_new = !path.exists();
    OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(|why| {
        format!("cannot write {}: {why}; use --out FILE for another", path.display())
    })?;
    if is_new {
        std::fs::remove_file(path)?;
    }
    Ok(())
}

/// Returns how many bytes it took.
fn write_png(path: &Path, view: View, rgb: &[u8]) -> Result<u64, png::EncodingError> {
    let mut file = File::create(path)?;
    let mut encoder = png::Encoder::new(BufWriter::new(&mut file), view.width, view.height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(file.metadata()?.len())
}

fn tell(line: impl Display) {
    let _ = writeln!(stdout(), "{line}"); // nobody may be reading it
}

/// On this machine, if nothing else is said.
const SLAVES: usize = 3;
/// The longer side of a picture is so many tiles.
const TILES_A_SIDE: u32 = 16;
/// Red, green, blue.
const RGB: usize = 3;
const SIDE_MAX: u32 = 16_384;
/// A tile takes a fraction of a second; a node that hangs is down within seconds.
const PATIENCE: Duration = Duration::from_secs(120);

const EXAMPLES: &str = "\
Examples:
  pspawn demo                                  three slaves, 1600x1000 pixels, mandelbrot.png
  pspawn demo --local 8 --size 3840x2160 --out large.png
  pspawn demo --hosts farm.hosts               the same on other machines, by ssh
  pspawn demo --slurm --nodes 3                and on a Slurm cluster
  pspawn demo --running                        on the pool that `pspawn start` has started

A process a tile, linked with this program. Half way one slave is killed with SIGKILL; its tiles are
placed anew. Nothing is left running at the end.";

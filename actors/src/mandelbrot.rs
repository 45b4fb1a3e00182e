//! The Mandelbrot set, tile by tile: many short computations for the pool to place.
//!
//! [`tile`] returns its pixels to whoever called it; [`draw`] sends them as a message, so that whoever
//! wants the picture can be linked with all its tiles, and hears of each that is lost with its node.
//! Both compute pixel by pixel and [`yield_now`] between two of them, so that neighbours stay responsive.
//!
//! ```text
//! $ pspawn demo
//! ```

use std::fmt;

use pspawn::prelude::*;

/// What part of the plane a picture shows, and how closely.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// The point in the middle: its real part.
    pub re: f64,
    /// And its imaginary part.
    pub im: f64,
    /// How much of the plane the width of the picture is.
    pub span: f64,
    /// A point that has not escaped after as many steps is in the set.
    pub iterations: u32,
}

/// A part of a picture, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tile {
    /// Its left edge.
    pub x: u32,
    /// Its upper edge.
    pub y: u32,
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

/// A tile and its pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drawn {
    /// Who drew it.
    pub by: Pid,
    /// Which it is.
    pub tile: Tile,
    /// Red, green and blue of each pixel, row by row.
    #[serde(with = "serde_bytes")]
    pub rgb: Vec<u8>,
}

/// Computes one tile of a picture.
pub async fn tile(ctx: Ctx, view: View, tile: Tile) -> Drawn {
    Drawn { by: ctx.pid(), tile, rgb: pixels(view, tile).await }
}

/// Computes one tile of a picture and sends it to `to`, as [`Drawn`].
pub async fn draw(ctx: Ctx, to: Pid, view: View, tile: Tile) {
    let rgb = pixels(view, tile).await;
    ctx.send(to, Drawn { by: ctx.pid(), tile, rgb });
}

remote_fn!("mandelbrot": tile, draw);

impl View {
    /// A tail in the valley of the seahorses.
    #[must_use]
    pub fn seahorse_tail(width: u32, height: u32) -> View {
        View { width, height, re: -0.743_4, im: 0.131_32, span: 0.003_6, iterations: 2_000 }
    }

    /// Tiles of this many pixels a side, smaller at the right and at the bottom, that are the picture.
    pub fn tiles(&self, side: u32) -> impl Iterator<Item = Tile> + use<> {
        let View { width, height, .. } = *self;
        let side = side.max(1);
        (0..height).step_by(side as usize).flat_map(move |y| {
            (0..width).step_by(side as usize).map(move |x| {
                let (width, height) = (side.min(width - x), side.min(height - y));
                Tile { x, y, width, height }
            })
        })
    }

    /// The colour of one pixel: red, green and blue, the mean of several points in it.
    #[must_use]
    pub fn pixel(&self, x: u32, y: u32) -> [u8; 3] {
        let step = self.span / f64::from(self.width);
        let mut sum = [0.0; 3];
        for sub in 0..SAMPLES * SAMPLES {
            let inside = |at: u32| (f64::from(at) + 0.5) / f64::from(SAMPLES);
            let right = f64::from(x) + inside(sub % SAMPLES) - f64::from(self.width) / 2.0;
            let down = f64::from(y) + inside(sub / SAMPLES) - f64::from(self.height) / 2.0;
            let colour =
                colour(steps(self.re + right * step, self.im - down * step, self.iterations));
            for (sum, part) in sum.iter_mut().zip(colour) {
                *sum += part;
            }
        }
        sum.map(|sum| (sum / f64::from(SAMPLES * SAMPLES)).round() as u8)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile {},{}", self.x, self.y)
    }
}

async fn pixels(view: View, tile: Tile) -> Vec<u8> {
    if u64::from(tile.width) * u64::from(tile.height) > PIXELS_MAX {
        exit(ExitReason::exit(format!("a tile has at most {PIXELS_MAX} pixels")));
    }
    let mut rgb = Vec::new();
    for y in tile.y..tile.y.saturating_add(tile.height) {
        for x in tile.x..tile.x.saturating_add(tile.width) {
            rgb.extend(view.pixel(x, y));
            yield_now().await;
        }
    }
    rgb
}

/// After how many steps the point escapes, with a fraction that makes colours smooth; none if it does
/// not.
fn steps(re: f64, im: f64, max: u32) -> Option<f64> {
    let (mut x, mut y) = (0.0, 0.0);
    let (mut xx, mut yy) = (0.0, 0.0);
    for n in 0..max {
        y = (x + x) * y + im;
        x = xx - yy + re;
        xx = x * x;
        yy = y * y;
        if xx + yy > ESCAPED {
            let beyond = ((xx + yy).ln() / ESCAPED.ln()).log2();
            return Some(f64::from(n) + 1.0 - beyond);
        }
    }
    None
}

/// Points in the set are black; the others go round the palette, the slower the later they escape.
fn colour(steps: Option<f64>) -> [f64; 3] {
    let Some(steps) = steps else { return [0.0; 3] };
    let at = (steps.max(1.0).ln() * ROUNDS).fract() * PALETTE.len() as f64;
    let (from, to) = (at as usize % PALETTE.len(), (at as usize + 1) % PALETTE.len());
    let part = at.fract();
    let smooth = part * part * (3.0 - 2.0 * part);
    std::array::from_fn(|i| PALETTE[from][i] + (PALETTE[to][i] - PALETTE[from][i]) * smooth)
}

/// From night over ice to embers, and back.
const PALETTE: [[f64; 3]; 6] = [
    [0.0, 7.0, 60.0],
    [32.0, 107.0, 203.0],
    [237.0, 250.0, 255.0],
    [255.0, 170.0, 30.0],
    [120.0, 24.0, 20.0],
    [10.0, 2.0, 20.0],
];
/// How many times round the palette while the steps grow by a factor of e.
const ROUNDS: f64 = 0.55;
/// The square of a distance from which nothing comes back; large, for smooth colours.
const ESCAPED: f64 = 65_536.0;
/// Points a pixel, in each direction.
const SAMPLES: u32 = 3;
/// What fits well into a message.
const PIXELS_MAX: u64 = 4 << 20;

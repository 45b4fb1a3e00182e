//! Functions that compute for long: right, and good neighbours.

#[path = "support/pool.rs"]
mod support;

use pspawn::prelude::*;
use pspawn::{Cookie, Error};
use pspawn_actors::echo::{Echo, Say};
use pspawn_actors::mandelbrot::{Drawn, Tile, View};
use support::on_pool;

#[test]
fn primes_are_counted_as_trial_division_counts_them() {
    on_pool(|pool| async move {
        let ranges = [(0, 0), (0, 2), (2, 3), (7, 7), (9, 3), (0, 100), (31_000, 70_000), (24, 26)];
        for (from, to) in ranges {
            let running = pool.call::<u64>("primes", "count", (from, to)).await?;
            let expected = (from..to).filter(|&n| is_prime(n)).count() as u64;
            assert_eq!(running.result().await?, expected, "from {from} to {to}");
        }
        let running = pool.call::<u64>("primes", "count", (0, 1_000_000)).await?;
        assert_eq!(running.result().await?, 78_498);
        let running =
            pool.call::<u64>("primes", "count", (1_000_000_000_000u64, 1_000_000_001_000u64));
        assert_eq!(running.await?.result().await?, 37);
        Ok(())
    });
}

#[test]
fn too_large_a_range_of_primes_is_refused() {
    on_pool(|pool| async move {
        let running = pool.call::<u64>("primes", "count", (0, u64::MAX)).await?;
        let why = "primes:count counts up to 100000000000000";
        let failed = running.result().await.unwrap_err();
        assert_eq!(failed.exit_reason(), Some(&ExitReason::exit(why)));
        Ok(())
    });
}

#[test]
fn whoever_shares_a_thread_with_long_computations_is_answered() {
    let done = pspawn::run(|| async {
        let builder = Pool::builder("neighbours").cookie(Cookie::new("neighbours")).local(0);
        let pool = builder.workers(1).start().await?;
        let mut me = pool.mailbox();
        let primes = me.pspawn_link_mfa("primes", "count", (0, 100_000_000_000_000u64)).await?;
        let everything = Tile { x: 0, y: 0, width: 2_000, height: 2_000 };
        let slow = View { iterations: u32::MAX, ..View::seahorse_tail(2_000, 2_000) };
        let args = (me.pid(), slow, everything);
        let mandelbrot = me.pspawn_link_mfa("mandelbrot", "draw", args).await?;
        let echo = pool.pspawn::<Echo>(()).await?;
        assert_eq!(echo.send(Say("hello?".to_owned())).await?, "hello?");
        for busy in [primes, mandelbrot] {
            me.exit(busy, ExitReason::Kill);
            let killed = Exited { pid: busy, reason: ExitReason::Killed };
            assert_eq!(me.receive::<Exited>().await, killed);
        }
        pool.stop().await
    });
    assert_eq!(done, ExitCode::SUCCESS);
}

#[test]
fn a_tile_is_the_same_wherever_it_is_drawn() {
    on_pool(|pool| async move {
        let view = View::seahorse_tail(64, 40);
        let tile = Tile { x: 48, y: 32, width: 16, height: 8 };
        let rgb: Vec<u8> =
            (32..40).flat_map(|y| (48..64).flat_map(move |x| view.pixel(x, y))).collect();
        let mut me = pool.mailbox();
        let by = me.pspawn_link_mfa("mandelbrot", "draw", (me.pid(), view, tile)).await?;
        assert_eq!(me.receive::<Drawn>().await, Drawn { by, tile, rgb: rgb.clone() });
        let running = pool.call::<Drawn>("mandelbrot", "tile", (view, tile)).await?;
        assert_eq!(running.result().await?.rgb, rgb);
        Ok::<(), Error>(())
    });
}

#[test]
fn the_tiles_of_a_picture_cover_each_pixel_once() {
    let view = View::seahorse_tail(100, 70);
    for side in [0, 1, 7, 32, 100, 1_000] {
        let mut covered = vec![0; 100 * 70];
        for tile in view.tiles(side) {
            for y in tile.y..tile.y + tile.height {
                for x in tile.x..tile.x + tile.width {
                    covered[(y * 100 + x) as usize] += 1;
                }
            }
        }
        assert!(covered.iter().all(|&times| times == 1), "tiles of {side}");
    }
}

fn is_prime(n: u64) -> bool {
    n >= 2 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

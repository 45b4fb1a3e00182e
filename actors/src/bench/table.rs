//! What was measured: as a table for people, as a JSON object for programs.

use std::fmt::Write;

use serde_json::{Value, json};

/// A workload and its figures.
pub(crate) struct Row {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) less_is_better: bool,
    pub(super) pspawn: Option<Figure>,
    pub(super) limit: Option<Figure>,
    pub(super) erlang: Option<Figure>,
}

/// Of several rounds.
#[derive(Clone, Copy)]
pub(super) struct Figure {
    pub(super) median: f64,
    pub(super) spread: f64,
}

impl Row {
    /// How many times better than that pspawn is.
    fn versus(&self, other: Option<Figure>) -> Option<f64> {
        let (own, other) = (self.pspawn?.median, other?.median);
        Some(if self.less_is_better { other / own } else { own / other })
    }

    /// One line of `--json`.
    pub(crate) fn json(&self) -> Value {
        let median = |figure: Option<Figure>| figure.map(|figure| figure.median);
        let spread = |figure: Option<Figure>| figure.map(|figure| figure.spread);
        json!({
            "name": self.name,
            "unit": self.unit,
            "pspawn": median(self.pspawn),
            "limit": median(self.limit),
            "erlang": median(self.erlang),
            "vs_limit": self.versus(self.limit),
            "vs_erlang": self.versus(self.erlang),
            "spread": {
                "pspawn": spread(self.pspawn),
                "limit": spread(self.limit),
                "erlang": spread(self.erlang),
            },
        })
    }
}

/// All rows below their headings, in columns.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut lines = vec![HEADINGS.map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        let figure = |figure: Option<Figure>| figure.map_or_else(String::new, of_figure);
        let ratio = |other| row.versus(other).map_or_else(String::new, of_ratio);
        [
            row.name.to_owned(),
            row.unit.to_owned(),
            figure(row.pspawn),
            figure(row.limit),
            figure(row.erlang),
            ratio(row.limit),
            ratio(row.erlang),
        ]
    }));
    let wide = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let wide: Vec<usize> = (0..HEADINGS.len()).map(|column| wide(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in &lines {
        let cells = line.iter().zip(&wide).enumerate().map(|(column, (cell, &wide))| {
            if column < 2 { format!("{cell:wide$}") } else { format!("{cell:>wide$}") }
        });
        let cells: Vec<String> = cells.collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end()); // a string takes all
    }
    text
}

/// Three digits that count, and how far the rounds were apart: `13.2 M ±4%`.
fn of_figure(Figure { median, spread }: Figure) -> String {
    format!("{} ±{:<4}", of_number(median), format!("{:.0}%", spread * 100.0))
}

fn of_ratio(ratio: f64) -> String {
    format!("{}x", digits(ratio))
}

fn of_number(number: f64) -> String {
    match number {
        n if n >= 1e6 => format!("{} M", digits(n / 1e6)),
        n if n >= 1e4 => format!("{} k", digits(n / 1e3)),
        n => digits(n),
    }
}

fn digits(number: f64) -> String {
    let places = match number {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        n if n >= 0.1 => 2,
        _ => 3,
    };
    format!("{number:.places$}")
}

const HEADINGS: [&str; 7] = ["name", "unit", "pspawn", "limit", "Erlang", "vs limit", "vs Erlang"];

//! `chartdrop verify`: counts what was put in and what became of it, and tells everything that does not add up.
//!
//! It opens the ledger itself, so the daemon must be stopped while it runs.

use std::path::Path;

use jiff::{ToSpan, Zoned, civil::Date};

use super::{DONE, NOT_ALL, output, source};
use crate::{
    audit::verify::{Count, Report, verify},
    config::Config,
    model::words::display_name,
};

/// What `verify` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Compare every byte in done with its receipt as well (reads all of it).
    #[arg(long)]
    rehash: bool,
    /// Count the documents of this many days; what does not add up is looked for in everything.
    #[arg(long, default_value_t = 30, value_name = "N")]
    days: u16,
    /// One JSON document in place of words.
    #[arg(long)]
    json: bool,
}

/// Prints the report. Returns the exit code.
pub async fn run(config: &Path, args: Args) -> anyhow::Result<u8> {
    let config = Config::load(config)?;
    let ledger = source::ledger(&config)?;
    let mut report = verify(&config, &ledger, args.rehash).await?;
    let first = Zoned::now().date().saturating_sub(i64::from(args.days).days());
    report.days.retain(|day, _| *day > first);
    let code = if report.findings.is_empty() { DONE } else { NOT_ALL };
    if args.json {
        output::json(&report)?;
        return Ok(code);
    }
    table(&report);
    words(&report, args.rehash);
    Ok(code)
}

fn table(report: &Report) {
    let folders = || report.days.values().flat_map(|folders| folders.keys());
    let width = folders().map(|folder| folder.chars().count()).max().unwrap_or(0).max("folder".len());
    let line = |day: &str, folder: &str, cells: [String; 5]| {
        let cells: String = cells.iter().map(|cell| format!("{cell:>11}")).collect();
        say!("{day:10}  {folder:width$}{cells}");
    };
    let numbers = |count: &Count| {
        [count.put_in, count.accepted, count.duplicates, count.waiting, count.failed].map(|n| n.to_string())
    };
    line("day", "folder", ["put in", "accepted", "duplicates", "waiting", "failed"].map(str::to_owned));
    let mut total = Count::default();
    for (day, folders) in &report.days {
        for (folder, count) in folders {
            let mark = if count.adds_up() { "" } else { "  <- does not add up, see below" };
            let mut cells = numbers(count);
            cells[4].push_str(mark);
            line(&day_words(*day), folder, cells);
            total.put_in += count.put_in;
            total.accepted += count.accepted;
            total.duplicates += count.duplicates;
            total.waiting += count.waiting;
            total.failed += count.failed;
        }
    }
    line("total", "", numbers(&total));
}

fn day_words(day: Date) -> String {
    day.strftime("%Y-%m-%d").to_string()
}

fn words(report: &Report, rehashed: bool) {
    say!("");
    if report.moved_on > 0 {
        say!("{} finished documents have been moved out of done or failed since, with their notes.", report.moved_on);
    }
    if report.taken_out > 0 {
        say!("{} documents were taken out of the inbox before they were sent.", report.taken_out);
    }
    if rehashed {
        say!("{} documents in done were compared with their receipts, byte by byte.", report.rehashed);
    }
    match report.findings.len() {
        0 => say!("Everything adds up."),
        n => say!("This does not add up ({n}):"),
    }
    for finding in &report.findings {
        say!("\n{}\n    {}", display_name(&finding.file), finding.summary);
    }
}

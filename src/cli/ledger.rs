//! `status`, `history`, `show`, `retry`, `hold`, `release`: what the ledger says, and what a person decides.
//!
//! They open the ledger themselves, so the daemon must be stopped while they run.

use std::path::Path;

use anyhow::{bail, ensure};
use serde::Serialize;
use uuid::Uuid;

use super::DONE;
use crate::{
    config::Config,
    delivery::{Decision, held_problem, operator},
    ledger::{Delivery, Ledger, Query, SledLedger, Stage},
    model::document::DeliveryId,
    model::words::display_name,
};

/// What `status` and `history` are told.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// One JSON document in place of words.
    #[arg(long)]
    json: bool,
    /// At most this many deliveries.
    #[arg(long, default_value_t = 100, value_name = "N")]
    limit: usize,
}

/// What `show` is told.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The delivery's id, or how it begins.
    id: String,
    /// One JSON document in place of words.
    #[arg(long)]
    json: bool,
}

/// What `retry` is told.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub struct RetryArgs {
    /// The deliveries' ids, or how they begin.
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Everything that waits or is held.
    #[arg(long)]
    all: bool,
}

/// What `hold` and `release` are told.
#[derive(Debug, clap::Args)]
pub struct IdArgs {
    /// The delivery's id, or how it begins.
    id: String,
}

/// A delivery as it is listed.
#[derive(Debug, Serialize)]
struct View {
    id: String,
    stage: &'static str,
    inbox: String,
    path: String,
    /// The same for a terminal.
    #[serde(skip)]
    shown: String,
    updated: jiff::Timestamp,
    due: Option<jiff::Timestamp>,
    sends: u32,
    uncertain: u32,
    why: String,
}

impl View {
    fn of(row: &Delivery) -> Self {
        let (stage, why) = match &row.stage {
            Stage::Queued(queued) => ("queued", queued.why.clone()),
            Stage::Sending(_) => ("sending", String::new()),
            Stage::Held(held) => ("held", held_problem(held).summary),
            Stage::Unknown(unknown) => ("unknown", unknown.why.clone()),
            Stage::Accepted(_) => ("accepted", String::new()),
            Stage::Rejected(rejected) => ("rejected", rejected.reason.summary.clone()),
        };
        Self {
            id: row.id().to_string(),
            stage,
            inbox: row.place.inbox.clone(),
            path: row.place.path.to_string(),
            shown: display_name(row.place.path.as_path()),
            updated: row.updated,
            due: row.due(),
            sends: row.sends,
            uncertain: row.uncertain,
            why,
        }
    }
}

pub(super) fn open(config: &Path) -> anyhow::Result<(Config, SledLedger)> {
    let config = Config::load(config)?;
    ensure!(config.ledger.is_dir(), "There is no ledger yet: nothing has been delivered.");
    let ledger = SledLedger::open(&config.ledger)?;
    Ok((config, ledger))
}

/// What is under way.
pub async fn status(config: &Path, args: ListArgs) -> anyhow::Result<u8> {
    let (_, ledger) = open(config)?;
    let mut rows = ledger.list(Query::Open { limit: args.limit }).await?;
    rows.extend(ledger.list(Query::Unfiled { limit: args.limit }).await?);
    print(&rows, args.json, "Nothing is under way.")
}

/// What was filed, newest first.
pub async fn history(config: &Path, args: ListArgs) -> anyhow::Result<u8> {
    let (_, ledger) = open(config)?;
    print(&ledger.list(Query::History { limit: args.limit }).await?, args.json, "Nothing has been filed yet.")
}

fn print(rows: &[Delivery], json: bool, none: &str) -> anyhow::Result<u8> {
    let views: Vec<_> = rows.iter().map(View::of).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&views)?);
    } else if views.is_empty() {
        println!("{none}");
    } else {
        for view in views {
            let at = view.updated.strftime("%Y-%m-%d %H:%M:%S UTC");
            println!("{}  {:8}  {at}  {}: {}", view.id, view.stage, view.inbox, view.shown);
            if !view.why.is_empty() {
                println!("    {}", display_name(&view.why));
            }
        }
    }
    Ok(DONE)
}

/// Everything that the ledger holds of one delivery.
pub async fn show(config: &Path, args: ShowArgs) -> anyhow::Result<u8> {
    let (_, ledger) = open(config)?;
    let row = find(&ledger, &args.id).await?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&row)?);
        return Ok(DONE);
    }
    print(std::slice::from_ref(&row), false, "")?;
    println!(
        "    to {}, sent {} times, {} of them without a certain answer",
        row.key.destination.0, row.sends, row.uncertain
    );
    // A document that was refused unread has none.
    if !row.key.patient.is_empty() {
        println!("    for the patient {}", row.key.patient);
    }
    if let Stage::Rejected(rejected) = &row.stage {
        println!("    {}", rejected.reason.remedy);
    }
    Ok(DONE)
}

/// Tries again, on purpose.
pub async fn retry(config: &Path, args: RetryArgs) -> anyhow::Result<u8> {
    let (config, ledger) = open(config)?;
    let mut rows = Vec::new();
    if args.all {
        rows = ledger.list(Query::Open { limit: usize::MAX }).await?;
    }
    for id in &args.ids {
        rows.push(find(&ledger, id).await?);
    }
    for row in rows {
        let id = row.id();
        println!("{id}: {}", operator::carry_out(&config, &ledger, row, &Decision::Retry, &person()).await?);
    }
    Ok(DONE)
}

/// Keeps a delivery back.
pub async fn hold(config: &Path, args: IdArgs) -> anyhow::Result<u8> {
    let (config, ledger) = open(config)?;
    let row = find(&ledger, &args.id).await?;
    println!("{}", operator::carry_out(&config, &ledger, row, &Decision::Hold, &person()).await?);
    Ok(DONE)
}

/// Lets a held delivery go on.
pub async fn release(config: &Path, args: IdArgs) -> anyhow::Result<u8> {
    let (config, ledger) = open(config)?;
    let row = find(&ledger, &args.id).await?;
    println!("{}", operator::carry_out(&config, &ledger, row, &Decision::Release, &person()).await?);
    Ok(DONE)
}

async fn find(ledger: &SledLedger, id: &str) -> anyhow::Result<Delivery> {
    ensure!(id.len() >= 4, "Give at least four letters of the delivery's id.");
    // The smallest id that begins so; one that is no number begins no id.
    let digits = format!("{:0<32}", id.replace('-', ""));
    let from = u128::from_str_radix(&digits, 16).map_or(Uuid::max(), Uuid::from_u128);
    let mut found = ledger.list(Query::ById { from: DeliveryId(from), limit: 100 }).await?;
    found.retain(|row| row.id().to_string().starts_with(id));
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => bail!("There is no delivery {id}. `chartdrop status` and `chartdrop history` list them."),
        n => bail!("{n} deliveries begin with {id}. Give more of the id."),
    }
}

/// The user who gave the command.
fn person() -> String {
    std::env::var("SUDO_USER").or_else(|_| std::env::var("USER")).unwrap_or_else(|_| "somebody".into())
}

//! `retry`, `hold`, `release`, `send-again`, `close`, `pause`, `resume`, `reload`: what a person decides.

use std::path::Path;

use super::{
    DONE, NOT_ALL, output,
    source::{Source, encode},
};
use crate::status::{
    MOST, ReloadView,
    api::{ChannelAnswer, DecisionRequest, DecisionView},
    view::{DeliveriesView, State},
};

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

/// What `release` and `send-again` are told.
#[derive(Debug, clap::Args)]
pub struct IdArgs {
    /// The delivery's id, or how it begins.
    id: String,
}

/// What `hold` is told.
#[derive(Debug, clap::Args)]
pub struct HoldArgs {
    /// The delivery's id, or how it begins.
    id: String,
    /// Why, for whoever looks at it later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What `close` is told.
#[derive(Debug, clap::Args)]
pub struct CloseArgs {
    /// The delivery's id, or how it begins.
    id: String,
    /// Why it is not to be sent; the note beside the document says so.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

/// What `pause` is told.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {
    /// As `chartdrop status` names it, for example Production/clinic-ehr.
    destination: String,
    /// Why, for whoever looks at it later.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

/// What `resume` is told.
#[derive(Debug, clap::Args)]
pub struct ResumeArgs {
    /// As `chartdrop status` names it, for example Production/clinic-ehr.
    destination: String,
}

/// Tries again, on purpose.
pub async fn retry(config: &Path, args: RetryArgs) -> anyhow::Result<u8> {
    let (_, source) = Source::open(config).await?;
    let ids = if args.all { open(&source).await? } else { args.ids };
    if ids.is_empty() {
        output::print("Nothing waits or is held.\n")?;
    }
    let mut code = DONE;
    for id in ids {
        match decision(&source, &id, "retry", None).await {
            Ok(decided) => output::print(&format!("{}: {}\n", decided.delivery.id, decided.message))?,
            // The others are tried all the same.
            Err(error) if args.all => {
                output::print(&format!("{id}: {error:#}\n"))?;
                code = NOT_ALL;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(code)
}

/// Ids of everything that waits or is held.
async fn open(source: &Source) -> anyhow::Result<Vec<String>> {
    let mut states = vec![State::Queued, State::Unknown, State::Held];
    // One that was being sent when chartdrop was killed waits for an answer that never comes.
    if !source.is_live() {
        states.push(State::Sending);
    }
    let states: Vec<_> = states.into_iter().map(State::as_str).collect();
    let (mut ids, mut cursor) = (Vec::new(), None);
    loop {
        let mut query = vec![("state", states.join(",")), ("limit", MOST.to_string())];
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page: DeliveriesView = source.get("/api/v1/deliveries", &query).await?;
        ids.extend(page.deliveries.into_iter().map(|delivery| delivery.id));
        match page.next {
            Some(next) => cursor = Some(next),
            None => return Ok(ids),
        }
    }
}

async fn decision(source: &Source, id: &str, name: &str, reason: Option<String>) -> anyhow::Result<DecisionView> {
    let request = DecisionRequest { by: None, reason };
    source.post(&format!("/api/v1/deliveries/{}/{name}", encode(id)), &request).await
}

async fn one(config: &Path, id: &str, name: &str, reason: Option<String>) -> anyhow::Result<u8> {
    let (_, source) = Source::open(config).await?;
    output::print(&(decision(&source, id, name, reason).await?.message + "\n"))?;
    Ok(DONE)
}

/// Keeps a delivery back.
pub async fn hold(config: &Path, args: HoldArgs) -> anyhow::Result<u8> {
    one(config, &args.id, "hold", args.reason).await
}

/// Lets a held delivery go on.
pub async fn release(config: &Path, args: IdArgs) -> anyhow::Result<u8> {
    one(config, &args.id, "release", None).await
}

/// Sends it once more, as a new message.
pub async fn send_again(config: &Path, args: IdArgs) -> anyhow::Result<u8> {
    one(config, &args.id, "send-again", None).await
}

/// Ends a delivery without sending it.
pub async fn close(config: &Path, args: CloseArgs) -> anyhow::Result<u8> {
    one(config, &args.id, "close", Some(args.reason)).await
}

/// Keeps everything for a destination back.
pub async fn pause(config: &Path, args: PauseArgs) -> anyhow::Result<u8> {
    channel(config, &args.destination, "pause", args.reason).await
}

/// Lets a destination go on.
pub async fn resume(config: &Path, args: ResumeArgs) -> anyhow::Result<u8> {
    channel(config, &args.destination, "resume", None).await
}

async fn channel(config: &Path, destination: &str, action: &str, reason: Option<String>) -> anyhow::Result<u8> {
    let (_, source) = Source::daemon(config).await?;
    let request = DecisionRequest { by: None, reason };
    let path = format!("/api/v1/channels/{}/{action}", encode(destination));
    let answer: ChannelAnswer = source.post(&path, &request).await?;
    output::print(&(answer.message + "\n"))?;
    Ok(DONE)
}

/// Has the daemon read its configuration again.
pub async fn reload(config: &Path) -> anyhow::Result<u8> {
    let (_, source) = Source::daemon(config).await?;
    let answer: ReloadView = source.post("/api/v1/reload", &DecisionRequest::default()).await?;
    output::print(&(answer.message + "\n"))?;
    Ok(DONE)
}

//! `chartdrop preview`: what would happen to every file, whose it would be, and why. Sends and writes nothing.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use super::{
    DONE, NOT_ALL,
    output::{self, escape, table},
    source::Source,
};
use crate::{
    config::{Config, Inbox},
    inbox::{Candidate, Identified, InboxDir, Pairing, PatientChecks, Rules, Settler, Timing, Waiting, identify, scan},
    model::{
        document::{Document, Key, Patient},
        path::RelPath,
        problem::Problem,
    },
    status::view::{DeliveryView, ProblemView, State},
};

/// What `preview` is told.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or folders in an inbox; without any, everything in all of them.
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// One JSON document in place of a table.
    #[arg(long)]
    json: bool,
}

/// What would happen to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Action {
    /// It would be sent.
    Send,
    /// It was accepted before: it would be filed in done, and not be sent.
    Duplicate,
    /// A delivery of it is under way.
    UnderWay,
    /// It would wait, and be refused if nothing changes.
    Wait,
    /// It would go to failed, with a note.
    Refuse,
}

impl Action {
    fn words(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Duplicate => "duplicate",
            Self::UnderWay => "under way",
            Self::Wait => "wait",
            Self::Refuse => "refuse",
        }
    }
}

/// A file and what would happen to it.
#[derive(Debug, Serialize)]
struct Line {
    inbox: String,
    path: String,
    action: Action,
    problem: Option<ProblemView>,
    delivery: Option<String>,
    patient: Option<Patient>,
    title: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    sidecar: Option<String>,
    size: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    documents: Vec<Line>,
}

/// Prints what would happen. 1: something would be refused.
pub async fn run(path: &Path, args: Args) -> anyhow::Result<u8> {
    // Sent when somebody opens a file in the instant in which we ask the kernel for its writers; it would kill us.
    let _lease = signal(SignalKind::io())?;
    // Without a ledger nothing was sent yet.
    let loaded = Config::load(path)?;
    let source = match loaded.ledger.exists() {
        true => Some(Source::open(path).await?.1),
        false => None,
    };
    let wanted = args.paths.iter().map(|path| within(&loaded, path)).collect::<anyhow::Result<Vec<_>>>()?;
    let examined = loaded.clone();
    let mut lines = tokio::task::spawn_blocking(move || examine(&examined, &wanted)).await??;
    if let Some(source) = &source {
        for line in &mut lines {
            meet(source, line).await;
        }
    }
    let is_refused = |line: &Line| matches!(line.action, Action::Refuse | Action::Wait) && line.problem.is_some();
    let code = if lines.iter().any(is_refused) { NOT_ALL } else { DONE };
    if args.json {
        output::json(&Report { documents: lines })?;
    } else {
        output::print(&words(&lines))?;
    }
    Ok(code)
}

/// The inbox that a path is in, and where in it; `None`: all of it.
fn within(config: &Config, path: &Path) -> anyhow::Result<(String, Option<RelPath>)> {
    let real = path.canonicalize().with_context(|| format!("{} cannot be found", path.display()))?;
    for inbox in &config.inboxes {
        if let Ok(root) = inbox.path.canonicalize()
            && let Ok(rel) = real.strip_prefix(&root)
        {
            return Ok((inbox.name.clone(), RelPath::new(rel)));
        }
    }
    bail!("{} is not in an inbox. These are: {}", path.display(), names(config))
}

fn names(config: &Config) -> String {
    let names: Vec<_> = config.inboxes.iter().map(|inbox| inbox.path.display().to_string()).collect();
    names.join(", ")
}

/// Everything that is wanted, by the code that deliveries use, without waiting for anything to settle.
fn examine(config: &Config, wanted: &[(String, Option<RelPath>)]) -> anyhow::Result<Vec<Line>> {
    let at_once: Vec<Inbox> = config
        .inboxes
        .iter()
        .map(|inbox| Inbox { settle: Duration::ZERO, hold: Duration::ZERO, ..inbox.clone() })
        .collect();
    let checks = PatientChecks::new(&at_once);
    let mut lines = Vec::new();
    for inbox in &at_once {
        if !wanted.is_empty() && !wanted.iter().any(|(name, _)| *name == inbox.name) {
            continue;
        }
        let is_wanted = |path: &RelPath| {
            wanted.is_empty()
                || wanted.iter().any(|(name, within)| {
                    *name == inbox.name
                        && within.as_ref().is_none_or(|within| path.as_path().starts_with(within.as_path()))
                })
        };
        let unreadable = || format!("The inbox {} cannot be read: {}", inbox.name, inbox.path.display());
        let listing = scan(&inbox.path, || {}).with_context(unreadable)?;
        let root = InboxDir::open(&inbox.path).with_context(unreadable)?;
        // A list has settled once it was seen twice.
        checks.look(inbox);
        checks.look(inbox);
        let at_once = Timing { incomplete_after: Duration::ZERO, ..Timing::of(inbox) };
        let found = Settler::new(at_once).observe(&listing, Instant::now(), usize::MAX);
        let rules = |inbox| Rules {
            inbox,
            types: &config.document_types,
            file_types: &config.file_types,
            type_folders: &config.type_folders,
            size_limit: config.delivery.size_limit,
            vetting: &checks,
        };
        for candidate in found.ready.iter().filter(|candidate| is_wanted(&candidate.path)) {
            lines.push(line(&root, rules(inbox), candidate));
        }
        lines.extend(
            found.strays.into_iter().filter(|stray| is_wanted(&stray.path)).map(|stray| stray_line(inbox, stray)),
        );
    }
    lines.sort_by(|a, b| (&a.inbox, &a.path).cmp(&(&b.inbox, &b.path)));
    Ok(lines)
}

fn line(root: &InboxDir, rules: Rules<'_>, candidate: &Candidate) -> Line {
    let sidecar = match &candidate.pairing {
        Pairing::With(sidecar) => Some(sidecar.to_string()),
        Pairing::Alone | Pairing::Ambiguous => None,
    };
    let blank = Line {
        inbox: rules.inbox.name.clone(),
        path: candidate.path.to_string(),
        action: Action::Send,
        problem: None,
        delivery: None,
        patient: None,
        title: None,
        kind: None,
        sidecar,
        size: Some(candidate.stamp().size),
    };
    match identify(root, rules, candidate, Instant::now()) {
        Identified::Ready(ready) => ready_line(rules.inbox, &ready.document, blank),
        Identified::Refused(problem) => Line { action: Action::Refuse, problem: Some(view(problem)), ..blank },
        Identified::NotYet { why, .. } => {
            // Once it has been waited for long enough it is said what is missing.
            let late = Inbox { incomplete_after: Duration::ZERO, ..rules.inbox.clone() };
            let problem = match identify(root, Rules { inbox: &late, ..rules }, candidate, Instant::now()) {
                Identified::Refused(problem) => view(problem),
                Identified::NotYet { .. } | Identified::Ready(_) => view(why),
            };
            Line { action: Action::Wait, problem: Some(problem), ..blank }
        }
    }
}

fn ready_line(inbox: &Inbox, document: &Document, blank: Line) -> Line {
    let kind = &document.metadata.kind;
    Line {
        delivery: Some(Key::of(&inbox.destination, document).id().to_string()),
        patient: Some(document.patient.clone()),
        title: Some(document.metadata.title.clone().unwrap_or_else(|| document.file_name.clone())),
        kind: Some(kind.display.clone().unwrap_or_else(|| kind.code.clone())),
        ..blank
    }
}

fn view(problem: Problem) -> ProblemView {
    ProblemView { code: problem.code.to_owned(), summary: problem.summary, remedy: problem.remedy }
}

/// What is no document, and waits for a person.
fn stray_line(inbox: &Inbox, stray: Waiting) -> Line {
    Line {
        inbox: inbox.name.clone(),
        path: stray.path.to_string(),
        action: Action::Wait,
        problem: Some(view(stray.problem)),
        delivery: None,
        patient: None,
        title: None,
        kind: None,
        sidecar: None,
        size: None,
    }
}

/// What the ledger knows of the same bytes for the same patient.
async fn meet(source: &Source, line: &mut Line) {
    let Some(id) = line.delivery.clone().filter(|_| line.action == Action::Send) else { return };
    let Ok(known) = source.get::<DeliveryView>(&format!("/api/v1/deliveries/{id}"), &[]).await else { return };
    line.action = match known.state {
        State::Accepted => Action::Duplicate,
        // Put back by a person: it starts over.
        State::Rejected => Action::Send,
        State::Queued | State::Sending | State::Unknown | State::Held | State::Filing => Action::UnderWay,
    };
}

fn words(lines: &[Line]) -> String {
    if lines.is_empty() {
        return "There is no document in any inbox.\n".into();
    }
    let mut rows = vec![["WHAT", "FILE", "WHOSE", "TYPE"].map(str::to_owned).to_vec()];
    let mut text = String::new();
    for line in lines {
        rows.push(vec![
            line.action.words().to_owned(),
            format!("{}: {}", line.inbox, output::path(&line.path)),
            line.patient.as_ref().map(whose).unwrap_or_default(),
            line.kind.as_deref().map(escape).unwrap_or_default(),
        ]);
    }
    text.push_str(&table(&rows));
    for line in lines {
        if let Some(problem) = &line.problem {
            let (path, summary, remedy) = (output::path(&line.path), escape(&problem.summary), escape(&problem.remedy));
            text.push_str(&format!("\n{}: {path} ({})\n    {summary}\n    {remedy}\n", line.inbox, problem.code));
        }
    }
    let count = |action: Action| lines.iter().filter(|line| line.action == action).count();
    text.push_str(&format!(
        "\n{} would be sent, {} refused, {} would wait. Nothing was sent or changed.\n",
        count(Action::Send),
        count(Action::Refuse),
        count(Action::Wait)
    ));
    text
}

fn whose(patient: &Patient) -> String {
    let mut parts = patient.given.clone();
    parts.extend(patient.family.clone());
    let born = patient.birth_date.map(|date| format!(", born {date}")).unwrap_or_default();
    let number = patient.identifier.first().map(|first| first.value.clone()).unwrap_or_default();
    escape(format!("{}{born} ({number})", parts.join(" ")).trim())
}

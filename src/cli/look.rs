//! `status`, `history` and `show`: is everything going out, what was sent, and the whole story of one delivery.

use std::{fmt::Write, path::Path, time::Duration};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    DONE,
    output::{self, ago, escape, table, time},
    source::{Source, encode},
};
use crate::{
    model::problem::size_words,
    status::{
        MOST,
        view::{DeliveriesView, DeliveryView, InboxView, State, StatusView, WaitingListView},
    },
};

/// Deliveries and waiting documents that `status` shows; the counts say how many there are.
const SHOWN: usize = 20;
/// How often `status --watch` looks.
const WATCH: Duration = Duration::from_secs(2);

/// What `status` is told.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// One JSON document in place of words.
    #[arg(long)]
    json: bool,
    /// Go on, every two seconds, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// What `history` is told.
#[derive(Debug, clap::Args)]
pub struct HistoryArgs {
    /// One JSON document in place of words.
    #[arg(long)]
    json: bool,
    /// Only in this state; may be given more than once.
    #[arg(long, value_name = "STATE", value_enum)]
    state: Vec<State>,
    /// Only of this inbox.
    #[arg(long, value_name = "NAME")]
    inbox: Option<String>,
    /// Only with this in its path, title, patient's number, id or reason.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Only what was dropped at or after: 2026-11-20, 2026-11-20T09:30:00Z, or how long ago: 24h, 7d.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only what was dropped before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// At most so many.
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
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

/// At one look: is everything going out, what waits and why, what is failing, since when, what to do.
pub async fn status(config: &Path, args: StatusArgs) -> anyhow::Result<u8> {
    let (config, source) = Source::open(config).await?;
    loop {
        let status: StatusView = source.get("/api/v1/status", &[]).await?;
        if args.json {
            output::json(&status)?;
        } else {
            let open = [State::Queued, State::Sending, State::Unknown, State::Held, State::Filing];
            let states: Vec<_> = open.into_iter().map(State::as_str).collect();
            let query = [("state", states.join(",")), ("limit", SHOWN.to_string())];
            let open: DeliveriesView = source.get("/api/v1/deliveries", &query).await?;
            let waiting: WaitingListView = source.get("/api/v1/waiting", &[("limit", SHOWN.to_string())]).await?;
            let page = Page { status: &status, open: &open, waiting: &waiting, zone: &config.status.time_zone };
            let clear = if args.watch { "\u{1b}[H\u{1b}[2J" } else { "" };
            output::print(&format!("{clear}{}", page.text(Timestamp::now())))?;
        }
        if !args.watch {
            return Ok(DONE);
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH) => {}
            () = super::interrupted() => return Ok(DONE),
        }
    }
}

struct Page<'a> {
    status: &'a StatusView,
    open: &'a DeliveriesView,
    waiting: &'a WaitingListView,
    zone: &'a TimeZone,
}

impl Page<'_> {
    fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        self.head(&mut text, now);
        self.alarms(&mut text);
        self.tables(&mut text, now);
        self.documents(&mut text, now);
        text
    }

    fn head(&self, text: &mut String, now: Timestamp) {
        let status = self.status;
        let since = match status.started_at {
            Some(at) => format!("running since {} ({})", time(at, self.zone), ago(at, now)),
            None => "not running".into(),
        };
        push(text, &format!("chartdrop {} on {}, {since}", status.version, escape(&status.node)));
        push(text, &self.verdict());
        push(text, "");
    }

    /// The answer to the first question.
    fn verdict(&self) -> String {
        let counts = &self.status.counts;
        let stopped = self.status.channels.iter().any(|channel| channel.problem.is_some());
        let unreachable = self.status.inboxes.iter().any(|inbox| inbox.problem.is_some());
        let on_their_way = counts.queued + counts.sending + counts.unknown + counts.filing;
        let mut parts = Vec::new();
        if self.status.started_at.is_none() {
            parts.push("Nothing is going out: chartdrop does not run (systemctl start chartdrop).".to_owned());
        } else if stopped {
            parts.push("Not everything is going out: see the destinations.".into());
        } else if unreachable {
            parts.push("Not everything is going out: see the inboxes.".into());
        } else if self.status.alarms.is_empty() && counts.held == 0 {
            parts.push("Everything is going out.".into());
        } else {
            parts.push("Something needs a person: see below.".into());
        }
        match (on_their_way, counts.held) {
            (0, 0) => parts.push("Nothing is under way.".into()),
            (open, 0) => parts.push(format!("{open} on their way.")),
            (open, held) => parts.push(format!("{open} on their way, {held} held for a decision.")),
        }
        parts.join(" ")
    }

    fn alarms(&self, text: &mut String) {
        for alarm in &self.status.alarms {
            let place = alarm.inbox.as_ref().map(|inbox| format!("{inbox}: ")).unwrap_or_default();
            push(
                text,
                &format!("ALARM since {}: {}{}", time(alarm.since, self.zone), escape(&place), escape(&alarm.summary)),
            );
            push(text, &format!("      {}", escape(&alarm.remedy)));
        }
        if !self.status.alarms.is_empty() {
            push(text, "");
        }
    }

    fn tables(&self, text: &mut String, now: Timestamp) {
        let head = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let mut rows = vec![head(&["INBOX", "STATE", "WAITING", "OLDEST", "TODAY"])];
        rows.extend(self.status.inboxes.iter().map(|inbox| inbox_row(inbox, now)));
        text.push_str(&table(&rows));
        for inbox in &self.status.inboxes {
            if let Some(problem) = &inbox.problem {
                push(text, &format!("  {}: {} {}", inbox.name, escape(&problem.summary), escape(&problem.remedy)));
            }
        }
        push(text, "");
        let mut rows = vec![head(&["DESTINATION", "STATE", "NEXT TRY"])];
        rows.extend(self.status.channels.iter().map(|channel| {
            let next = channel.next_attempt_at.map(|at| time(at, self.zone)).unwrap_or_default();
            vec![channel.destination.clone(), channel.state.clone().unwrap_or_else(|| "-".into()), next]
        }));
        text.push_str(&table(&rows));
        for problem in self.status.channels.iter().filter_map(|channel| channel.problem.as_ref()) {
            push(text, &format!("  {}\n  {}", escape(&problem.summary), escape(&problem.remedy)));
        }
    }

    fn documents(&self, text: &mut String, now: Timestamp) {
        if !self.open.deliveries.is_empty() {
            push(text, "\nON THEIR WAY");
            for view in &self.open.deliveries {
                text.push_str(&line(view, self.zone));
            }
            if self.open.next.is_some() {
                push(text, &format!("  … and more. `chartdrop history --state queued --limit {MOST}` lists them."));
            }
        }
        if !self.waiting.documents.is_empty() {
            push(text, "\nNOT BEGUN YET");
            let rows: Vec<_> = self
                .waiting
                .documents
                .iter()
                .map(|document| {
                    let why = document.problem.as_ref().map(|problem| escape(&problem.summary)).unwrap_or_default();
                    let until = document.until.map(|at| format!("until {}", time(at, self.zone))).unwrap_or_default();
                    let place = format!("  {}: {}", document.inbox, output::path(&document.path));
                    vec![place, document.state.clone(), format!("for {}", ago(document.since, now)), until, why]
                })
                .collect();
            text.push_str(&table(&rows));
            if self.waiting.next.is_some() {
                push(text, "  … and more.");
            }
        }
    }
}

fn inbox_row(inbox: &InboxView, now: Timestamp) -> Vec<String> {
    vec![
        inbox.name.clone(),
        inbox.state.clone().unwrap_or_else(|| "-".into()),
        inbox.waiting.map_or_else(|| "-".into(), |waiting| waiting.to_string()),
        inbox.oldest_waiting_since.map(|since| ago(since, now)).unwrap_or_default(),
        format!("{} accepted, {} rejected", inbox.accepted_today, inbox.rejected_today),
    ]
}

fn push(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// One delivery in a list, with its reason and what to do.
fn line(view: &DeliveryView, zone: &TimeZone) -> String {
    let mut text = format!(
        "{}  {:8}  {}  {}: {}\n",
        view.id,
        view.state.as_str(),
        time(view.since, zone),
        view.inbox,
        output::path(&view.path)
    );
    if let Some(problem) = &view.problem {
        // Writing to a String never fails.
        writeln!(text, "    {}", escape(&problem.summary)).ok();
        if matches!(view.state, State::Held | State::Rejected) {
            writeln!(text, "    {}", escape(&problem.remedy)).ok();
        }
    }
    text
}

/// Deliveries, the newest first, as many as were asked for; says when there are more.
pub async fn history(config: &Path, args: HistoryArgs) -> anyhow::Result<u8> {
    let (config, source) = Source::open(config).await?;
    let states: Vec<_> = args.state.iter().map(|state| state.as_str()).collect();
    let given = [
        ("state", Some(states.join(",")).filter(|states| !states.is_empty())),
        ("inbox", args.inbox),
        ("text", args.text),
        ("since", args.since),
        ("until", args.until),
    ];
    let filters: Vec<_> = given.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let mut all = DeliveriesView { deliveries: Vec::new(), next: None };
    loop {
        let left = limit - all.deliveries.len();
        let mut query = filters.clone();
        query.push(("limit", left.min(MOST).to_string()));
        query.extend(all.next.take().map(|cursor| ("cursor", cursor)));
        let page: DeliveriesView = source.get("/api/v1/deliveries", &query).await?;
        all.deliveries.extend(page.deliveries);
        all.next = page.next;
        if all.next.is_none() || all.deliveries.len() >= limit {
            break;
        }
    }
    if args.json {
        output::json(&all)?;
        return Ok(DONE);
    }
    let mut text: String = all.deliveries.iter().map(|view| line(view, &config.status.time_zone)).collect();
    if text.is_empty() {
        push(&mut text, "Nothing has been delivered that is so.");
    }
    if all.next.is_some() {
        push(
            &mut text,
            &format!(
                "These are the newest {}; there are more. Use --limit, or narrow it with --state, --inbox, --text, --since, --until.",
                all.deliveries.len()
            ),
        );
    }
    output::print(&text)?;
    Ok(DONE)
}

/// Everything that is known of one delivery.
pub async fn show(config: &Path, args: ShowArgs) -> anyhow::Result<u8> {
    let (config, source) = Source::open(config).await?;
    let view: DeliveryView = source.get(&format!("/api/v1/deliveries/{}", encode(&args.id)), &[]).await?;
    if args.json {
        output::json(&view)?;
    } else {
        output::print(&story(&view, &config.status.time_zone))?;
    }
    Ok(DONE)
}

fn story(view: &DeliveryView, zone: &TimeZone) -> String {
    let mut rows = Vec::new();
    let mut say = |name: &str, value: String| rows.push(vec![name.to_owned(), value]);
    say("delivery", view.id.clone());
    say("document", format!("{}: {}", view.inbox, output::path(&view.path)));
    if let Some(size) = view.size {
        say("size", size_words(size));
    }
    say("state", format!("{} since {}", view.state.as_str(), time(view.since, zone)));
    if let Some(problem) = &view.problem {
        say("why", escape(&problem.summary));
        say("what to do", escape(&problem.remedy));
    }
    if let Some(at) = view.next_attempt_at {
        say("next try", time(at, zone));
    }
    say("to", view.destination.clone());
    if let Some(patient) = &view.patient {
        say("patient", escape(patient));
    }
    say(
        "sent",
        match view.unconfirmed {
            0 => format!("sent {} times", view.sent),
            n => format!("sent {} times, {n} of them without a certain answer", view.sent),
        },
    );
    if view.attempts > 0 {
        say("failed tries", view.attempts.to_string());
    }
    if let Some(at) = view.accepted_at {
        say("accepted", time(at, zone));
    }
    if let Some(filed) = &view.filed_as {
        let folder = if view.state == State::Accepted { "done" } else { "failed" };
        say("filed", format!("{folder}/{}", escape(filed)));
    }
    say("master identifier", view.ids.master_identifier.clone().unwrap_or_else(|| "-".into()));
    if let Some(bundle) = view.ids.bundle {
        say("bundle", bundle.to_string());
    }
    for id in &view.ids.answer {
        say("at Redox", escape(id));
    }
    let mut text = table(&rows);
    push(&mut text, "\nHISTORY");
    let events: Vec<_> = view
        .history
        .iter()
        .map(|event| {
            let by = event.by.as_ref().map(|by| format!("by {}", escape(by))).unwrap_or_default();
            let detail = event.detail.as_ref().map(|detail| escape(detail)).unwrap_or_default();
            vec![time(event.at, zone), event.event.clone(), [by, detail].join(" ").trim().to_owned()]
        })
        .collect();
    text.push_str(&table(&events));
    text
}

//! The configuration file's own shape, key by key, and the checks that turn it into a [`Config`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use regex::Regex;
use serde::{Deserialize, Deserializer, de};

use super::{
    Config, FolderName, FolderPattern, Inbox, Method, OnUnknown, SidecarRule, TextRule, Watch,
    alarms::RawAlarms,
    status::{Log, RawStatus},
    strict::{nearest, place, refuse, shown},
    units::{ByteSize, Duration},
};
use crate::{
    model::{
        document::{Coding, Destination},
        file_kind::{FileKind, FileTypes, is_program},
        path::folded,
    },
    redox::{Algorithm, Environment, Settings, UploadBody},
};

/// The type that is always known: FHIR's word for "nobody said".
const UNSPECIFIED: &str = "unspecified";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    #[serde(default, deserialize_with = "inboxes")]
    inbox: Vec<RawInbox>,
    #[serde(default)]
    document_types: BTreeMap<String, RawType>,
    #[serde(default)]
    file_types: FileTypes,
    redox: RawRedox,
    #[serde(default)]
    delivery: RawDelivery,
    #[serde(default)]
    ledger: RawLedger,
    #[serde(default)]
    status: RawStatus,
    #[serde(default)]
    log: Log,
    #[serde(default)]
    alarms: RawAlarms,
}

/// A coding, and the folders whose documents are of that type.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawType {
    system: String,
    code: String,
    display: Option<String>,
    #[serde(default)]
    folders: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInbox {
    name: String,
    path: PathBuf,
    done: Option<PathBuf>,
    failed: Option<PathBuf>,
    group: Option<String>,
    #[serde(default)]
    mode: FileMode,
    destination: String,
    #[serde(default = "default_settle")]
    settle: Duration,
    #[serde(default = "default_hold")]
    hold: Duration,
    #[serde(default = "default_incomplete_after")]
    incomplete_after: Duration,
    #[serde(default = "default_orphan_after")]
    orphan_after: Duration,
    #[serde(default = "default_notice_after")]
    notice_after: Duration,
    #[serde(default)]
    folder_name: FolderName,
    #[serde(default)]
    watch: Watch,
    #[serde(default)]
    sidecar: SidecarRule,
    roster: Option<PathBuf>,
    #[serde(default)]
    patient: RawPatient,
    #[serde(default)]
    document: RawDocument,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPatient {
    identifier_system: Option<String>,
    folder_pattern: Option<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDocument {
    #[serde(rename = "type")]
    kind: String,
    text: TextRule,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRedox {
    #[serde(default = "default_base_url")]
    base_url: String,
    environment: Environment,
    client_id: String,
    key_id: String,
    private_key: PathBuf,
    #[serde(default = "default_algorithm")]
    algorithm: Algorithm,
    source_id: Option<String>,
    scope: Option<String>,
    #[serde(default = "default_upload_body")]
    upload_body: UploadBody,
    ca_file: Option<PathBuf>,
    proxy: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawDelivery {
    method: Method,
    embed_limit: ByteSize,
    #[serde(deserialize_with = "size_limit")]
    size_limit: ByteSize,
    concurrency: usize,
    #[serde(deserialize_with = "Duration::positive")]
    request_timeout: Duration,
    #[serde(deserialize_with = "Duration::positive")]
    retry_first: Duration,
    #[serde(deserialize_with = "Duration::positive")]
    retry_max: Duration,
    #[serde(deserialize_with = "Duration::positive")]
    give_up_after: Duration,
    #[serde(deserialize_with = "Duration::positive")]
    alarm_after: Duration,
    upload_max_age: Duration,
    on_unknown: OnUnknown,
    resend_after: Vec<Duration>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawLedger {
    path: PathBuf,
    #[serde(deserialize_with = "history")]
    history: Duration,
}

/// One table for each inbox. `[inbox]` in place of `[[inbox]]` is a slip that everybody makes once.
fn inboxes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RawInbox>, D::Error> {
    struct Visitor;
    impl<'de> de::Visitor<'de> for Visitor {
        type Value = Vec<RawInbox>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("written as [[inbox]], one for every folder that staff drop into")
        }
        fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            let mut inboxes = Vec::new();
            while let Some(inbox) = items.next_element()? {
                inboxes.push(inbox);
            }
            Ok(inboxes)
        }
        fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
            Err(refuse("written with two pairs of brackets: [[inbox]] instead of [inbox]"))
        }
    }
    deserializer.deserialize_any(Visitor)
}

fn size_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ByteSize, D::Error> {
    let size = ByteSize::deserialize(deserializer)?;
    match size.0 {
        0 => Err(refuse("more than nothing, such as \"30MB\": otherwise every document is refused as too large")),
        _ => Ok(size),
    }
}

fn history<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let history = Duration::deserialize(deserializer)?;
    if history < Duration::seconds(86_400) {
        return Err(refuse(
            "at least a day, such as \"1y\": a document that is dropped again after this time is sent again",
        ));
    }
    Ok(history)
}

/// Permission bits of files, written as `chmod` takes them.
struct FileMode(u32);

impl Default for FileMode {
    fn default() -> Self {
        Self(0o640)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            // chartdrop itself must be able to read and write, and no document is a program.
            Ok(mode) if text.len() <= 4 && mode & 0o600 == 0o600 && mode & !0o666 == 0 => Ok(Self(mode)),
            _ => Err(refuse("permissions for files such as \"0640\" (group may read) or \"0660\" (group may write)")),
        }
    }
}

/// A regular expression with at least one of the groups that say something of the patient, and no other.
struct Pattern(Regex);

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let regex = Regex::new(&text).map_err(|error| {
            refuse::<D::Error>(&format!(
                "a regular expression such as '^(?<identifier>[0-9]+)'; this one cannot be used: {}",
                regex_words(&error)
            ))
        })?;
        let mut groups = regex.capture_names().flatten().peekable();
        if groups.peek().is_none() {
            return Err(refuse(
                "a regular expression with a group for the patient's number, such as '^(?<identifier>[0-9]+)'",
            ));
        }
        if !groups.all(|name| FolderPattern::GROUPS.contains(&name)) {
            return Err(refuse(
                "a regular expression whose groups are called identifier, family, given or birth_date, such as '^(?<identifier>[0-9]+)'",
            ));
        }
        Ok(Self(regex))
    }
}

/// What is wrong with a regular expression, on one line: the last line of the error, and where.
fn regex_words(error: &regex::Error) -> String {
    let regex::Error::Syntax(text) = error else { return "it is too large".into() };
    let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    // The pattern is shown indented by four, and a caret below the place.
    let caret = text.lines().find_map(|line| line.find('^').filter(|_| line.trim_matches([' ', '^']).is_empty()));
    match caret.and_then(|at| at.checked_sub(4)) {
        Some(at) => format!("{why} (at its character {})", at + 1),
        None => why.to_owned(),
    }
}

fn default_settle() -> Duration {
    Duration::seconds(2)
}

fn default_hold() -> Duration {
    Duration::seconds(30)
}

fn default_orphan_after() -> Duration {
    Duration::seconds(3600)
}

fn default_notice_after() -> Duration {
    Duration::seconds(900)
}

fn default_incomplete_after() -> Duration {
    Duration::seconds(120)
}

fn default_base_url() -> String {
    "https://api.redoxengine.com".into()
}

fn default_algorithm() -> Algorithm {
    Algorithm::RS384
}

fn default_upload_body() -> UploadBody {
    UploadBody::Raw
}

impl Default for RawDocument {
    fn default() -> Self {
        Self { kind: UNSPECIFIED.into(), text: TextRule::default() }
    }
}

impl Default for RawDelivery {
    fn default() -> Self {
        Self {
            method: Method::default(),
            embed_limit: ByteSize(200_000),
            size_limit: ByteSize(30_000_000),
            concurrency: 4,
            request_timeout: Duration::seconds(180),
            retry_first: Duration::seconds(5),
            retry_max: Duration::seconds(3600),
            give_up_after: Duration::seconds(3 * 86_400),
            alarm_after: Duration::seconds(3600),
            upload_max_age: Duration::seconds(86_400),
            on_unknown: OnUnknown::default(),
            resend_after: vec![Duration::seconds(60), Duration::seconds(600), Duration::seconds(3600)],
        }
    }
}

impl Default for RawLedger {
    fn default() -> Self {
        Self { path: "/var/lib/chartdrop/ledger".into(), history: Duration::seconds(365 * 86_400) }
    }
}

/// A setting that makes no sense, and the key that it is about.
#[derive(Debug)]
pub(super) struct Fault {
    /// From the root; a number counts the tables of a list from 0.
    key: Vec<String>,
    /// What is wrong and what to do, for a person.
    pub(super) what: String,
}

impl Fault {
    /// The words for a person, with line and column of the key.
    pub(super) fn located(&self, bytes: &[u8]) -> String {
        match place(bytes, &self.key) {
            Some((line, column)) => format!("line {line}, column {column}: {}", self.what),
            None => self.what.clone(),
        }
    }
}

pub(super) fn fault<K: ToString, const N: usize>(key: [K; N], what: impl Into<String>) -> Fault {
    Fault { key: key.iter().map(K::to_string).collect(), what: what.into() }
}

/// Checks what the types cannot say; relative paths become absolute beneath `folder`. The error is for a person.
pub(super) fn check(raw: Raw, folder: &Path) -> Result<Config, Fault> {
    let (mut document_types, type_folders) = document_types(raw.document_types)?;
    document_types.entry(UNSPECIFIED.into()).or_insert_with(|| Coding {
        system: "http://terminology.hl7.org/CodeSystem/v3-NullFlavor".into(),
        code: "UNK".into(),
        display: Some("Unknown".into()),
    });
    if let Some((name, _)) = document_types.iter().find(|(_, coding)| !coding.is_usable()) {
        return Err(fault(
            ["document_types", name.as_str()],
            format!(
                "document_types.{}: it needs a system that is a URI such as \"http://loinc.org\", and a code, each short",
                shown(name)
            ),
        ));
    }
    if raw.inbox.is_empty() {
        return Err(fault(["inbox"], "there is no [[inbox]]: add one, so that there is a folder to watch"));
    }
    let redox = redox(raw.redox, raw.delivery.request_timeout, folder)?;
    let inboxes = raw
        .inbox
        .into_iter()
        .enumerate()
        .map(|(at, raw)| inbox(at, raw, &document_types, redox.environment, folder))
        .collect::<Result<Vec<_>, _>>()?;
    let ledger = folder.join(raw.ledger.path);
    apart(&inboxes, &ledger)?;
    let status = raw.status.check(folder, &ledger)?;
    Ok(Config {
        inboxes,
        document_types,
        file_types: file_types(raw.file_types)?,
        type_folders,
        redox,
        delivery: delivery(&raw.delivery)?,
        ledger,
        history: raw.ledger.history.get(),
        status,
        log: raw.log,
        alarms: raw.alarms.check(|name| secret(name, folder)).map_err(|what| fault(["alarms"], what))?,
    })
}

/// The types by name, and by the folders that they name.
#[allow(clippy::type_complexity, reason = "two maps, and each is used once")]
fn document_types(
    raw: BTreeMap<String, RawType>,
) -> Result<(BTreeMap<String, Coding>, BTreeMap<Vec<u8>, Coding>), Fault> {
    let (mut types, mut folders) = (BTreeMap::new(), BTreeMap::new());
    for (name, raw) in raw {
        let coding = Coding { system: raw.system, code: raw.code, display: raw.display };
        for folder in raw.folders {
            if folder.trim().is_empty() || folder.contains('/') {
                return Err(fault(
                    ["document_types", &name, "folders"],
                    format!(
                        "document_types.{}: folders names folders inside a patient folder, such as \"Referrals\", without any /",
                        shown(&name)
                    ),
                ));
            }
            if folders.insert(folded(folder.as_ref()), coding.clone()).is_some() {
                return Err(fault(
                    ["document_types", &name, "folders"],
                    format!(
                        "document_types.{}: the folder \"{}\" is named twice; a folder has one type",
                        shown(&name),
                        shown(&folder)
                    ),
                ));
            }
        }
        types.insert(name, coding);
    }
    Ok((types, folders))
}

fn redox(raw: RawRedox, request_timeout: Duration, folder: &Path) -> Result<Settings, Fault> {
    for (key, value) in [("client_id", &raw.client_id), ("key_id", &raw.key_id)] {
        if value.trim().is_empty() || value == "…" {
            return Err(fault(
                ["redox", key],
                format!("redox.{key} is not filled in: copy it from the API key's page in the Redox dashboard"),
            ));
        }
    }
    Ok(Settings {
        base_url: raw.base_url.trim_end_matches('/').to_owned(),
        environment: raw.environment,
        client_id: raw.client_id,
        key_id: raw.key_id,
        private_key: secret(&raw.private_key, folder),
        algorithm: raw.algorithm,
        source_id: raw.source_id,
        scope: raw.scope,
        upload_body: raw.upload_body,
        proxy: raw.proxy,
        ca_file: raw.ca_file.map(|path| folder.join(path)),
        request_timeout: request_timeout.get(),
    })
}

/// The path of a secret. A bare name may be a systemd credential; whoever reads it looks there first.
fn secret(name: &Path, folder: &Path) -> PathBuf {
    let is_credential = name.components().count() == 1
        && std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|dir| Path::new(&dir).join(name).exists());
    if is_credential { name.to_path_buf() } else { folder.join(name) }
}

fn inbox(
    at: usize,
    raw: RawInbox,
    types: &BTreeMap<String, Coding>,
    environment: Environment,
    folder: &Path,
) -> Result<Inbox, Fault> {
    let wrong = |key: &[&str], what: String| Fault {
        key: ["inbox", &at.to_string()].iter().chain(key).map(ToString::to_string).collect(),
        what,
    };
    let name = raw.name;
    if name.is_empty() || name.len() > 64 || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)) {
        let what = "an inbox's name is 1 to 64 letters, digits, '-', '_' or '.', without spaces";
        return Err(wrong(&["name"], what.into()));
    }
    let slug = raw.destination;
    if slug.is_empty() || slug.len() > 128 || !slug.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        let what = format!("inbox {name}: destination is the slug from the Redox dashboard: letters, digits, '-', '_'");
        return Err(wrong(&["destination"], what));
    }
    let path = folder.join(raw.path);
    let sibling = |given: Option<PathBuf>, default: &str| match given {
        Some(given) => folder.join(given),
        None => path.parent().unwrap_or(folder).join(default),
    };
    let patient = match (raw.patient.identifier_system, raw.patient.folder_pattern) {
        (Some(system), _) if !system.contains(':') || system.contains(char::is_whitespace) => {
            let what = format!("inbox {name}: identifier_system is not a URI such as \"urn:redox:health-one:MR\"");
            return Err(wrong(&["patient", "identifier_system"], what));
        }
        (identifier_system, Some(Pattern(pattern))) => Some(FolderPattern { identifier_system, pattern }),
        (None, None) => None,
        (Some(_), None) => {
            let what = format!(
                "inbox {name}: [inbox.patient] has identifier_system and no folder_pattern: add it, or leave both out"
            );
            return Err(wrong(&["patient"], what));
        }
    };
    let document_type = types.get(&raw.document.kind).cloned().ok_or_else(|| {
        let hint = nearest(&raw.document.kind, types.keys().map(String::as_str));
        let hint = hint.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let what = format!("inbox {name}: the document type {:?} is not in [document_types]{hint}", raw.document.kind);
        wrong(&["document", "type"], what)
    })?;
    let group = match &raw.group {
        None => None,
        Some(group) => Some(crate::platform::group::number(group).ok_or_else(|| {
            let what = format!(
                "inbox {name}: this machine knows no group {}: add it with groupadd, or leave the key out for the group of the inbox folder",
                shown(group)
            );
            wrong(&["group"], what)
        })?),
    };
    Ok(Inbox {
        group,
        mode: raw.mode.0,
        done: sibling(raw.done, "done"),
        failed: sibling(raw.failed, "failed"),
        destination: Destination(format!("{environment}/{slug}")),
        name,
        path,
        slug,
        settle: raw.settle.get(),
        hold: raw.hold.get(),
        incomplete_after: raw.incomplete_after.get(),
        orphan_after: raw.orphan_after.get(),
        notice_after: raw.notice_after.get(),
        folder_name: raw.folder_name,
        watch: raw.watch,
        sidecar: raw.sidecar,
        roster: raw.roster.map(|path| folder.join(path)),
        patient,
        document_type,
        text: raw.document.text,
    })
}

/// Lower-case extensions, and MIME types without parameters.
fn file_types(raw: FileTypes) -> Result<FileTypes, Fault> {
    let mut types = FileTypes::new();
    for (written, mime) in raw {
        let key = format!("file_types.{}", shown(&written));
        let wrong = |what: &str| fault(["file_types", &written], format!("{key}: {what}"));
        let extension = written.to_ascii_lowercase();
        if extension.is_empty() || extension.len() > 16 || !extension.chars().all(|c| c.is_ascii_alphanumeric()) {
            return Err(wrong("write the extension alone, such as docx: letters and digits, without a dot"));
        }
        if let Some(kind) = FileKind::built_in(&extension) {
            return Err(wrong(&format!("chartdrop knows this kind ({}) already: leave the line out", kind.mime())));
        }
        if ["toml", "json"].contains(&extension.as_str()) {
            return Err(wrong("files of this kind are sidecars, and never documents: leave the line out"));
        }
        if is_program(&extension) {
            return Err(wrong("programs and scripts are never sent: leave the line out"));
        }
        let token = |part: &str| {
            (1..=100).contains(&part.len())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "!#$&^_.+-".contains(c))
        };
        if !mime.split_once('/').is_some_and(|(kind, subtype)| token(kind) && token(subtype)) {
            return Err(wrong(&format!("{} is not a MIME type such as \"image/heic\"", shown(&mime))));
        }
        if types.insert(extension, mime.to_ascii_lowercase()).is_some() {
            return Err(wrong("this extension is listed twice, in capitals and without"));
        }
    }
    Ok(types)
}

fn delivery(raw: &RawDelivery) -> Result<super::Delivery, Fault> {
    if !(1..=64).contains(&raw.concurrency) {
        return Err(fault(["delivery", "concurrency"], "delivery.concurrency must be between 1 and 64"));
    }
    if raw.retry_first > raw.retry_max {
        let what = "delivery.retry_first must not be longer than delivery.retry_max";
        return Err(fault(["delivery", "retry_first"], what));
    }
    if raw.resend_after.len() > 10 {
        let what = "delivery.resend_after has more than 10 pauses: each is one more copy that a chart may get";
        return Err(fault(["delivery", "resend_after"], what));
    }
    Ok(super::Delivery {
        resend_after: raw.resend_after.iter().map(|pause| pause.get()).collect(),
        method: raw.method,
        embed_limit: raw.embed_limit.0,
        size_limit: raw.size_limit.0,
        concurrency: raw.concurrency,
        retry_first: raw.retry_first.get(),
        retry_max: raw.retry_max.get(),
        give_up_after: raw.give_up_after.get(),
        alarm_after: raw.alarm_after.get(),
        upload_max_age: raw.upload_max_age.get(),
        on_unknown: raw.on_unknown,
    })
}

/// No folder inside another: what is filed must never be seen as dropped, and the ledger never as a document.
fn apart(inboxes: &[Inbox], ledger: &Path) -> Result<(), Fault> {
    const OWN: &str = "give each a folder of its own";
    let mut names = BTreeSet::new();
    for (at, inbox) in inboxes.iter().enumerate() {
        if !names.insert(&inbox.name) {
            let what = format!("two inboxes are called {}: give every inbox a name of its own", inbox.name);
            return Err(fault(["inbox", &at.to_string(), "name"], what));
        }
    }
    let targets =
        inboxes.iter().flat_map(|inbox| [("done", &inbox.name, &inbox.done), ("failed", &inbox.name, &inbox.failed)]);
    for (at, Inbox { name, path: root, .. }) in inboxes.iter().enumerate() {
        let clash = |other: &Path| root.starts_with(other) || other.starts_with(root);
        let wrong = |key: &str, what: String| fault(["inbox", &at.to_string(), key], what);
        if clash(ledger) {
            return Err(wrong("path", format!("inbox {name} and the ledger are inside each other: {OWN}")));
        }
        let has_inside = |inbox: &&Inbox| inbox.roster.as_ref().is_some_and(|list| list.starts_with(root));
        if let Some(inbox) = inboxes.iter().find(has_inside) {
            let what = format!("the roster of {} is in the inbox {name}: keep it where staff drop nothing", inbox.name);
            return Err(wrong("roster", what));
        }
        if let Some(other) = inboxes[..at].iter().find(|other| clash(&other.path)) {
            let what = format!("the inboxes {name} and {} are inside each other: {OWN}", other.name);
            return Err(wrong("path", what));
        }
        if let Some((key, other, _)) = targets.clone().find(|(_, _, target)| clash(target)) {
            let what = format!("the inbox {name} and the {key} folder of {other} are inside each other: {OWN}");
            return Err(wrong(key, what));
        }
        let Inbox { done, failed, .. } = &inboxes[at];
        if done.starts_with(failed) || failed.starts_with(done) {
            return Err(wrong("done", format!("inbox {name}: done and failed are inside each other: {OWN}")));
        }
    }
    Ok(())
}

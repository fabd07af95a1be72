//! The example is the documentation of every key: it must parse, say the code's own defaults, and leave no key out.

use std::collections::BTreeSet;

use super::{raw::Raw, *};

const EXAMPLE: &str = include_str!("../../config.example.toml");

/// Only what has no default.
const MINIMAL: &str = r#"
    [[inbox]]
    name = "front-desk"
    path = "/srv/chartdrop/inbox"
    destination = "redox-fhir-sandbox"
    [inbox.patient]
    identifier_system = "urn:redox:health-one:MR"
    folder_pattern = '^(?<identifier>[0-9]+)'
    [document_types]
    referral = { system = "http://loinc.org", code = "57133-1", display = "Referral note", folders = ["Referrals"] }
    [redox]
    environment = "Staging"
    client_id = "00000000-0000-0000-0000-000000000000"
    key_id = "my-key"
    private_key = "/etc/chartdrop/redox-key.pem"
"#;

fn load(text: &str) -> Result<Config, String> {
    let raw: Raw = strict::toml(text.as_bytes()).map_err(|error| error.to_string())?;
    raw::check(raw, Path::new("/etc/chartdrop"))
}

fn error(text: &str) -> String {
    load(text).unwrap_err()
}

#[test]
fn the_example_says_the_defaults() {
    let (example, minimal) = (load(EXAMPLE).unwrap(), load(MINIMAL).unwrap());
    assert_eq!(format!("{example:#?}"), format!("{minimal:#?}"));
}

/// Every `key =` of the example, the commented-out ones included, by its table.
fn keys_of_the_example() -> BTreeSet<(String, String)> {
    let mut table = String::new();
    let mut keys = BTreeSet::new();
    for line in EXAMPLE.lines() {
        let line = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_start_matches('[').split(']').next().unwrap().to_owned();
        } else if let Some((key, _)) = line.split_once(" = ")
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        {
            keys.insert((table.clone(), key.to_owned()));
        }
    }
    keys
}

#[test]
fn the_example_leaves_no_key_out() {
    // An unknown key makes the parser list those that it knows.
    let mut known = BTreeSet::new();
    for table in ["inbox", "inbox.patient", "inbox.document", "redox", "delivery", "ledger", "status", "log", "alarms"]
    {
        let head = if table == "inbox" { "[[inbox]]".to_owned() } else { format!("[{table}]") };
        let text = EXAMPLE.replacen(&format!("\n{head}"), &format!("\n{head}\nqqqqqqqq = 1\n"), 1);
        let said = error(&text);
        let (_, list) = said.split_once("known are ").unwrap_or_else(|| panic!("{said}"));
        for key in list.split(|c: char| !(c.is_ascii_lowercase() || c == '_')).filter(|key| !key.is_empty()) {
            known.insert((table.to_owned(), key.to_owned()));
        }
    }
    let tables = ["patient", "document", "or", "and"];
    known.retain(|(_, key)| !tables.contains(&key.as_str()));
    let mut written = keys_of_the_example();
    written.retain(|(table, _)| table != "document_types" && table != "file_types");
    assert_eq!(written, known);
}

#[test]
fn commented_out_keys_are_right_as_well() {
    let text = EXAMPLE
        .replace("# roster = ", "roster = ")
        .replace("# source_id = ", "source_id = ")
        .replace("# scope = ", "scope = ")
        .replace("# ca_file = ", "ca_file = ")
        .replace("# docx = ", "docx = ")
        .replace("# heic = ", "heic = ")
        .replace("# socket = ", "socket = ")
        .replace("# socket_group = ", "socket_group = ")
        .replace("# tls_certificate = ", "tls_certificate = ")
        .replace("# tls_key = ", "tls_key = ")
        .replace("# users = ", "users = ")
        .replace("# contact = ", "contact = ")
        .replace("# mail = ", "mail = ")
        .replace("# webhook = ", "webhook = ")
        .replace("# command = ", "command = ")
        .replace("# listen = ", "listen = ");
    let config = load(&text).unwrap();
    assert_eq!(config.inboxes[0].roster.as_deref(), Some(Path::new("/etc/chartdrop/patients.csv")));
    assert_eq!(config.file_types["heic"], "image/heic");
    assert!(config.status.tls.is_some() && config.status.users.is_some() && config.status.contact.is_some());
    assert!(config.redox.source_id.is_some() && config.redox.ca_file.is_some() && config.status.listen.is_some());
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_nearest() {
    let said = error(&MINIMAL.replace("destination =", "destinaton ="));
    assert!(said.contains("line 5") && said.contains("\"destinaton\"") && said.contains("\"destination\""), "{said}");
}

#[test]
fn what_makes_no_sense_is_refused_with_words() {
    for (from, to, word) in [
        ("name = \"front-desk\"", "name = \"front desk\"", "name"),
        ("[inbox.patient]", "done = \"/srv/chartdrop/inbox/done\"\n[inbox.patient]", "inside each other"),
        ("[inbox.patient]", "roster = \"/srv/chartdrop/inbox/patients.csv\"\n[inbox.patient]", "roster"),
        ("destination = \"redox-fhir-sandbox\"", "destination = \"a/b\"", "slug"),
        ("folder_pattern = '^(?<identifier>[0-9]+)'", "folder_pattern = '^[0-9]+'", "identifier"),
        ("folder_pattern = '^(?<identifier>[0-9]+)'", "folder_pattern = '^(?<identifer>[0-9]+)'", "identifier, family"),
        ("folder_pattern = '^(?<identifier>[0-9]+)'", "", "folder_pattern"),
        ("folders = [\"Referrals\"]", "folders = [\"a/b\"]", "document_types.referral"),
        ("folders = [\"Referrals\"]", "folders = [\"Referrals\", \"REFERRALS\"]", "named twice"),
        ("name = \"front-desk\"", "name = \"front-desk\"\nfolder_name = \"maybe\"", "must-agree"),
        ("identifier_system = \"urn:redox:health-one:MR\"", "identifier_system = \"MR\"", "URI"),
        ("system = \"http://loinc.org\"", "system = \"LOINC\"", "document_types.referral"),
        ("client_id = \"00000000-0000-0000-0000-000000000000\"", "client_id = \"…\"", "client_id"),
        ("[redox]", "[delivery]\nconcurrency = 0\n[redox]", "concurrency"),
        ("[redox]", "[delivery]\nretry_first = \"2h\"\n[redox]", "retry_first"),
        ("[redox]", "[delivery]\nretry_first = \"0s\"\n[redox]", "longer than nothing"),
        ("[redox]", "[ledger]\npath = \"/srv/chartdrop/inbox/ledger\"\n[redox]", "ledger"),
        ("[redox]", "[file_types]\npdf = \"application/pdf\"\n[redox]", "knows this kind"),
        ("[redox]", "[file_types]\njson = \"application/json\"\n[redox]", "sidecars"),
        ("[redox]", "[file_types]\nexe = \"application/x-msdownload\"\n[redox]", "never sent"),
        ("[redox]", "[file_types]\n\".docx\" = \"a/b\"\n[redox]", "without a dot"),
        ("[redox]", "[file_types]\nheic = \"heic\"\n[redox]", "MIME type"),
        ("[redox]", "[file_types]\nheic = \"a/b; c=d\"\n[redox]", "MIME type"),
        ("[redox]", "[file_types]\nheic = \"image/heic\"\nHEIC = \"image/heic\"\n[redox]", "twice"),
        ("[inbox.patient]", "[inbox.document]\ntext = \"latin-1\"\n[inbox.patient]", "utf-8-only"),
        ("[inbox.patient]", "[inbox.document]\ntype = \"referal\"\n[inbox.patient]", "\"referral\""),
    ] {
        assert!(MINIMAL.contains(from), "{from}");
        let said = error(&MINIMAL.replacen(from, to, 1));
        assert!(said.contains(word), "{to}: {said}");
    }
    let second = "[[inbox]]\nname = \"front-desk\"\npath = \"/srv/other/inbox\"\ndestination = \"x\"\n";
    assert!(error(&format!("{MINIMAL}\n{second}")).contains("two inboxes"));
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let config = load(&MINIMAL.replace("/srv/chartdrop/inbox", "share/inbox")).unwrap();
    let inbox = &config.inboxes[0];
    assert_eq!(inbox.path, Path::new("/etc/chartdrop/share/inbox"));
    assert_eq!(inbox.failed, Path::new("/etc/chartdrop/share/failed"));
}

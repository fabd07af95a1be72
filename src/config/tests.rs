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
    raw::check(raw, Path::new("/etc/chartdrop")).map_err(|fault| fault.located(text.as_bytes()))
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
fn every_error_names_the_place_the_key_the_cause_and_the_fix() {
    let pattern = "folder_pattern = '^(?<identifier>[0-9]+)'";
    for (from, to, place, words) in [
        // What people get wrong first.
        ("[[inbox]]", "[inbox]", "line 2, column 5", &["\"inbox\"", "[[inbox]] instead of [inbox]"][..]),
        ("[[inbox]]", "[[inboxes]]", "line 2, column 7", &["\"inboxes\"", "did you mean \"inbox\"?"]),
        ("[redox]", "[redoxx]", "line 11, column 6", &["\"redoxx\"", "did you mean \"redox\"?"]),
        ("destination =", "destinaton =", "line 5, column 5", &["\"destinaton\"", "did you mean \"destination\"?"]),
        ("destination = \"redox-fhir-sandbox\"\n", "\n", "line 2, column 5", &["\"destination\" is missing"]),
        (
            "path = \"/srv/chartdrop/inbox\"",
            "path = 5",
            "line 4, column 12",
            &["\"path\"", "a path in quotes", "whole number"],
        ),
        ("path = \"/srv/chartdrop/inbox\"", "path = /srv", "line 4, column 12", &["not valid TOML"]),
        // Regular expressions.
        (
            pattern,
            "folder_pattern = '^(?<identifier>[0-9]+'",
            "line 8, column 22",
            &["\"folder_pattern\"", "unclosed group", "character 2"],
        ),
        (pattern, "folder_pattern = '^(?<identifier>[0-9)+'", "line 8, column 22", &["unclosed character class"]),
        (pattern, "folder_pattern = '^(?<identifier>[0-9]{99999999})'", "line 8, column 22", &["cannot be used"]),
        (pattern, "folder_pattern = '^[0-9]+'", "line 8, column 22", &["a group for the patient's number"]),
        (pattern, "folder_pattern = 7", "line 8, column 22", &["text in quotes"]),
        // Durations and sizes.
        (
            "[inbox.patient]",
            "settle = \"5 parsecs\"\n[inbox.patient]",
            "line 6, column 14",
            &["\"settle\"", "\"2s\", \"10m\""],
        ),
        ("[inbox.patient]", "settle = 5\n[inbox.patient]", "line 6, column 14", &["\"settle\"", "not a whole number"]),
        (
            "[inbox.patient]",
            "hold = \"1 month\"\n[inbox.patient]",
            "line 6, column 12",
            &["\"hold\"", "say it in days"],
        ),
        (
            "[redox]",
            "[delivery]\nsize_limit = 0\n[redox]",
            "line 12, column 14",
            &["\"size_limit\"", "more than nothing", "\"30MB\""],
        ),
        ("[redox]", "[delivery]\nsize_limit = \"0MB\"\n[redox]", "line 12, column 14", &["more than nothing"]),
        ("[redox]", "[delivery]\nsize_limit = \"30 megs\"\n[redox]", "line 12, column 14", &["a size such as"]),
        ("[redox]", "[ledger]\nhistory = \"1s\"\n[redox]", "line 12, column 11", &["\"history\"", "at least a day"]),
        ("[redox]", "[ledger]\nhistory = \"23h\"\n[redox]", "line 12, column 11", &["at least a day"]),
        ("[redox]", "[status]\nlisten = \"8780\"\n[redox]", "line 12, column 10", &["\"listen\"", "127.0.0.1:8780"]),
        // What only the whole of it shows.
        ("name = \"front-desk\"", "name = \"front desk\"", "line 3, column 5", &["name", "without spaces"]),
        ("destination = \"redox-fhir-sandbox\"", "destination = \"a/b\"", "line 5, column 5", &["destination", "slug"]),
        (pattern, "", "line 6, column 12", &["no folder_pattern", "leave both out"]),
        ("identifier_system = \"urn:redox:health-one:MR\"", "identifier_system = \"MR\"", "line 7, column 5", &["URI"]),
        (
            "client_id = \"00000000-0000-0000-0000-000000000000\"",
            "client_id = \"…\"",
            "line 13, column 5",
            &["copy it from"],
        ),
        ("system = \"http://loinc.org\"", "system = \"LOINC\"", "line 10, column 5", &["document_types.referral"]),
        ("[redox]", "[delivery]\nconcurrency = 0\n[redox]", "line 12, column 1", &["between 1 and 64"]),
        ("[redox]", "[delivery]\nretry_first = \"2h\"\n[redox]", "line 12, column 1", &["retry_max"]),
        ("[redox]", "[file_types]\n\".docx\" = \"a/b\"\n[redox]", "line 12, column 1", &["without a dot"]),
        (
            "[inbox.patient]",
            "[inbox.document]\ntype = \"referal\"\n[inbox.patient]",
            "line 7, column 1",
            &["\"referral\""],
        ),
    ] {
        assert!(MINIMAL.contains(from), "{from}");
        let said = error(&MINIMAL.replacen(from, to, 1));
        for words in [place].iter().chain(words) {
            assert!(said.contains(words), "{to}: {words:?} is not in: {said}");
        }
    }
    let second = "[[inbox]]\nname = \"front-desk\"\npath = \"/srv/other/inbox\"\ndestination = \"x\"\n";
    let said = error(&format!("{MINIMAL}{second}"));
    assert!(said.starts_with("line 17, column 1: two inboxes are called front-desk"), "{said}");
    let alone = MINIMAL.split("[document_types]").nth(1).unwrap().split_once('\n').unwrap().1;
    let said = error(&format!("[document_types]\n{alone}"));
    assert!(said.contains("there is no [[inbox]]: add one"), "{said}");
}

#[test]
fn durations_and_sizes_as_people_write_them_are_understood() {
    let text = MINIMAL.replacen("[inbox.patient]", "settle = \"5 sec\"\nhold = \"1 min\"\n[inbox.patient]", 1);
    let config =
        load(&format!("{text}\n[delivery]\nsize_limit = \"20 mb\"\n[ledger]\nhistory = \"90 days\"\n")).unwrap();
    assert_eq!((config.inboxes[0].settle.as_secs(), config.inboxes[0].hold.as_secs()), (5, 60));
    assert_eq!((config.delivery.size_limit, config.history.as_secs()), (20_000_000, 90 * 86_400));
}

#[test]
fn a_ledger_that_is_a_file_is_refused_with_words() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ledger"), "").unwrap();
    let text = format!("{MINIMAL}\n[ledger]\npath = \"{}\"\n", folder.path().join("ledger").display());
    let said = load(&text).unwrap().check_folders().unwrap_err();
    assert!(said.contains("ledger.path") && said.contains("is a file"), "{said}");
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let config = load(&MINIMAL.replace("/srv/chartdrop/inbox", "share/inbox")).unwrap();
    let inbox = &config.inboxes[0];
    assert_eq!(inbox.path, Path::new("/etc/chartdrop/share/inbox"));
    assert_eq!(inbox.failed, Path::new("/etc/chartdrop/share/failed"));
}

//! Everybody must understand every problem, and no code may be used that the page does not explain.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory;

use super::{
    catalogue::{ALL, Group, Kind, Who, find},
    page::page,
};

/// Words that staff do not know, or that nobody uses any more.
const STRANGE: &[&str] = &[
    "json",
    "inode",
    "descriptor",
    "stat",
    "errno",
    "os error",
    "sha",
    "uuid",
    "regex",
    "utf 16",
    "mime",
    "toml",
    "mend",
    "mended",
    "lies",
    "lie",
    "stands",
    "afresh",
    "anew",
    "besides",
    "so long",
    "gives back",
    "begun",
    "is to be had",
    "in vain",
];

fn manifest(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn sources(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

/// What is shipped, without its tests.
fn shipped() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    sources(&manifest("src"), &mut found);
    // The ledger's contract is a test as well.
    found.retain(|(path, _)| {
        !path.ends_with("tests.rs")
            && !path.ends_with("ledger/contract.rs")
            && !path.components().any(|part| part.as_os_str() == "tests")
    });
    for (_, text) in &mut found {
        if let Some(at) = text.find("#[cfg(test)]\nmod tests {") {
            text.truncate(at);
        }
    }
    found
}

#[test]
fn the_page_on_problems_is_what_the_code_says() {
    let path = manifest("docs/problems.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, page()).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page(), "docs/problems.md is old: UPDATE_DOCS=1 cargo test --lib problem");
}

#[test]
fn every_code_is_there_once_and_is_a_plain_word() {
    let mut seen = BTreeSet::new();
    for kind in ALL {
        assert!(seen.insert(kind.code), "{} is there twice", kind.code);
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == 'N';
        assert!(!kind.code.is_empty() && kind.code.chars().all(is_plain), "{}", kind.code);
        assert!(std::ptr::eq(find(kind.code).unwrap(), *kind));
    }
    assert_eq!(find("redox-422").unwrap().code, "redox-NNN");
    assert_eq!(find("redox-302").unwrap().code, "redox-3NN");
    assert_eq!(find("redox-413").unwrap().code, "redox-413");
    assert_eq!(find("token-400").unwrap().code, "token-NNN");
    assert_eq!((find("redox-").is_none(), find("redox-4222").is_none(), find("nothing").is_none()), (true, true, true));
}

#[test]
fn no_problem_is_made_without_an_entry_of_the_catalogue() {
    let mut used = String::new();
    for (path, text) in shipped() {
        if path.ends_with("model/problem.rs") || path.ends_with("model/problem/catalogue.rs") {
            continue;
        }
        // What the API answers to a request that makes no sense is not about a document.
        let text = text.replace("ApiProblem::new(", "");
        // `config/strict` has a problem of its own.
        if !path.components().any(|part| part.as_os_str() == "strict") {
            assert!(!text.contains("Problem::new("), "{}: make it with an entry of the catalogue", path.display());
        }
        for literal in text.split("code: \"").skip(1).chain(text.split("code = \"").skip(1)) {
            let code = literal.split('"').next().unwrap();
            let is_ours = !path.components().any(|part| part.as_os_str() == "sandbox");
            assert!(
                !is_ours
                    || find(code).is_some()
                    || ["test", "summary"].contains(&code)
                    || code.contains('_')
                    || code.to_uppercase() == code,
                "{}: {code}",
                path.display()
            );
        }
        used.push_str(&text);
    }
    let catalogue = fs::read_to_string(manifest("src/model/problem/catalogue.rs")).unwrap();
    let names = catalogue.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(" = \""));
    for (name, _) in
        names.filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit()))
    {
        assert!(used.contains(name) || name.starts_with("REDOX_4"), "{name} is in the catalogue and nothing makes it");
    }
}

/// All that people read of a kind.
fn words(kind: &Kind) -> [&'static str; 3] {
    [kind.means, kind.example, kind.remedy]
}

#[test]
fn every_problem_is_said_in_whole_plain_sentences() {
    for kind in ALL {
        for text in words(kind) {
            let first = text.chars().next().unwrap();
            // The program's own name begins small.
            assert!(
                first.is_uppercase() || text.starts_with("chartdrop") || text.starts_with("maria"),
                "{}: {text}",
                kind.code
            );
            assert!(text.ends_with(['.', '?', ')']) || kind.group == Group::Refused, "{}: {text}", kind.code);
            assert!(!text.contains("  ") && !text.contains(".."), "{}: {text}", kind.code);
            assert!(text.split_whitespace().count() >= 3, "{}: {text}", kind.code);
            // The names of files are what people see.
            let lower = text.to_lowercase().replace("patient.toml", "").replace(".toml", "").replace(".json", "");
            let plain: Vec<_> = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
            let plain = format!(" {} ", plain.join(" "));
            for strange in STRANGE {
                assert!(!plain.contains(&format!(" {strange} ")), "{}: {strange:?} in: {text}", kind.code);
            }
        }
        assert!(kind.remedy.ends_with(['.', ')']), "{}: {}", kind.code, kind.remedy);
        assert!(kind.means.len() < 110 && !kind.means.contains('"'), "{}: a log line: {}", kind.code, kind.means);
    }
}

#[test]
fn what_staff_are_to_do_needs_no_terminal() {
    for kind in ALL.iter().filter(|kind| kind.who != Who::It) {
        for word in ["chartdrop check", "chartdrop status", "configuration", "DNS", "proxy", "certificate", "base_url"]
        {
            assert!(!kind.remedy.contains(word), "{}: {word} in: {}", kind.code, kind.remedy);
        }
    }
}

#[test]
fn every_problem_says_what_becomes_of_the_document() {
    for kind in ALL {
        let says = |any: &[&str]| any.iter().any(|words| kind.example.contains(words));
        let is_said = match kind.group {
            // The note itself says it under a heading of its own, see `filing/reason.rs`; the remedy says where it goes next.
            Group::Refused => {
                ["inbox", "chart", "configuration"].iter().any(|place| kind.remedy.contains(place))
                    && !says(&["is lost", "was deleted"])
            }
            Group::Waits => says(&["waits in the inbox", "was not sent"]),
            Group::Stray => says(&["stays where it is"]),
            Group::Held => says(&["stays in the inbox"]),
            Group::Destination => says(&["ocuments wait in the inbox"]),
            Group::Alarm => says(&["Nothing is lost", "is sent again"]),
        };
        assert!(is_said, "{}: {} {}", kind.code, kind.example, kind.remedy);
    }
}

#[test]
fn whoever_has_to_find_out_whose_a_document_is_reads_both_values() {
    let two_values =
        ["patient-mismatch", "folder-name-mismatch", "patient-contested", "roster-mismatch", "other-metadata"];
    for code in two_values {
        let example = find(code).unwrap().example;
        assert!(example.matches('"').count() >= 4, "{code}: {example}");
    }
}

#[test]
fn no_message_anywhere_is_old_fashioned() {
    let old = [
        "mend ",
        "mended",
        " lies ",
        "stands in",
        "stands beside",
        "so long ",
        "afresh",
        "anew",
        "gives back",
        "besides",
        "to be had",
    ];
    for (path, text) in shipped() {
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//") && !line.contains("mod ")) {
            // What is between quotation marks, roughly: enough for words.
            for said in line.split('"').skip(1).step_by(2) {
                let said = said.to_lowercase();
                for word in old {
                    assert!(
                        !said.contains(word) || said.split_whitespace().count() < 3,
                        "{}: {word:?} in: {said}",
                        path.display()
                    );
                }
            }
        }
    }
}

#[test]
fn every_command_that_a_message_names_exists() {
    let commands: Vec<_> =
        crate::cli::Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let mut seen = 0;
    for (path, text) in shipped() {
        for rest in text.split("`chartdrop ").skip(1) {
            let word = rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap();
            if word.starts_with('-') || word.is_empty() || word.chars().any(|c| c.is_ascii_uppercase()) {
                continue;
            }
            assert!(commands.iter().any(|command| command == word), "{}: chartdrop {word}", path.display());
            seen += 1;
        }
    }
    let bare = |text: &str| commands.iter().any(|command| text.contains(&format!(" chartdrop {command}")));
    for text in ALL.iter().flat_map(|kind| words(kind)) {
        assert!(!bare(text), "a command is written in backticks, so that this test finds it: {text}");
    }
    assert!(seen > 5, "messages name commands: {seen}");
}

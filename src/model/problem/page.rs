//! `docs/problems.md`, made from the catalogue.

use std::fmt::Write;

use super::catalogue::{ALL, Group, Kind, Who};

const HEAD: &str = "\
<!-- Made from src/model/problem/catalogue.rs by: UPDATE_DOCS=1 cargo test --lib problem -->

# What chartdrop can tell you, and what to do

When chartdrop does not send a document, it says why. You find that in three places:

- in the note beside a document in the `failed` folder (its name ends in `.reason.txt`),
- in the list of documents that wait,
- in the log, for the person who looks after chartdrop.

Each message has a code, such as `cut-off`. Look for the code on this page. The words on the page are examples: the message that
you see names your own files.

*Sidecar* is the small text file beside a document that describes it. *Staff* means whoever drops documents. *IT* means the person
who looks after chartdrop.
";

/// In the order of the page: the heading, and what is true of every problem below it.
const GROUPS: [(Group, &str, &str); 6] = [
    (
        Group::Refused,
        "The document is in failed",
        "Nothing is lost: the document is in the `failed` folder, unchanged, beside a note. The note also says whether it is safe to \
         try again. To try again, do what the note says, then move the document (and its sidecar) back into the patient's folder in \
         the inbox.",
    ),
    (
        Group::Waits,
        "The document waits",
        "Nothing is lost: the document is in the inbox, unchanged. Mostly this passes by itself.",
    ),
    (
        Group::Stray,
        "The file is not a document",
        "Nothing is lost: the file is where it was dropped. chartdrop neither sends nor moves it.",
    ),
    (
        Group::Held,
        "The document waits for a decision",
        "Nothing is lost: the document is in the inbox. chartdrop does nothing more with it before a person has decided.",
    ),
    (
        Group::Destination,
        "Nothing is sent for now",
        "Nothing is lost: all documents for this destination wait in the inbox, and go on by themselves when the cause is gone.",
    ),
    (Group::Alarm, "Alarms", "These are in the log. Nothing is lost: documents stay where they are."),
];

/// The whole page.
pub fn page() -> String {
    let mut page = HEAD.to_owned();
    for (group, heading, always) in GROUPS {
        let _ = write!(page, "\n## {heading}\n\n{always}\n");
        for kind in ALL.iter().filter(|kind| kind.group == group) {
            entry(&mut page, kind);
        }
    }
    page
}

fn entry(page: &mut String, kind: &Kind) {
    let who = match kind.who {
        Who::Staff => "Staff.",
        Who::It => "IT.",
        Who::Nobody => "Nobody has to: it passes by itself.",
    };
    let Kind { code, means, example, remedy, .. } = kind;
    let _ =
        write!(page, "\n### `{code}`\n\n{means}\n\n> {example}\n\n- What to do: {remedy}\n- Who can fix it: {who}\n");
    if code.ends_with("NN") {
        page.push_str("- The end of the code is the status of the answer.\n");
    }
}

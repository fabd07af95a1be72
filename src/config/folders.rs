//! Whether inboxes, done, failed and the ledger are really apart: by device and inode, through links and `..`.

use std::path::Path;

use super::Config;
use crate::platform::places::{self, Place};

const OWN: &str = "give each a folder of its own, outside the other; links and \"..\" in the paths are followed";

/// The error says which of two folders to move.
pub(super) fn apart(config: &Config) -> Result<(), String> {
    // What cannot be told at the moment (a share with an error) is no reason to refuse: filing looks again each time.
    let find = |path: &Path| places::find(path).ok();
    let clash = |a: &Option<Place>, b: &Option<Place>| match (a, b) {
        (Some(a), Some(b)) => a.contains(b) || b.contains(a),
        _ => false,
    };
    if config.ledger.is_file() {
        return Err(format!(
            "ledger.path = \"{}\" is a file: the ledger is a folder; name one that is not there yet, or an empty one",
            config.ledger.display()
        ));
    }
    let ledger = find(&config.ledger);
    let roots: Vec<_> = config.inboxes.iter().map(|inbox| (&inbox.name, find(&inbox.path))).collect();
    for (i, (name, root)) in roots.iter().enumerate() {
        if clash(root, &ledger) {
            return Err(format!("the inbox {name} and the ledger are inside each other: {OWN}"));
        }
        if let Some((other, _)) = roots[..i].iter().find(|(_, other)| clash(root, other)) {
            return Err(format!("the inboxes {name} and {other} are the same folder or inside each other: {OWN}"));
        }
    }
    for inbox in &config.inboxes {
        let (done, failed) = (find(&inbox.done), find(&inbox.failed));
        if clash(&done, &failed) {
            return Err(format!(
                "inbox {}: done and failed are the same folder or inside each other: {OWN}",
                inbox.name
            ));
        }
        for (key, target) in [("done", &done), ("failed", &failed)] {
            if let Some((name, _)) = roots.iter().find(|(_, root)| clash(root, target)) {
                return Err(format!(
                    "the inbox {name} and the {key} folder of {} are inside each other: what is filed would be sent again; {OWN}",
                    inbox.name
                ));
            }
            if clash(target, &ledger) {
                return Err(format!(
                    "the {key} folder of {} and the ledger are inside each other: a ledger that is set aside would take the documents with it; {OWN}",
                    inbox.name
                ));
            }
        }
        let roster = inbox.roster.as_deref().and_then(find);
        if let Some((name, _)) = roots.iter().find(|(_, root)| match (root, &roster) {
            (Some(root), Some(roster)) => root.contains(roster),
            _ => false,
        }) {
            return Err(format!(
                "the roster of {} is in the inbox {name}: keep it where staff drop nothing",
                inbox.name
            ));
        }
    }
    Ok(())
}

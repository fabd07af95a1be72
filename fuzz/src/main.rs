//! What strangers and people write, and everything that reads it: no input ends the program, and what is read keeps its
//! promises. One program for all targets, since each would carry the whole house; `$FUZZ_TARGET` names the one to run.

#![no_main]

mod answer;
mod content;
mod stored;
mod words;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| match std::env::var("FUZZ_TARGET").as_deref() {
    Ok("sidecar") => words::sidecar,
    Ok("patient") => words::patient,
    Ok("roster") => words::roster,
    Ok("config") => words::config,
    Ok("content") => content::content,
    Ok("cut") => content::cut,
    Ok("answer") => answer::answer,
    Ok("row") => stored::row,
    Ok("receipt") => stored::receipt,
    Ok("place") => stored::place,
    other => panic!("FUZZ_TARGET={other:?} is none of the targets"),
});

fuzz_target!(|bytes: &[u8]| TARGET(bytes));

/// What people get to read: short, and nothing in it that a terminal or an editor obeys.
fn is_readable(text: &str) {
    assert!(text.len() <= 1200, "{} bytes are not read by anybody", text.len());
    assert!(!text.contains(char::is_control), "{text:?}");
}

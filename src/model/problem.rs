//! What people are told when a document is refused, waits, or is held, and when something is wrong: a code, what happened, and
//! what to do.

pub mod catalogue;
pub mod page;
#[cfg(test)]
mod tests;

/// A problem as people see it. Made by an entry of the [`catalogue`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A stable word for programs; see `docs/problems.md`.
    pub code: &'static str,
    /// What happened. May name files and patients, so it is not for logs.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// All three parts.
    pub fn new(code: &'static str, summary: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, summary: summary.into(), remedy: remedy.into() }
    }

    /// What its code means, in a fixed sentence that is safe for logs.
    pub fn meaning(&self) -> &'static str {
        catalogue::find(self.code).map_or("", |kind| kind.means)
    }
}

/// `1234567` as `1.2 MB`.
pub fn size_words(bytes: u64) -> String {
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        1000..1_000_000 => format!("{:.1} KB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

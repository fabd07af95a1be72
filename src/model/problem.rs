//! Why a document cannot be sent, in words for the person who dropped it.

/// Final for this file as it is: somebody must mend something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A fixed word for programs.
    pub code: &'static str,
    /// What happened.
    pub summary: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// All three parts.
    pub fn new(code: &'static str, summary: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { code, summary: summary.into(), remedy: remedy.into() }
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

//! What commands print. A reader that has seen enough (`chartdrop history | head -1`) is no error; any other failure is.

use std::{
    fmt::Arguments,
    io::{self, ErrorKind, Write},
    sync::atomic::{AtomicBool, Ordering},
};

/// The output could not be written, and this was said.
static FAILED: AtomicBool = AtomicBool::new(false);

/// Prints one line. The commands' own `println!` is this.
pub fn line(words: Arguments<'_>) {
    note(writeln!(io::stdout().lock(), "{words}"));
}

/// Prints text as it is.
pub fn text(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    note(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Whether something that was to be printed was lost, and somebody was there to read it.
pub fn has_failed() -> bool {
    note(io::stdout().lock().flush());
    FAILED.load(Ordering::Relaxed)
}

fn note(result: io::Result<()>) {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            if !FAILED.swap(true, Ordering::Relaxed) {
                writeln!(io::stderr(), "The output cannot be written: {error}").ok();
            }
        }
        Ok(()) | Err(_) => {}
    }
}

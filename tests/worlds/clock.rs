//! The daemon's time of day, as a test sets it.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering},
    },
};

/// Seconds by which Redox's clock may differ for it to give a token: an assertion is dated 5 s back, lives 240 s, and
/// 10 s of difference are tolerated.
pub const TOKENS: std::ops::RangeInclusive<i64> = -240..=10;

/// A clock of its own for a daemon.
pub struct Clock {
    file: File,
    path: PathBuf,
    seconds: AtomicI64,
    furthest: AtomicI64,
}

impl Clock {
    /// Right at first.
    pub fn new(path: PathBuf) -> Self {
        let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        let clock = Self { file, path, seconds: AtomicI64::new(0), furthest: AtomicI64::new(0) };
        clock.set(0);
        clock
    }

    /// So many seconds ahead of the others' clocks from now on.
    pub fn set(&self, seconds: i64) {
        self.file.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), 0).unwrap();
        self.seconds.store(seconds, Ordering::Relaxed);
        self.furthest.fetch_max(seconds, Ordering::Relaxed);
    }

    pub fn seconds(&self) -> i64 {
        self.seconds.load(Ordering::Relaxed)
    }

    /// How far ahead it ever was.
    pub fn furthest(&self) -> i64 {
        self.furthest.load(Ordering::Relaxed)
    }

    /// Gives it to a daemon.
    pub fn lend(&self, command: &mut Command) {
        command.env("LD_PRELOAD", library()).env("TEST_CLOCK", &self.path);
    }
}

/// Made once, by the C compiler that chartdrop itself needs.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worlds/clock.c");
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("clock-{}.so", std::process::id()));
        let compiler = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&made).arg(source).output();
        let output = compiler.expect("a C compiler (cc) is needed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        // Others may be making it just now: one whole library takes another's place.
        let library = made.with_file_name("clock.so");
        fs::rename(made, &library).unwrap();
        library
    })
}

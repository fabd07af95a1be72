//! Wakes the scanner when something may have changed; what has changed, only a scan tells.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tracing::{info, warn};

use crate::model::file_state::FileState;
use crate::{
    config::{self, Inbox},
    platform::effect,
    platform::filesystem,
};

/// A full scan comes at least so often, whatever the events say: they can be lost.
const RESCAN: Duration = Duration::from_secs(60);
/// Where there are no events, scans come this often, or as often as files settle if that is longer.
const POLL: Duration = Duration::from_secs(2);

/// Watches one inbox, by kernel events where these can be relied on.
#[derive(Debug)]
pub struct Watcher {
    mode: config::Watch,
    root: PathBuf,
    settle: Duration,
    wake: Arc<Notify>,
    events: Option<Events>,
    /// Said once, not at every scan.
    /// How often the kernel has lost track of changes.
    overflows: u64,
    complained: bool,
    /// When a watch that was refused is asked for again: asking costs a look at every folder.
    again: Option<Instant>,
}

#[derive(Debug)]
struct Events {
    /// Held for its effect: dropping it ends the watch.
    _watcher: RecommendedWatcher,
    /// Which folder is watched: one that was removed and made again is silent for ever.
    root: (u64, u64),
    /// Events were dropped, and a folder that was made then is not watched.
    overflown: Arc<AtomicBool>,
}

impl Watcher {
    /// Nothing is watched before the first [`Watcher::keep`].
    pub fn new(inbox: &Inbox) -> Self {
        Self {
            mode: inbox.watch,
            root: inbox.path.clone(),
            settle: inbox.settle,
            wake: Arc::default(),
            events: None,
            overflows: 0,
            complained: false,
            again: None,
        }
    }

    /// Notified whenever something may have changed.
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// How often the kernel has lost track of changes, since the start.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }

    /// Makes sure that the watch is set, before each scan. `mounts`: filesystems that were found inside the inbox.
    /// Returns after which time to scan even without an event.
    pub fn keep(&mut self, mounts: &[PathBuf]) -> Duration {
        let poll = POLL.max(self.settle);
        // What cannot be examined is looked at often.
        let is_network = |path: &Path| {
            effect::open(path)
                .and_then(|folder| filesystem::network_filesystem(&folder))
                .map_or(true, |name| name.is_some())
        };
        let polls = match self.mode {
            config::Watch::Poll => true,
            config::Watch::Events => false,
            config::Watch::Auto => is_network(&self.root),
        };
        if polls {
            self.events = None;
            return poll;
        }
        let Ok(metadata) = effect::metadata(&self.root) else {
            self.events = None;
            return poll;
        };
        let stamp = FileState::of(&metadata);
        let root = (stamp.dev, stamp.ino);
        let is_set = |events: &Events| events.root == root && !events.overflown.load(Ordering::Relaxed);
        if !self.events.as_ref().is_some_and(is_set) && self.again.is_none_or(|again| again <= Instant::now()) {
            self.overflows +=
                u64::from(self.events.as_ref().is_some_and(|events| events.overflown.load(Ordering::Relaxed)));
            // The old one goes first: both together may be more than the kernel allows.
            self.events = None;
            self.events = self.watch(root);
            self.again = self.events.is_none().then(|| Instant::now() + RESCAN);
        }
        let inner_network = self.mode == config::Watch::Auto && mounts.iter().any(|mount| is_network(mount));
        if self.events.is_none() || inner_network { poll } else { RESCAN }
    }

    fn watch(&mut self, root: (u64, u64)) -> Option<Events> {
        let wake = Arc::clone(&self.wake);
        let overflown = Arc::<AtomicBool>::default();
        let lost = Arc::clone(&overflown);
        // Whatever comes, an overflow of the kernel's queue and errors included, means the same: look.
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.as_ref().is_ok_and(notify::Event::need_rescan) {
                lost.store(true, Ordering::Relaxed);
            }
            // Our own reading of files must not wake us.
            if !event.is_ok_and(|event| event.kind.is_access() && !event.need_rescan()) {
                wake.notify_one();
            }
        });
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(&self.root, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => {
                if std::mem::take(&mut self.complained) {
                    info!("changes are noticed by events again");
                }
                Some(Events { _watcher: watcher, root, overflown })
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    warn!(
                        "changes are looked for every few seconds instead of being noticed at once: {}",
                        remedy(&error)
                    );
                }
                None
            }
        }
    }
}

/// Why there are no events, less any path, with what helps.
fn remedy(error: &notify::Error) -> String {
    match &error.kind {
        ErrorKind::MaxFilesWatch => {
            "there are more folders than the kernel watches for one user; raise fs.inotify.max_user_watches (sysctl)"
                .into()
        }
        ErrorKind::Io(io) if io.raw_os_error() == Some(libc::EMFILE) => {
            "too many programs of this user watch folders; raise fs.inotify.max_user_instances (sysctl)".into()
        }
        ErrorKind::Io(io) => io.kind().to_string(),
        _ => "the kernel does not offer it for this folder".into(),
    }
}

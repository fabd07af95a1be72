//! Everything that a question needs: of a running daemon, or of a ledger that a command has opened itself.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::{
    catalog::Catalog,
    metrics::Metrics,
    observed::ObservedLedger,
    reload::{self, Reloader},
    snapshot,
    view::StatusView,
};
use crate::{
    config::Config,
    delivery::Engine,
    ledger::{Ledger, LedgerError},
};

/// Streams of events that are open at a time; whoever comes then is told to come again.
const MOST_STREAMS: usize = 128;
/// How often the status is put together while somebody watches.
const TICK: Duration = Duration::from_secs(1);

/// Who answers.
pub struct Desk {
    config: RwLock<Arc<Config>>,
    /// The machine's name.
    pub(super) node: String,
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) metrics: Arc<Metrics>,
    /// What only a running daemon has.
    pub(super) live: Option<Live>,
}

/// What only a running daemon has.
pub(super) struct Live {
    pub engine: Arc<Engine>,
    pub observed: Arc<ObservedLedger>,
    pub reloader: Reloader,
    /// The status as of the last second, put together only while somebody watches.
    pub watched: watch::Sender<Arc<StatusView>>,
    pub streams: Arc<Semaphore>,
    pub shutdown: CancellationToken,
}

impl Desk {
    /// Of a running daemon.
    pub fn live(
        config: Config,
        observed: Arc<ObservedLedger>,
        engine: Arc<Engine>,
        reloader: Reloader,
        shutdown: CancellationToken,
    ) -> Arc<Self> {
        let (catalog, metrics) = observed.parts();
        let live = Live {
            engine,
            observed: Arc::clone(&observed),
            reloader,
            watched: watch::channel(Arc::new(StatusView::default())).0,
            streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            shutdown,
        };
        Arc::new(Self {
            config: RwLock::new(Arc::new(config)),
            node: node(),
            ledger: observed,
            catalog,
            metrics,
            live: Some(live),
        })
    }

    /// Of a ledger that nobody else has open.
    pub async fn offline(config: Config, ledger: Arc<dyn Ledger>) -> Result<Arc<Self>, LedgerError> {
        let catalog = Arc::new(Catalog::default());
        catalog.load(&*ledger).await?;
        Ok(Arc::new(Self {
            config: RwLock::new(Arc::new(config)),
            node: node(),
            ledger,
            catalog,
            metrics: Arc::default(),
            live: None,
        }))
    }

    /// As it is now.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A new configuration is shown from now on.
    pub(super) fn set_config(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// Reads the configuration again because somebody sent a signal; the log says what came of it.
    pub async fn reload_at_signal(&self) {
        // A configuration that cannot be used has been logged.
        reload::reload(self, "a signal").await.ok();
    }

    /// Reads the ledger once, then tells whoever watches how things are, until the end.
    pub async fn keep(self: Arc<Self>) {
        let Some(live) = &self.live else { return };
        let work = async {
            if let Err(error) = self.catalog.load(&*self.ledger).await {
                // The ledger's next step fails as well, and that ends the program with words.
                tracing::warn!("the ledger could not be read for the status: {error}");
                return;
            }
            let mut told = String::new();
            let mut ticks = tokio::time::interval(TICK);
            loop {
                ticks.tick().await;
                if live.watched.receiver_count() > 0 {
                    let status = snapshot::status(&self).await;
                    live.watched.send_if_modified(|known| {
                        let is_news = **known != status;
                        if is_news {
                            *known = Arc::new(status);
                        }
                        is_news
                    });
                }
                super::systemd::status(&self.catalog.counts(), &mut told);
            }
        };
        tokio::select! {
            () = work => {}
            () = live.shutdown.cancelled() => {}
        }
    }
}

/// What the machine is called.
pub(super) fn node() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".into() } else { name }
}

//! Tells systemd that the service is ready, alive, or ending (sd_notify(3)). Without systemd nothing happens.

use std::{sync::Arc, time::Duration};

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{document::DeliveryId, ledger::Ledger};

/// The first scan of every inbox has been done.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// No new deliveries are begun.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// Feeds the watchdog for as long as the ledger answers, twice in each of its periods.
pub async fn feed_watchdog(ledger: Arc<dyn Ledger>, shutdown: CancellationToken) {
    let Some(period) = sd_notify::watchdog_enabled().filter(|period| *period > Duration::ZERO) else { return };
    let mut ticks = tokio::time::interval(period / 2);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = ticks.tick() => {}
        }
        if ledger.look_up(DeliveryId(Uuid::nil())).await.is_ok() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("systemd cannot be told how chartdrop is: {}", error.kind());
    }
}

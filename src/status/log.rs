//! What is logged, and in which form: for the journal, for a person at a terminal, or for a machine.

use std::fmt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    EnvFilter, Registry,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt,
};

use super::reload::LevelSwitch;
use crate::config::{Log, LogFormat};

/// Overrides the configured level, for somebody who looks for a fault.
const OVERRIDE: &str = "RUST_LOG";

/// Begins to log, to the error output. Returns what changes the level later, unless `RUST_LOG` decides it.
pub fn start(log: Log) -> Option<LevelSwitch> {
    let from_environment = EnvFilter::try_from_default_env().ok().filter(|_| std::env::var_os(OVERRIDE).is_some());
    let is_overridden = from_environment.is_some();
    let filter = from_environment.unwrap_or_else(|| EnvFilter::new(log.level.as_str()));
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let is_journal = std::env::var_os("JOURNAL_STREAM").is_some();
    // A second start, in a test, changes nothing.
    match log.format {
        LogFormat::Json => registry.with(layer().json().flatten_event(true)).try_init().ok(),
        LogFormat::Journal => {
            registry.with(layer().with_ansi(false).event_format(Prioritised::default())).try_init().ok()
        }
        LogFormat::Auto if is_journal => {
            registry.with(layer().with_ansi(false).event_format(Prioritised::default())).try_init().ok()
        }
        LogFormat::Auto | LogFormat::Text => {
            // Colours need a feature of the crate; without it, asking for them prints a line that nobody understands.
            registry.with(layer().with_ansi(false)).try_init().ok()
        }
    };
    (!is_overridden).then(|| {
        let switch: LevelSwitch = Box::new(move |level| {
            handle.reload(EnvFilter::new(level.as_str())).ok();
        });
        switch
    })
}

/// A line with its priority in front, as sd-daemon(3) says; the journal adds the time.
struct Prioritised(Format<Full, ()>);

impl Default for Prioritised {
    fn default() -> Self {
        Self(Format::default().without_time().with_target(false).with_level(false).with_ansi(false))
    }
}

impl<S, N> FormatEvent<S, N> for Prioritised
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            Level::DEBUG | Level::TRACE => 7,
        };
        write!(writer, "<{priority}>")?;
        self.0.format_event(context, writer, event)
    }
}

//! Sets up the log: text or JSON on standard error.

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::settings::{Format, Level, Logging};

/// Turns the log on for the whole process; true unless it was on already. Every field that may hold bytes from the wire
/// is escaped before it gets here.
pub fn start(settings: Logging) -> bool {
    let level = match settings.level {
        Level::Error => LevelFilter::ERROR,
        Level::Warn => LevelFilter::WARN,
        Level::Info => LevelFilter::INFO,
        Level::Debug => LevelFilter::DEBUG,
        Level::Trace => LevelFilter::TRACE,
    };
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    let layer = match settings.format {
        Format::Text => lines.boxed(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
        }
    };
    tracing::subscriber::set_global_default(Registry::default().with(layer.with_filter(level))).is_ok()
}

//! The log on standard error: for people on a terminal, one JSON object a line otherwise.

use std::io::{self, IsTerminal};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer as _, fmt};

use crate::config::{Log, LogFormat, LogLevel, Problem};

/// Starts the process's log; a second start changes nothing.
pub(super) fn start(log: &Log) {
    let pretty = match log.format {
        LogFormat::Pretty => true,
        LogFormat::Json => false,
        LogFormat::Auto => io::stderr().is_terminal(),
    };
    let lines = fmt::layer().with_writer(io::stderr);
    let lines = if pretty {
        lines.with_ansi(io::stderr().is_terminal()).boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    // An error means that there is a log already, which is only so in tests.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets(log.level))).try_init();
}

/// What is unwise in the configuration, a line each.
pub(super) fn warnings(warnings: &[Problem]) {
    for problem in warnings {
        tracing::warn!(
            key = problem.key,
            config_line = problem.line,
            found = problem.found,
            expected = problem.expected,
            hint = problem.hint,
            "configuration could be better"
        );
    }
}

/// What is wrong with the configuration, a line each.
pub(super) fn problems(problems: &[Problem]) {
    for problem in problems {
        tracing::error!(
            file = %problem.file.display(),
            key = problem.key,
            config_line = problem.line,
            found = problem.found,
            expected = problem.expected,
            hint = problem.hint,
            "configuration has a problem"
        );
    }
}

/// Our own events at the level asked for; those of libraries only from warnings up, unless everything is asked for.
fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let others = if level == LevelFilter::TRACE { level } else { level.min(LevelFilter::WARN) };
    Targets::new().with_target("pgwarden", level).with_default(others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing::Level;

    #[test]
    fn libraries_are_quieter_than_pgwarden_unless_tracing() {
        for (level, own, other) in [
            (LogLevel::Error, Level::ERROR, Level::ERROR),
            (LogLevel::Info, Level::INFO, Level::WARN),
            (LogLevel::Debug, Level::DEBUG, Level::WARN),
            (LogLevel::Trace, Level::TRACE, Level::TRACE),
        ] {
            let targets = targets(level);
            assert!(targets.would_enable("pgwarden::pool", &own), "{level:?}");
            assert!(targets.would_enable("rustls::client", &other), "{level:?}");
            if other == Level::WARN {
                assert!(!targets.would_enable("rustls::client", &Level::INFO), "{level:?}");
            }
        }
    }
}

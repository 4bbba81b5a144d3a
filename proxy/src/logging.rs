//! The log: one subscriber for the process, text for people or JSON lines for collectors, on standard error.
//! What is logged is decided where it happens; secrets have no Debug and so never get here.

use std::io::{self, IsTerminal as _};

use std::fmt::{self, Write as _};

use tracing::field::{Field, Visit};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, MakeWriter};

use crate::config::Log;

/// Libraries whose `info` is of no use to an operator, or whose `trace` prints requests with every header. A filter
/// that names them wins.
const QUIET: &str =
    "aws_sigv4=warn,pingora=warn,pingora_core=warn,pingora_proxy=warn,hyper=warn,rustls=warn,s3s=warn";

/// Installs the subscriber for the whole process. `Err` where one is installed already.
pub fn init(log: &Log) -> Result<(), String> {
    let ansi = io::stderr().is_terminal();
    let subscriber = subscriber(log, io::stderr, ansi)?;
    tracing_subscriber::util::SubscriberInitExt::try_init(subscriber).map_err(|error| error.to_string())
}

/// The subscriber for `log`, writing to `writer`.
///
/// # Errors
///
/// What is wrong with the filter.
pub fn subscriber<W>(
    log: &Log,
    writer: W,
    ansi: bool,
) -> Result<Box<dyn tracing::Subscriber + Send + Sync>, String>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(format!("{QUIET},{}", log.filter))
        .map_err(|error| format!("log.filter: {error}"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer).with_ansi(ansi);
    Ok(if log.json {
        Box::new(builder.json().flatten_event(true).with_current_span(false).with_span_list(false).finish())
    } else {
        Box::new(builder.fmt_fields(OneLine).finish())
    })
}

/// Fields as text that stays in its line. Strangers choose much of what is logged: a name with a line feed in it would make a
/// line of its own, and one with an escape sequence would act on the terminal that shows it. JSON escapes by itself.
struct OneLine;

impl<'w> FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = OneLineFields { writer, first: true, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct OneLineFields<'w> {
    writer: Writer<'w>,
    first: bool,
    result: fmt::Result,
}

impl OneLineFields<'_> {
    fn write(&mut self, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        match field.name() {
            "message" => {}
            name => write!(self.writer, "{}=", name.trim_start_matches("r#"))?,
        }
        write!(Escaped(&mut self.writer), "{value:?}")
    }
}

impl Visit for OneLineFields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.record_debug(field, &format_args!("{value}"))
        } else {
            self.record_debug(field, &value)
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Where a line of the `log` crate comes from is told by its target.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.write(field, value);
        }
    }
}

/// Writes control characters as Rust spells them.
struct Escaped<'a, 'w>(&'a mut Writer<'w>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            let mut end = piece.chars();
            match end.next_back().filter(|last| last.is_control()) {
                Some(control) => write!(self.0, "{}{}", end.as_str(), control.escape_default())?,
                None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: &Log) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber = subscriber(log, move || writer.clone(), false).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(request_id = "0123456789ABCDEF", operation = "GetObject", "request refused");
            tracing::debug!("too much detail");
            tracing::info!(target: "pingora_core::server", "Server starting");
            tracing::warn!(target: "pingora_core::server", "listener failed");
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_carries_the_request_id() {
        let text = logged(&Log { filter: "info".into(), json: false, audit: None });
        assert!(text.contains("request refused") && text.contains("0123456789ABCDEF"), "{text}");
        assert!(text.contains("listener failed"), "{text}");
        assert!(!text.contains("too much detail") && !text.contains("Server starting"), "{text}");
    }

    #[test]
    fn json_has_one_object_a_line() {
        let text = logged(&Log { filter: "info,pingora_core=info".into(), json: true, audit: None });
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert_eq!(lines[0]["request_id"], "0123456789ABCDEF");
        assert_eq!(lines[0]["message"], "request refused");
        assert_eq!(lines[0]["level"], "INFO");
    }

    #[test]
    fn what_strangers_say_stays_in_its_line() {
        let said = "x\n2026-11-25T00:00:00Z ERROR s3cloak: forged \x1b[31mred\x07\r\u{9b}1m end";
        for json in [false, true] {
            let buffer = Buffer::default();
            let writer = buffer.clone();
            let log = Log { filter: "info".into(), json, audit: None };
            let subscriber = subscriber(&log, move || writer.clone(), false).unwrap();
            tracing::subscriber::with_default(subscriber, || {
                tracing::warn!(key = %said, text = said, debug = ?said, "{said}");
            });
            let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.trim_end().chars().any(|c| c.is_ascii_control()), "{text:?}");
            assert_eq!(text.matches("forged").count(), 4, "{text}");
        }
    }

    #[test]
    fn a_broken_filter_is_refused() {
        let log = Log { filter: "a=b=c".into(), json: false, audit: None };
        assert!(subscriber(&log, io::sink, false).is_err_and(|error| error.contains("log.filter")));
    }
}

//! What one log line looks like.

use std::fmt::{self, Write};

use serde::Serializer;
use serde::ser::SerializeMap;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields;
use crate::clock::Clock;

/// The names that every JSON line may have; a field of an event that is called so is left out, for a name must not
/// occur twice in an object.
const RESERVED: [&str; 4] = ["timestamp", "level", "instance_id", "target"];

/// Formats events, each as one line.
pub(super) struct Line {
    pub(super) style: Style,
    pub(super) clock: Clock,
    pub(super) instance_id: String,
}

/// For whom a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Json,
    Pretty { colours: bool },
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.style {
            Style::Json => {
                let line = self.json(event).map_err(|_| fmt::Error)?;
                writer.write_str(&line)?;
            }
            Style::Pretty { colours } => self.pretty(&mut writer, colours, event)?,
        }
        writer.write_char('\n')
    }
}

impl Line {
    fn json(&self, event: &Event<'_>) -> Result<String, serde_json::Error> {
        let mut line = Vec::with_capacity(512);
        let mut serializer = serde_json::Serializer::new(&mut line);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("timestamp", &self.clock.now())?;
        map.serialize_entry("level", level_name(*event.metadata().level()))?;
        map.serialize_entry("message", &fields::message(event))?;
        map.serialize_entry("instance_id", &self.instance_id)?;
        if let Some(target) = target(event) {
            map.serialize_entry("target", target)?;
        }
        let mut result = Ok(());
        fields::each(event, |name, value| {
            if result.is_ok() && !RESERVED.contains(&name) {
                result = map.serialize_entry(name, &value);
            }
        });
        result?;
        map.end()?;
        Ok(String::from_utf8(line).expect("serde_json writes UTF-8"))
    }

    fn pretty(&self, writer: &mut Writer<'_>, colours: bool, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        let (start, dim, end) = if colours { (colour(level), "\x1b[2m", "\x1b[0m") } else { ("", "", "") };
        let name = level_name(level);
        write!(writer, "{dim}{}{end} {start}{name:>5}{end} ", self.clock.now())?;
        if let Some(target) = target(event) {
            write!(writer, "{dim}{target}{end} ")?;
        }
        plain(writer, &fields::message(event))?;
        let mut result = Ok(());
        fields::each(event, |name, value| {
            if result.is_ok() {
                result =
                    write!(writer, " {dim}{name}={end}").and_then(|()| plain(writer, &value.to_string()));
            }
        });
        result
    }
}

fn target<'a>(event: &Event<'a>) -> Option<&'a str> {
    let metadata = event.metadata();
    (*metadata.level() >= Level::DEBUG).then(|| metadata.target())
}

const fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// Writes `text` so that nothing in it moves a terminal's cursor or starts another line.
fn plain(writer: &mut impl Write, text: &str) -> fmt::Result {
    for char in text.chars() {
        if char.is_control() || is_bidi_control(char) {
            write!(writer, "{}", char.escape_default())?;
        } else {
            writer.write_char(char)?;
        }
    }
    Ok(())
}

/// Whether `char` changes the direction in which a terminal shows what follows (UAX #9).
const fn is_bidi_control(char: char) -> bool {
    matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

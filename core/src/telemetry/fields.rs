//! The fields of an event, handed on one by one as text or number.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::{self, Write};

use tracing::Event;
use tracing::field::{Field, Visit};

/// The field that holds an event's text.
const MESSAGE: &str = "message";

/// The longest value in a line, in bytes; an error of a dependency may quote what it did not understand.
const MAX_VALUE_BYTES: usize = 4096;

/// The value of a field.
#[derive(serde::Serialize)]
#[serde(untagged)]
pub(super) enum Value<'a> {
    /// At most [`MAX_VALUE_BYTES`] and a mark that says what is missing.
    Text(Cow<'a, str>),
    Bool(bool),
    Float(f64),
    Signed(i128),
    Unsigned(u128),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Bool(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Signed(value) => value.fmt(f),
            Self::Unsigned(value) => value.fmt(f),
        }
    }
}

/// The text of an event; empty if it has none.
pub(super) fn message(event: &Event<'_>) -> String {
    let mut text = String::new();
    event.record(&mut Each(|name, value: Value<'_>| {
        if name == MESSAGE {
            // Writing to a string cannot fail.
            let _ = write!(text, "{value}");
        }
    }));
    text
}

/// Calls `with` for each field of `event` but its text.
pub(super) fn each(event: &Event<'_>, mut with: impl FnMut(&'static str, Value<'_>)) {
    event.record(&mut Each(|name, value: Value<'_>| {
        if name != MESSAGE {
            with(name, value);
        }
    }));
}

struct Each<F>(F);

impl<F: FnMut(&'static str, Value<'_>)> Visit for Each<F> {
    fn record_str(&mut self, field: &Field, value: &str) {
        (self.0)(field.name(), Value::Text(shortened(value)));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        (self.0)(field.name(), Value::Text(shortened(&format!("{value:?}"))));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        (self.0)(field.name(), Value::Text(shortened(&value.to_string())));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        (self.0)(field.name(), Value::Bool(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        (self.0)(field.name(), Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        (self.0)(field.name(), Value::Signed(value.into()));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        (self.0)(field.name(), Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        (self.0)(field.name(), Value::Unsigned(value.into()));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        (self.0)(field.name(), Value::Unsigned(value));
    }
}

fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_VALUE_BYTES {
        return Cow::Borrowed(text);
    }
    let kept = text.floor_char_boundary(MAX_VALUE_BYTES);
    Cow::Owned(format!("{}… ({} bytes more)", &text[..kept], text.len() - kept))
}

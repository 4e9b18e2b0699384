use std::io;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::*;
use crate::clock::{ManualClock, Timestamp};
use crate::config::Config;

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn logged(format: Option<LogFormat>, level: Level, is_terminal: bool, log: impl FnOnce()) -> String {
    let logging = Logging { format, level, ..Config::from_vars([("LOG_SAMPLE", "1")]).unwrap().logging };
    let clock = Clock::Manual(ManualClock::new(Timestamp::from_micros(1_793_534_400_123_456)));
    let sink = Sink::default();
    let writer = sink.clone();
    let (subscriber, _) = subscriber(&logging, "replica-1", is_terminal, clock, move || writer.clone(), None);
    tracing::subscriber::with_default(subscriber, log);
    String::from_utf8(std::mem::take(&mut *sink.0.lock().unwrap())).unwrap()
}

fn json_lines(level: Level, log: impl FnOnce()) -> Vec<Value> {
    let text = logged(None, level, false, log);
    assert!(text.is_empty() || text.ends_with('\n'));
    text.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[test]
fn a_line_is_the_contracts_object_in_its_order() {
    let text = logged(None, Level::INFO, false, || {
        let identity_id = Some(tracing::field::display("id-7"));
        tracing::info!(
            request_id = "r-1",
            status = 200_u16,
            latency_ms = 1.25,
            identity_id,
            offset = -3_i64,
            sampled = true,
            "request completed"
        );
    });
    assert_eq!(
        text,
        concat!(
            r#"{"timestamp":"2026-11-01T12:00:00.123Z","level":"info","message":"request completed","#,
            r#""instance_id":"replica-1","request_id":"r-1","status":200,"latency_ms":1.25,"#,
            r#""identity_id":"id-7","offset":-3,"sampled":true}"#,
            "\n"
        )
    );
}

#[test]
fn fields_that_are_none_are_absent() {
    let lines = json_lines(Level::INFO, || {
        tracing::error!(context = None::<&str>, code = Some("c"), latency = f64::NAN, "failed");
    });
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(line.get("context"), None);
    assert_eq!(
        (&line["level"], &line["code"], &line["latency"]),
        (&json!("error"), &json!("c"), &Value::Null)
    );
}

#[test]
fn hostile_text_stays_one_value_of_one_line() {
    let hostile = "a\"b\\\n{\"level\":\"error\"}\r\n\u{0}\u{1b}[2J\u{7f}\u{2028}\u{202e}é\u{fffd}";
    let log = || tracing::warn!(field = hostile, debug = ?hostile, error = %hostile, "{hostile}");
    let lines = json_lines(Level::INFO, log);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(
        (&line["message"], &line["field"], &line["error"]),
        (&json!(hostile), &json!(hostile), &json!(hostile))
    );
    assert_eq!(line["debug"], json!(format!("{hostile:?}")));

    let pretty = logged(Some(LogFormat::Pretty), Level::INFO, false, log);
    assert_eq!(pretty.matches('\n').count(), 1);
    assert!(!pretty.contains(['\r', '\0', '\u{1b}', '\u{7f}', '\u{202e}']), "{pretty:?}");
    assert!(pretty.contains('é'));
}

#[test]
fn huge_values_are_cut_between_characters() {
    for length in [4096, 4097, 1 << 20] {
        let huge = "é".repeat(length);
        let lines = json_lines(Level::INFO, || tracing::info!(field = %huge, "{huge}"));
        for name in ["message", "field"] {
            let value = lines[0][name].as_str().unwrap();
            assert!(value.len() < 4096 + 32 && value.starts_with("éé"), "{}", value.len());
            assert!(value.ends_with(&format!("… ({} bytes more)", 2 * length - 4096)), "{value}");
        }
    }
    let fits = "x".repeat(4096);
    assert_eq!(json_lines(Level::INFO, || tracing::info!("{fits}"))[0]["message"], json!(fits));
}

#[test]
fn a_field_cannot_pass_for_what_the_line_itself_says() {
    let text = logged(None, Level::INFO, false, || {
        tracing::info!(level = "error", timestamp = 0, instance_id = "other", target = "t", "m");
    });
    assert_eq!(
        text,
        "{\"timestamp\":\"2026-11-01T12:00:00.123Z\",\"level\":\"info\",\"message\":\"m\",\"instance_id\":\"replica-1\"}\n"
    );
}

#[test]
fn dependencies_never_speak_below_warn() {
    let log = || {
        tracing::debug!(target: "tokio_postgres::query", "executing SELECT canary");
        tracing::trace!(target: "rustls::client", "canary");
        tracing::info!(target: "hyper::proto", "canary");
        tracing::warn!(target: "hyper::proto", "warned");
        tracing::error!(target: "redis", "failed");
        tracing::trace!("ours");
        tracing::trace!(target: "cryptoserve", "the command's");
    };
    let messages = |level| -> Vec<String> {
        json_lines(level, log).iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(messages(Level::TRACE), ["warned", "failed", "ours", "the command's"]);
    assert_eq!(messages(Level::INFO), ["warned", "failed"]);
    assert_eq!(messages(Level::ERROR), ["failed"]);
}

#[test]
fn only_debug_and_trace_say_where_they_come_from() {
    let lines = json_lines(Level::DEBUG, || {
        tracing::debug!("a");
        tracing::info!("b");
    });
    assert_eq!(lines[0]["target"], json!("cryptoserve_core::telemetry::tests"));
    assert_eq!(lines[1].get("target"), None);
}

#[test]
fn spans_add_nothing() {
    let lines = json_lines(Level::INFO, || {
        let _span = tracing::info_span!("request", canary = "canary").entered();
        tracing::info!("m");
    });
    assert_eq!(lines[0].as_object().unwrap().len(), 4);
}

#[test]
fn the_form_follows_the_setting_and_else_the_terminal() {
    let first = |format, is_terminal| {
        let text = logged(format, Level::INFO, is_terminal, || tracing::info!(status = 200, "m"));
        text.chars().next().unwrap()
    };
    assert_eq!(first(None, false), '{');
    assert_eq!(first(None, true), '\u{1b}');
    assert_eq!(first(Some(LogFormat::Json), true), '{');
    assert_eq!(first(Some(LogFormat::Pretty), true), '\u{1b}');
    assert_eq!(
        logged(Some(LogFormat::Pretty), Level::INFO, false, || tracing::info!(status = 200, "m")),
        "2026-11-01T12:00:00.123Z  info m status=200\n"
    );
}

#[test]
fn the_level_can_be_changed_while_lines_come() {
    let logging = Config::from_vars([("LOG_LEVEL", "info")]).unwrap().logging;
    let sink = Sink::default();
    let writer = sink.clone();
    let (subscriber, set_level) =
        subscriber(&logging, "r", false, Clock::system(), move || writer.clone(), None);
    tracing::subscriber::with_default(subscriber, || {
        for level in [Level::INFO, Level::DEBUG, Level::ERROR, Level::INFO] {
            set_level(level);
            tracing::debug!("debug at {level}");
            tracing::info!("info at {level}");
            tracing::debug!(target: "hyper", "never");
        }
    });
    let text = String::from_utf8(std::mem::take(&mut *sink.0.lock().unwrap())).unwrap();
    let messages: Vec<Value> =
        text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["message"].clone()).collect();
    assert_eq!(messages, ["info at INFO", "debug at DEBUG", "info at DEBUG", "info at INFO"]);
}

//! Looks at everything, changes nothing, and says what to do.

use std::fmt::Write as _;
use std::io::Write as _;

use cryptoserve_core::clock::Clock;
use cryptoserve_core::config::{Config, DatabaseUrl};
use cryptoserve_core::doctor::{self, Finding, Severity};
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;
use crate::tls;

/// Says what is so. Fails if something does not work.
pub(super) async fn run(config: &Config, args: &DoctorArgs) -> Result<(), Failure> {
    let clock = Clock::system();
    let mut found = doctor::configuration(config);
    found.extend(certificate(config, &clock));
    found.extend(store(config, args.replicas, &clock).await);
    match &config.redis.url {
        Some(url) => found.extend(doctor::redis(url, &clock).await),
        None => found.push(Finding::ok("redis", "none is configured: limits are kept in the process")),
    }
    let text = if args.json { json(&found)? } else { pretty(&found) };
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::failed)?;
    match found.iter().filter(|found| found.severity == Severity::Error).count() {
        0 => Ok(()),
        1 => Err(Failure::failed("something is wrong; see above")),
        count => Err(Failure::failed(format!("{count} things are wrong; see above"))),
    }
}

fn certificate(config: &Config, clock: &Clock) -> Option<Finding> {
    const CHECK: &str = "certificate";
    const MONTH: u64 = 30;
    let tls = config.tls.as_ref()?;
    Some(match tls::Files::read(tls, clock.clone()) {
        Err(error) => Finding::error(CHECK, error.to_string(), "docs/tls.md says what the files must be"),
        Ok(files) => {
            let days = files.expires_at().since(clock.now()).as_secs() / (24 * 60 * 60);
            let message = format!("the server's certificate counts for {days} days more");
            if days < MONTH {
                Finding::warning(CHECK, message, "renew it; the server takes the new files without a restart")
            } else {
                Finding::ok(CHECK, message)
            }
        }
    })
}

async fn store(config: &Config, planned: Option<u32>, clock: &Clock) -> Vec<Finding> {
    if let DatabaseUrl::Sqlite(path) = &config.database.url
        && !path.exists()
    {
        let message = format!(
            "there is none yet; the first start makes {}, and secrets that are not set",
            path.display()
        );
        return vec![Finding::ok("database", message)];
    }
    let examined = async {
        let opened = Opened::for_command(config)?;
        opened.with_store(config, Examine { config, planned, clock }).await
    };
    examined.await.unwrap_or_else(|failure: Failure| {
        let advice = "look at DATABASE_URL, DATA_DIR and the secrets, and whether the database runs and lets this machine in";
        vec![Finding::error("database", failure.to_string(), advice)]
    })
}

struct Examine<'a> {
    config: &'a Config,
    planned: Option<u32>,
    clock: &'a Clock,
}

impl WithStore for Examine<'_> {
    type Output = Result<Vec<Finding>, Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        let found = doctor::database(&store, &keks, self.config, self.planned, self.clock).await;
        store.close().await;
        Ok(found)
    }
}

#[derive(Serialize)]
struct Report<'a> {
    /// The worst of them.
    severity: Option<Severity>,
    findings: &'a [Finding],
}

fn json(found: &[Finding]) -> Result<String, Failure> {
    let severity = found.iter().map(|found| found.severity).max();
    let report = Report { severity, findings: found };
    serde_json::to_string_pretty(&report).map(|text| text + "\n").map_err(Failure::failed)
}

fn pretty(found: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, severity, message, advice } in found {
        // Writing to a text cannot fail.
        let _ = writeln!(text, "{severity:<8} {check:<22} {message}");
        if let Some(advice) = advice.as_ref().filter(|_| *severity != Severity::Ok) {
            let _ = writeln!(text, "{:<31} to do: {advice}", "");
        }
    }
    text
}

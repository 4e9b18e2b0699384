use std::fs::File;
use std::io::{self, BufReader, Write};

use cryptoserve_core::audit::verify::{self, Anchors, ChainReport, End, Event, Options, Summary};
use cryptoserve_core::config::Config;
use cryptoserve_core::keyring::Keks;
use cryptoserve_core::store::Store;

use super::progress::Progress;
use crate::cli::{Anchor, VerifyArgs};
use crate::deployment::{Opened, WithStore};
use crate::exit::Failure;

/// Verifies the trail. The inner result is what is wrong with it, the outer one that nobody can tell.
pub(super) async fn verify(config: &Config, args: VerifyArgs) -> Result<Result<(), Failure>, Failure> {
    let mut anchors = Anchors::default();
    for anchor in args.anchor {
        anchors.extend(match anchor {
            Anchor::Given(anchors) => anchors,
            Anchor::File(path) => {
                let read = File::open(&path).and_then(|file| Anchors::read(BufReader::new(file)));
                let found = read.map_err(|error| {
                    Failure::configuration(format!("--anchor {}: {error}", path.display()))
                })?;
                if found.is_empty() {
                    let path = path.display();
                    return Err(Failure::configuration(format!("--anchor {path}: there is no anchor in it")));
                }
                found
            }
        });
    }
    let (known, all) = (anchors.len(), args.all);
    let options = Options { anchors, since: args.since };
    let summary = Opened::for_command(config)?.with_store(config, Verify { options, all }).await?;
    say(&text(&summary, known))?;
    Ok(match summary.findings {
        0 => Ok(()),
        1 => Err(Failure::failed("the audit trail is not what was written: 1 finding")),
        count => Err(Failure::failed(format!("the audit trail is not what was written: {count} findings"))),
    })
}

struct Verify {
    options: Options,
    /// Whether to list every chain.
    all: bool,
}

impl WithStore for Verify {
    type Output = Result<Summary, Failure>;

    async fn run<S: Store>(self, store: S, keks: Keks) -> Self::Output {
        store.check_schema().await?;
        let keys = super::keys(&store, &keks).await?;
        let progress = Progress::show();
        let mut said = Ok(());
        let mut tell = |line: &str| {
            if said.is_ok() {
                said = progress.suspend(|| say(line));
            }
        };
        let summary = verify::run(&store, &keys, self.options, |event| match event {
            Event::Finding(finding) => tell(&format!("FOUND {finding}\n")),
            Event::Chain(report) => {
                if self.all || report.end != End::Clean || report.finding.is_some() {
                    tell(&line(report));
                }
            }
            Event::Records(count) => progress.add(count),
        })
        .await?;
        store.close().await;
        said.map(|()| summary)
    }
}

fn line(report: &ChainReport) -> String {
    let instance = report.instance.as_deref().unwrap_or("unknown");
    let last = report.last_seq.map_or_else(|| "none".to_owned(), |seq| seq.to_string());
    let mut line =
        format!("chain {} of {instance}: {}, last record {last}\n", report.chain, report.end.name());
    if let Some(finding) = &report.finding {
        line += &format!("FOUND {finding}\n");
    }
    line
}

fn text(summary: &Summary, anchors: usize) -> String {
    let Summary { clean, crashed, open, records, checkpoints, cuts, last_checkpoint, .. } = summary;
    let mut text = format!(
        "{records} records are as they were written, in {} chains: {clean} ended cleanly, {crashed} crashed, {open} open.\n",
        clean + crashed + open
    );
    text += &format!("{checkpoints} checkpoints, {cuts} cuts, {anchors} anchors.\n");
    if let Some((number, hash)) = last_checkpoint {
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        text += &format!("The last checkpoint, as an anchor for the next time: {number}:{hash}\n");
    }
    if anchors == 0 {
        text +=
            "Without an anchor, nobody can tell whether the end of the trail is there; --help says more.\n";
    }
    text
}

fn say(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::failed)
}

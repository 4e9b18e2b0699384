//! Every block of `docs/quickstart.md`, in its order, in one shell: what it prints is what the document shows.

use std::fmt::Write;
use std::path::Path;

use cryptoserve_tests::{Cluster, Log, eventually};
use serde_json::Value;

use crate::support::{builder, on_each_store, python_clients, replicas};

const DOCUMENT: &str = include_str!("../../../docs/quickstart.md");
const PROGRAM: &str = include_str!("../../examples/quickstart.rs");
const WORKSPACE: &str = include_str!("../../../Cargo.toml");

/// Where the document says that the service is.
const SERVER: &str = "http://127.0.0.1:8003";
/// What starts the service; the test does it instead, on free ports.
const START: &str = "cryptoserve";
/// Between what one block printed and the next one did.
const BORDER: &str = "\n---- the next block\n";
/// Fields that differ each time. A test of the service's own says what they are.
const VARIABLE: [&str; 11] = [
    "access_token",
    "ciphertext",
    "created_at",
    "expires_at",
    "id",
    "key_id",
    "request_id",
    "rotate_at",
    "token_expires_at",
    "token_id",
    "updated_at",
];

/// A block that is fenced by backquotes.
struct Block {
    language: &'static str,
    text: &'static str,
}

fn blocks() -> Vec<Block> {
    let fenced = DOCUMENT.split("\n```").skip(1).step_by(2);
    let blocks = fenced.map(|block| block.split_once('\n').expect("a language and lines"));
    // The line break before the closing fence was taken for the fence.
    blocks.map(|(language, text)| Block { language, text }).collect()
}

/// A block of the shell, and what the document says that it prints.
struct Step {
    script: &'static str,
    printed: Vec<Block>,
}

/// What the shell runs. The blocks in other languages become files in `directory`.
fn steps(directory: &Path) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for block in blocks() {
        match block.language {
            "sh" if block.text == START => {}
            "sh" => steps.push(Step { script: block.text, printed: Vec::new() }),
            "text" | "json" => steps.last_mut().expect("a block that prints").printed.push(block),
            "python" => std::fs::write(directory.join("first.py"), block.text).expect("written"),
            "rust" => {
                assert!(PROGRAM.ends_with(&format!("\n\n{}\n", block.text)), "examples/quickstart.rs differs")
            }
            "toml" => {
                for line in block.text.lines().skip(1) {
                    assert!(WORKSPACE.contains(&format!("\n{line}\n")), "Cargo.toml has no line {line}");
                }
            }
            other => panic!("a block that nothing runs: {other}"),
        }
    }
    steps
}

/// In place of `cargo`, which would have to compile what is in `first`.
fn put_cargo(directory: &Path) {
    let test = std::env::current_exe().expect("a path");
    let program = test.ancestors().nth(2).expect("target/<profile>").join("examples/quickstart");
    assert!(program.is_file(), "{} is not there: build it with --all-targets", program.display());
    std::fs::create_dir(directory.join("first")).expect("made");
    let script = format!("[ \"${{PWD##*/}} $*\" = 'first run --quiet' ] && exec '{}'", program.display());
    put(directory, "cargo", &script);
}

/// Before `python3`, whose virtual environments would get a `pip` of their own, which takes long. The machine's does as well.
fn put_python(directory: &Path) {
    let script = "PATH=${PATH#*:}\n\
        [ \"$1 $2\" = '-m venv' ] && set -- -m venv --system-site-packages --without-pip \"$3\"\n\
        exec python3 \"$@\"";
    put(directory, "python3", script);
}

/// A program for the shell in `directory`, which is the first of its `PATH`.
fn put(directory: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let program = directory.join(name);
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).expect("executable");
}

/// Runs the steps and returns what each printed. Each asks another replica than the one before.
async fn walk(cluster: &Cluster, directory: &Path, steps: &[Step]) -> Vec<String> {
    let replicas = cluster.addresses();
    let mut script = format!("cd '{}'\nPATH=$PWD:$PATH\n", directory.display());
    for (step, address) in steps.iter().zip(replicas.iter().cycle()) {
        let server = format!("http://{address}");
        let Step { script: text, .. } = step;
        let text = text.replace(SERVER, &server);
        let _ = write!(script, "CRYPTOSERVE_SERVER={server}\n{text}\nprintf '%s' '{BORDER}'\n");
    }
    // The package is there, so `pip` finds nothing to do; it must not ask anybody.
    let shell = cluster.program().shell(&script).env("PYTHONPATH", python_clients()).env("PIP_NO_INDEX", "1");
    let shell = shell.env("PIP_ROOT_USER_ACTION", "ignore");
    let mut shell = shell.spawn();
    for count in 1..=steps.len() {
        eventually("the end of a block", async || {
            let ended = shell.status().is_some() || printed(shell.stdout()).len() >= count;
            ended.then_some(())
        })
        .await;
    }
    let status = shell.ended().await;
    let printed = printed(shell.stdout());
    assert!(status.success() && printed.len() == steps.len(), "{:?}\n{:?}", shell.stdout(), shell.stderr());
    printed
}

/// What each block that has ended printed.
fn printed(output: &Log) -> Vec<String> {
    let mut printed: Vec<_> = format!("{}\n", output.text()).split(BORDER).map(str::to_owned).collect();
    // What comes behind the last border.
    printed.pop();
    printed
}

/// Whether `printed` begins with what the document shows; the rest of it.
fn compare<'a>(shown: &Block, printed: &'a str) -> Result<&'a str, String> {
    let printed = printed.trim_start();
    if shown.language == "text" {
        return printed.strip_prefix(shown.text).ok_or_else(|| shown.text.to_owned());
    }
    let shown: Value =
        serde_json::from_str(shown.text).map_err(|error| format!("{error}: {}", shown.text))?;
    let mut values = serde_json::Deserializer::from_str(printed).into_iter::<Value>();
    match values.next() {
        Some(Ok(value)) if masked(&value) == masked(&shown) => Ok(&printed[values.byte_offset()..]),
        _ => Err(shown.to_string()),
    }
}

/// Without what differs each time.
fn masked(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), field(name, value)));
            fields.collect()
        }
        Value::Array(items) => items.iter().map(masked).collect(),
        value => value.clone(),
    }
}

fn field(name: &str, value: &Value) -> Value {
    match value.as_str() {
        Some(text) if VARIABLE.contains(&name) => (!text.is_empty()).into(),
        // How long to wait depends on how quick the machine is.
        Some(text) if name == "detail" => text.split("try again in ").next().into(),
        _ => masked(value),
    }
}

on_each_store! {
    /// The limits are those of a fresh deployment, of which the document speaks.
    async fn every_block_does_what_the_document_says(store) {
        let cluster = builder(store).default_limits().start(replicas(store)).await;
        let directory = tempfile::tempdir().expect("a directory");
        put_cargo(directory.path());
        put_python(directory.path());
        let steps = steps(directory.path());
        assert!(steps.len() > 25 && blocks().iter().any(|block| block.text == START));
        for (step, printed) in steps.iter().zip(walk(&cluster, directory.path(), &steps).await) {
            let rest = step.printed.iter().try_fold(printed.as_str(), |rest, shown| compare(shown, rest));
            let rest = rest.unwrap_or_else(|shown| panic!("{}\nprinted\n{printed}\nand not\n{shown}", step.script));
            assert!(rest.trim().is_empty(), "{}\nprinted\n{printed}\nwhich the document does not show", step.script);
        }
    }
}

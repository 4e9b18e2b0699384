//! The other side of signatures and of keys on their way: `other_side.py`, on a library that is not ours.

use std::path::Path;

use cryptoserve_tests::Program;
use serde_json::{Value, json};

/// The answers to `questions`, in their order.
pub(crate) async fn ask_all(questions: &[Value]) -> Vec<Value> {
    let packages = std::env::var("CRYPTOSERVE_TEST_PYTHON_PACKAGES");
    let packages = packages.expect("CRYPTOSERVE_TEST_PYTHON_PACKAGES is not set: run ./tests/run [FILTER]");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), json!(questions).to_string()).expect("written");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("other_side.py");
    let done = Program::at(Path::new("/usr/bin/env"))
        .arg("python3")
        .arg(script.to_string_lossy())
        .arg(file.path().to_string_lossy())
        .env("PYTHONPATH", packages)
        .run()
        .await;
    assert!(done.status.success(), "{}", done.stderr);
    let answers: Value = serde_json::from_str(&done.stdout).expect("JSON");
    answers.as_array().expect("a list").clone()
}

/// The answer to one question.
pub(crate) async fn ask(question: Value) -> Value {
    ask_all(&[question]).await.remove(0)
}

//! The command as a process: exit codes, what goes to which stream, what a signal leaves behind.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};

fn cryptoserve(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cryptoserve"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn output(arguments: &[&str]) -> (Option<i32>, String, String) {
    ended(cryptoserve(arguments).output().unwrap())
}

fn ended(output: Output) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// `encrypt` through a server at `listener`, which has begun to send.
fn encrypting(listener: &TcpListener, arguments: &[&str], stdin: Stdio) -> (Child, TcpStream) {
    let child = cryptoserve(&[&["encrypt", "--context", "general"], arguments].concat())
        .env("CRYPTOSERVE_SERVER", format!("http://{}", listener.local_addr().unwrap()))
        .env("CRYPTOSERVE_TOKEN", "token")
        .stdin(stdin)
        .spawn()
        .unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.read_exact(&mut [0; 4]).unwrap();
    (child, stream)
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_signal_ends_a_transfer_and_leaves_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let directory = tempfile::tempdir().unwrap();
        let input = directory.path().join("in");
        fs::write(&input, vec![7; 8 << 20]).unwrap();
        let (child, _stream) = encrypting(&listener, &[input.to_str().unwrap()], Stdio::null());
        assert_eq!(names(directory.path()).len(), 2, "the unfinished file is there");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let (code, stdout, stderr) = ended(child.wait_with_output().unwrap());
        assert_eq!((code, stdout.as_str(), stderr.as_str()), (Some(1), "", "cryptoserve: interrupted\n"));
        assert_eq!(names(directory.path()), ["in"]);
    }
}

#[test]
fn a_refusal_ends_it_though_standard_input_stays_open() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut child, mut stream) = encrypting(&listener, &[], Stdio::piped());
    let stdin = child.stdin.take();
    stream
        .write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 20\r\n\r\n{\"detail\":\"expired\"}")
        .unwrap();
    let (code, stdout, stderr) = ended(child.wait_with_output().unwrap());
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert_eq!(stderr, "cryptoserve: the server answered 401 Unauthorized: expired\n");
    drop(stdin);
}

#[test]
fn mistakes_on_the_command_line_have_an_exit_code_of_their_own() {
    for arguments in [
        &["--no-such-option"][..],
        &["token", "--admin", "--operator"],
        &["encrypt"],
        // There is no token.
        &["encrypt", "--context", "general"],
        &["decrypt"],
    ] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stdout.as_str()), (Some(64), ""), "{arguments:?}");
        assert!(!stderr.is_empty(), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["help", "encrypt"], &["--version"], &["completions", "bash"]] {
        let (code, stdout, stderr) = output(arguments);
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(stdout.contains("cryptoserve"), "{arguments:?}");
    }
}

#[test]
fn keygen_prints_secrets_alone_on_standard_output() {
    let (code, stdout, stderr) = output(&["keygen"]);
    assert_eq!(code, Some(0));
    let names: Vec<_> =
        stdout.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert_eq!(names, ["CRYPTOSERVE_MASTER_KEY", "JWT_SECRET_KEY", "HKDF_SALT"]);
    assert!(stderr.contains("Keep these"));
    assert_ne!(output(&["keygen"]).1, stdout);
}

#[test]
fn a_healthcheck_of_nothing_fails_and_says_why() {
    let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let output = cryptoserve(&["healthcheck"]).env("BIND_ADDR", address.to_string()).output().unwrap();
    let (code, stdout, stderr) = ended(output);
    assert_eq!((code, stdout.as_str()), (Some(1), ""));
    assert!(stderr.contains(&format!("cannot connect to http://{address}: Connection refused")), "{stderr}");
}

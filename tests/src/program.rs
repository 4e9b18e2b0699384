//! The `cryptoserve` command and the environment that it is run with.

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use crate::process::Process;
use crate::unprivileged;

/// A command with its arguments and its whole environment; nothing of ours leaks in but `PATH`.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    args: Vec<String>,
    env: BTreeMap<String, String>,
    unprivileged: bool,
}

/// What a command that ran to its end left behind.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Standard output, lines joined.
    pub stdout: String,
    /// Standard error, lines joined.
    pub stderr: String,
}

impl Program {
    /// The `cryptoserve` command: `CRYPTOSERVE_TEST_BIN`, else the one built beside this test.
    ///
    /// # Panics
    ///
    /// If there is none; the message says how to build it.
    pub fn cryptoserve() -> Self {
        let path = env::var_os("CRYPTOSERVE_TEST_BIN").map(PathBuf::from).or_else(beside_this_executable);
        let path = path.filter(|path| path.is_file());
        Self::at(&path.expect(
            "the cryptoserve command is not there: run ./tests/run, or `cargo build -p cryptoserve-standalone` \
             in the profile of the tests, or set CRYPTOSERVE_TEST_BIN",
        ))
    }

    /// Any other executable.
    pub fn at(path: &Path) -> Self {
        let mut env = BTreeMap::new();
        env.extend(env::var("PATH").map(|path| ("PATH".to_owned(), path)));
        Self { path: path.to_owned(), args: Vec::new(), env, unprivileged: false }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Sets a variable.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Sets a variable unless it is set.
    pub fn default_env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.entry(name.into()).or_insert_with(|| value.into());
        self
    }

    /// Takes a variable away.
    pub fn without_env(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// A shell that runs `script` with the same environment, and finds the command by its name. It stops at the first
    /// command that fails.
    ///
    /// # Panics
    ///
    /// If a path is not UTF-8.
    pub fn shell(mut self, script: &str) -> Self {
        let directory = self.path.parent().and_then(Path::to_str).expect("a path in UTF-8");
        let path = self.env.get("PATH").cloned().unwrap_or_default();
        self.env.insert("PATH".to_owned(), format!("{directory}:{path}"));
        Self { path: "/bin/sh".into(), args: vec!["-euc".to_owned(), script.to_owned()], ..self }
    }

    /// Lets it have at most `files` files open at once, sockets among them.
    ///
    /// # Panics
    ///
    /// If its path is not UTF-8.
    pub fn open_files(self, files: u32) -> Self {
        let path = self.path.to_str().expect("a path in UTF-8").to_owned();
        let script = format!("ulimit -n {files} && exec \"$0\" \"$@\"");
        let args = ["-c".to_owned(), script, path].into_iter().chain(self.args).collect();
        Self { path: "/bin/sh".into(), args, env: self.env, unprivileged: self.unprivileged }
    }

    /// Runs it as another user if this process is root, whom database servers refuse; see [`unprivileged::own`].
    pub fn unprivileged(mut self) -> Self {
        self.unprivileged = true;
        self
    }

    /// As the standard library starts it, for tests that treat its outputs otherwise.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.args).env_clear().envs(&self.env);
        if self.unprivileged {
            unprivileged::become_user(&mut command);
        }
        command
    }

    /// Starts it.
    ///
    /// # Panics
    ///
    /// If the system cannot start it.
    pub fn spawn(&self) -> Process {
        Process::spawn(&mut self.command()).unwrap_or_else(|error| panic!("{}: {error}", self.path.display()))
    }

    /// Runs it to its end.
    ///
    /// # Panics
    ///
    /// If it cannot be started or runs longer than [`crate::LIMIT`].
    pub async fn run(&self) -> Finished {
        let mut process = self.spawn();
        let status = process.ended().await;
        Finished { status, stdout: process.stdout().text(), stderr: process.stderr().text() }
    }
}

/// `target/<profile>/cryptoserve`, seen from `target/<profile>/bench` or `target/<profile>/deps/blackbox-…`.
fn beside_this_executable() -> Option<PathBuf> {
    let this = env::current_exe().ok()?;
    this.ancestors().skip(1).take(2).map(|dir| dir.join("cryptoserve")).find(|path| path.is_file())
}

//! A child process that does not outlive its test.

use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use rustix::process::{Pid, Signal, kill_process};

use crate::eventually::{LIMIT, eventually};
use crate::log::Log;

/// A running child; killed and reaped when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    ended: Option<ExitStatus>,
    stdout: Log,
    stderr: Log,
}

impl Process {
    /// Starts `command` with no input, collecting both outputs.
    ///
    /// # Errors
    ///
    /// What the system says if it cannot be started.
    pub fn spawn(command: &mut Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = Log::collect(child.stdout.take().expect("stdout was asked for as a pipe"));
        let stderr = Log::collect(child.stderr.take().expect("stderr was asked for as a pipe"));
        Ok(Self { child, ended: None, stdout, stderr })
    }

    /// Lines of standard output.
    pub fn stdout(&self) -> &Log {
        &self.stdout
    }

    /// Lines of standard error, where a server logs.
    pub fn stderr(&self) -> &Log {
        &self.stderr
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// User and system time of all its threads so far, in steps of a clock tick (10 ms).
    ///
    /// # Panics
    ///
    /// If it has ended.
    pub fn cpu_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).expect("the process is running");
        // The second field, the command in brackets, may hold spaces; what follows the last `)` starts at field 3.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks: u64 = [14, 15].iter().filter_map(|field| fields.get(field - 3)?.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
    }

    /// Asks it to end (SIGTERM), as an orchestrator does.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once (SIGKILL), as the kernel does when memory runs out.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Freezes it (SIGSTOP): its sockets stay open and nothing answers.
    ///
    /// # Panics
    ///
    /// If it goes on after [`crate::LIMIT`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        // The signal is sent at once and acted on a little later: until then it may start others.
        let sent = Instant::now();
        while self.is_running() {
            assert!(sent.elapsed() < LIMIT, "process {} does not stop", self.id());
            thread::yield_now();
        }
    }

    /// Whether the kernel says that it neither is stopped nor has ended.
    fn is_running(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap_or_default();
        // The name before it, in brackets, may hold anything.
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        state.is_some_and(|state| !matches!(state, 'T' | 't' | 'Z' | 'X'))
    }

    /// Lets a frozen one go on (SIGCONT).
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Sends `signal`; nothing happens if the process has ended.
    pub fn signal(&self, signal: Signal) {
        // Until it is reaped, and only this type reaps it, the id cannot mean another process.
        if self.ended.is_none() {
            kill_process(Pid::from_child(&self.child), signal).expect("the process is there and ours");
        }
    }

    /// The exit status, if it has ended.
    pub fn status(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().expect("the child is ours to wait for");
        }
        self.ended
    }

    /// Waits for its end and for its last line of output.
    ///
    /// # Panics
    ///
    /// If it is still running after [`crate::LIMIT`].
    pub async fn ended(&mut self) -> ExitStatus {
        let what = format!("end of process {}", self.id());
        let status = eventually(&what, async || self.status()).await;
        self.stdout.ended().await;
        self.stderr.ended().await;
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

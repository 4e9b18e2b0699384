//! Log lines on their way to standard error, which may take them more slowly than they come, or not at all.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Most bytes of lines that wait; what comes beyond is dropped, and counted.
const MAX_WAITING: usize = 8 << 20;

/// Takes lines at once and has a thread write them. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct LineQueue {
    queue: Sender<Message>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    waiting: AtomicUsize,
    dropped: AtomicU64,
}

enum Message {
    Line(Vec<u8>),
    /// To be told when everything before is written.
    Flush(Sender<()>),
}

impl LineQueue {
    /// Starts the thread, which ends with the last handle.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(target: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = channel();
        let shared = Arc::<Shared>::default();
        let of_thread = shared.clone();
        let write = move || write_all(&lines, target, &of_thread);
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Self { queue, shared })
    }

    /// How many lines were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was taken is written, at most for `limit`.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let (done, written) = channel();
        self.queue.send(Message::Flush(done)).is_ok()
            && written.recv_timeout(limit) != Err(RecvTimeoutError::Timeout)
    }
}

impl Write for LineQueue {
    /// Takes one line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let waiting = self.shared.waiting.fetch_add(line.len(), Ordering::Relaxed);
        let fits = waiting + line.len() <= MAX_WAITING;
        if !fits || self.queue.send(Message::Line(line.to_vec())).is_err() {
            self.shared.waiting.fetch_sub(line.len(), Ordering::Relaxed);
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for LineQueue {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Writes what is there in as few pieces as possible, and waits for more.
fn write_all(lines: &Receiver<Message>, target: impl Write, shared: &Shared) {
    let mut target = BufWriter::with_capacity(64 << 10, target);
    while let Ok(first) = lines.recv() {
        let mut next = Ok(first);
        let mut flushed = Vec::new();
        while let Ok(message) = next {
            match message {
                Message::Line(line) => {
                    if target.write_all(&line).is_err() {
                        shared.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                    shared.waiting.fetch_sub(line.len(), Ordering::Relaxed);
                }
                Message::Flush(done) => flushed.push(done),
            }
            next = lines.try_recv();
        }
        // Where nobody reads any longer, there is nobody to tell.
        let _ = target.flush();
        for done in flushed {
            let _ = done.send(());
        }
        if next.is_err_and(|error| error == TryRecvError::Disconnected) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// Takes nothing until it is opened.
    #[derive(Clone, Default)]
    struct Gate(Arc<Inner>);

    #[derive(Default)]
    struct Inner {
        state: Mutex<(bool, Vec<u8>)>,
        opened: Condvar,
    }

    impl Gate {
        fn open(&self) {
            self.0.state.lock().unwrap().0 = true;
            self.0.opened.notify_all();
        }

        fn taken(&self) -> Vec<u8> {
            self.0.state.lock().unwrap().1.clone()
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let state = self.0.state.lock().unwrap();
            let mut state = self.0.opened.wait_while(state, |(open, _)| !*open).unwrap();
            state.1.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_logs_never_waits_and_what_is_not_written_is_counted() {
        const LINE: usize = 1 << 20;
        let gate = Gate::default();
        let mut queue = LineQueue::start(gate.clone()).unwrap();
        let most = MAX_WAITING / LINE;
        // Had one of these to wait, the test would never end.
        for first in (b'a'..).take(most + 5) {
            let mut line = vec![first; LINE - 1];
            line.push(b'\n');
            assert_eq!(queue.write(&line).unwrap(), LINE);
        }
        assert_eq!(queue.dropped(), 5);
        assert!(!queue.flush(Duration::from_millis(1)), "it cannot be written yet");
        gate.open();
        assert!(queue.flush(Duration::from_secs(30)));
        let taken = gate.taken();
        assert_eq!(taken.len(), most * LINE, "what was taken is written");
        assert!(taken.chunks(LINE).zip(b'a'..).all(|(line, first)| line[0] == first));
        queue.write_all(b"room again\n").unwrap();
        assert!(queue.flush(Duration::from_secs(30)));
        assert!(gate.taken().ends_with(b"room again\n"));
        assert_eq!(queue.dropped(), 5);
    }
}

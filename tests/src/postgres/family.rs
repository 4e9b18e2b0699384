use std::fs;

use rustix::process::{Pid, Signal, kill_process};

/// Sends `signal` to every child of the process `parent`; PostgreSQL puts each into a group of its own.
pub(super) fn signal_children(parent: u32, signal: Signal) {
    for child in children(parent) {
        // One may have ended meanwhile.
        let _ = kill_process(child, signal);
    }
}

fn children(parent: u32) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("the kernel's list of processes");
    let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    ids.filter(|id| parent_of(*id) == Some(parent)).filter_map(Pid::from_raw).collect()
}

fn parent_of(id: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name before it, in brackets, may hold anything.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

//! The user that database servers run as, when the tests run as root.

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Runs `command` as that user, from a directory that it may enter.
pub(crate) fn become_user(command: &mut Command) {
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid).current_dir("/");
    }
}

/// Gives `path` to that user.
///
/// # Panics
///
/// If it is not ours to give.
pub fn own(path: &Path) {
    if let Some((uid, gid)) = user() {
        chown(path, Some(uid), Some(gid)).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
}

/// User and group of `postgres`, else of `nobody`; `None` if this process is not root anyway.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = fs::read_to_string("/etc/passwd").expect("the list of users");
    let ids = |wanted: &str| {
        let mut fields =
            users.lines().map(|line| line.split(':')).find(|fields| fields.clone().next() == Some(wanted))?;
        Some((fields.nth(2)?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    Some(ids("postgres").or_else(|| ids("nobody")).expect("a user besides root"))
}

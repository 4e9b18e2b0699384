//! The audit trail.

pub(crate) mod chains;

mod blocked;
mod export;
mod kept;
mod listing;
mod past;
mod verify;

use cryptoserve_tests::{Finished, Program};

/// Runs `cryptoserve audit` with the arguments.
pub(crate) async fn audit(program: &Program, args: &[&str]) -> Finished {
    let program = program.clone().arg("audit");
    args.iter().fold(program, |program, arg| program.arg(*arg)).run().await
}

/// What `cryptoserve audit verify` finds; the exit code tells the same.
pub(crate) async fn verify(program: &Program, args: &[&str]) -> Vec<String> {
    let done = audit(program, &[&["verify"], args].concat()).await;
    let found: Vec<_> =
        done.stdout.lines().filter_map(|line| line.strip_prefix("FOUND ")).map(str::to_owned).collect();
    assert_eq!(done.status.code(), Some(i32::from(!found.is_empty())), "{done:?}");
    found
}

//! What the command does, one file for each subcommand.

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod completions;
pub(crate) mod doctor;
pub(crate) mod healthcheck;
pub(crate) mod keygen;
pub(crate) mod migrate;
pub(crate) mod rewrap_keys;
pub(crate) mod serve;
pub(crate) mod token;
pub(crate) mod transfer;

//! CryptoServe's core: everything that is true on every front, with no sockets and no `main`.
//!
//! An application names a context; the core chooses keys and algorithms, limits abuse, and records what
//! happened. A front reduces each request to [`http::Request`] and sends back what the application answers.

#![warn(missing_docs)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod api;
pub mod app;
pub mod audit;
pub mod auth;
pub mod backup;
pub mod certificate;
pub mod clock;
pub mod config;
pub mod contexts;
pub mod crypto;
pub mod data_dir;
pub mod doctor;
mod health;
mod https;
pub mod id;
pub mod keyring;
pub mod limits;
pub mod master_key;
pub mod name;
pub mod recovery;
pub mod secret;
pub mod store;
pub mod telemetry;

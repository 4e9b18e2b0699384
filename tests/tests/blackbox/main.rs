//! Black-box tests: the real command over real sockets. The tree mirrors the API; `harness` tests the tools.

mod abuse;
mod admin;
mod auth;
mod cli;
mod crypto;
mod documents;
mod harness;
mod health;
mod http;
mod kills;
mod limits;
mod logs;
mod master_key;
mod other_side;
mod proxy;
mod recovery;
mod replicas;
mod shutdown;
mod signatures;
mod start;
mod store;
mod support;

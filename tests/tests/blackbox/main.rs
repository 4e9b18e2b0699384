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
mod limits;
mod logs;
mod proxy;
mod replicas;
mod shutdown;
mod start;
mod support;

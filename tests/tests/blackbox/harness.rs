//! The harness itself: a tool that reports wrongly is worse than none.

mod cluster;
mod nginx;
mod postgres;
mod proxy;
mod replica;
mod services;

//! Test support: repositories, fakes of the services, the specifications.

pub(crate) mod agent;
pub(crate) mod browser;
pub(crate) mod component;
pub(crate) mod console;
#[cfg(unix)]
pub(crate) mod cutting;
pub(crate) mod daemon;
pub(crate) mod git_host;
pub(crate) mod git_repo;
pub(crate) mod github;
pub(crate) mod http;
#[cfg(target_os = "linux")]
pub(crate) mod island;
pub(crate) mod lab;
pub(crate) mod local;
pub(crate) mod openai;
pub(crate) mod openapi;
pub(crate) mod page;
#[cfg(unix)]
pub(crate) mod pgbouncer;
pub(crate) mod pgvector;
pub(crate) mod pinecone;
pub(crate) mod postgres;
pub(crate) mod python;
pub(crate) mod registry;
pub(crate) mod relay;
pub(crate) mod services;
pub(crate) mod shop;
pub(crate) mod slack;
pub(crate) mod sources;
#[cfg(unix)]
pub(crate) mod sshd;
#[cfg(unix)]
pub(crate) mod terminal;
pub(crate) mod tls_front;
pub(crate) mod twin;
pub(crate) mod world;

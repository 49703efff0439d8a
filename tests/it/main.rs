//! The one integration test binary: the real program against fakes of the services, one file per
//! promise.

mod allowances;
mod api;
mod api_access;
mod api_limits;
mod api_token;
mod api_versions;
mod apply;
mod architecture;
mod attributes;
mod audit;
#[cfg(unix)]
mod chaos;
mod chunkers;
mod cli_output;
mod component;
mod component_cache;
mod component_contract;
mod component_fetch;
mod component_misbehaves;
mod component_prints;
mod component_replaced;
mod component_runs;
mod component_shipped;
mod conformity;
mod console;
mod console_browser;
mod console_live;
mod console_queue;
mod consumers;
mod crash;
#[cfg(unix)]
mod cuts;
mod daemon;
mod daemons;
mod deploy;
mod docs;
mod docs_generated;
#[cfg(unix)]
mod docs_walk;
mod embed_services;
mod examples;
#[cfg(unix)]
mod failures;
mod fairness;
mod git_servers;
mod histories;
#[cfg(unix)]
mod installer;
mod language;
mod mcp;
mod notify;
mod operators;
#[cfg(target_os = "linux")]
mod partition;
mod plan;
mod plugin_commands;
mod plugin_try;
mod postgres;
mod proxies;
mod reading;
mod references;
mod reload;
mod search;
mod secrets;
mod service_calls;
mod service_faults;
mod service_scenarios;
mod services;
mod shutdown;
mod source_git;
mod source_git_remote;
#[cfg(unix)]
mod source_git_ssh;
mod source_github;
mod source_github_faults;
mod source_hostile;
mod spending;
mod state_tracked;
mod store_contract;
mod store_pgvector;
mod store_pinecone;
mod stored_plans;
mod support;
mod telemetry;
mod tls;
mod torture;
mod trouble;
mod upgrade;
mod webhook;
mod workers;

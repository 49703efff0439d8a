//! The one integration binary: the real program against fakes of the services, one file per promise.

mod api;
mod apply;
mod architecture;
mod attributes;
mod cli_output;
mod component;
mod component_misbehaves;
mod component_shipped;
mod crash;
mod daemon;
mod deploy;
mod embed_services;
mod histories;
mod notify;
mod plugin_commands;
mod reload;
mod services;
mod shutdown;
mod source_git;
mod source_github;
mod source_github_faults;
mod store_contract;
mod store_pinecone;
mod support;
mod webhook;

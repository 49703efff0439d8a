//! Where the memory of instances comes from. Every document gets a fresh instance, so what starting one costs
//! counts for every document.

use std::num::NonZero;
use std::thread::available_parallelism;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::limits::MAX_TABLE_ELEMENTS;

/// Maximum number of components running at once; at most one per processor does.
const MAX_COMPONENTS: u32 = 256;
/// Maximum number of core instances, as many in each component as a Python component has, and more.
const MAX_CORE_INSTANCES: u32 = 40 * MAX_COMPONENTS;
/// Maximum number of memories and of tables. Reserves address space alone.
const MAX_MEMORIES: u32 = 2 * MAX_COMPONENTS;
/// Maximum number of memories and of tables that one core module defines.
const MAX_PER_MODULE: u32 = 16;
/// Maximum size of the host's data for one instance, in bytes.
const MAX_INSTANCE_DATA: usize = 16 << 20;
/// Bytes of an ended instance's memory that stay mapped for the next one.
const KEEP_MEMORY: usize = 4 << 20;
/// Bytes of an ended instance's tables that stay mapped for the next one.
const KEEP_TABLE: usize = 256 << 10;

/// An engine that reuses the memory of ended instances: the kernel lists the pages that an instance wrote, and
/// only these are restored. A fresh instance then needs few page faults, and no mapping.
///
/// Kernels before Linux 6.7 cannot list these pages, and a process's address space may be limited. In both
/// cases every instance maps its own memory, which takes about twice as long.
pub(super) fn engine(mut config: Config) -> wasmtime::Result<Engine> {
    if PoolingAllocationConfig::is_pagemap_scan_available() {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool()));
        if let Ok(engine) = Engine::new(&config) {
            return Ok(engine);
        }
        config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
    }
    Engine::new(&config)
}

fn pool() -> PoolingAllocationConfig {
    let threads = available_parallelism().map_or(1, NonZero::get);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(MAX_COMPONENTS)
        .total_core_instances(MAX_CORE_INSTANCES)
        .total_memories(MAX_MEMORIES)
        .total_tables(MAX_MEMORIES)
        .max_memories_per_module(MAX_PER_MODULE)
        .max_tables_per_module(MAX_PER_MODULE)
        .table_elements(MAX_TABLE_ELEMENTS)
        .max_core_instance_size(MAX_INSTANCE_DATA)
        .max_component_instance_size(MAX_INSTANCE_DATA)
        .max_unused_warm_slots(u32::try_from(2 * threads).unwrap_or(MAX_MEMORIES))
        .pagemap_scan(Enabled::Yes)
        .linear_memory_keep_resident(KEEP_MEMORY)
        .table_keep_resident(KEEP_TABLE);
    pool
}

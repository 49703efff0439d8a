//! The name of this machine.

/// The machine's name, for people; in a container that is the container's.
pub fn host_name() -> String {
    let named = ["HOSTNAME", "COMPUTERNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let kept = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = named.or_else(kept).map(|name| name.trim().to_owned());
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}

//! How much memory this process may use: what its control group allows, or what the machine has.

use std::fs;
use std::path::Path;

/// Returns the bytes of memory, where the system tells (Linux).
pub fn memory() -> Option<usize> {
    let meminfo = fs::read_to_string("/proc/meminfo").ok()?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let allowed = limit_files(&groups).into_iter().filter_map(|file| fs::read_to_string(file).ok());
    allowed.filter_map(|text| text.trim().parse().ok()).chain(total(&meminfo)).min()
}

/// Returns `MemTotal`, in bytes.
fn total(meminfo: &str) -> Option<usize> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Returns the files that may hold a limit for a process of these `groups` (`/proc/self/cgroup`): those of its own group
/// and of all above it, because the least counts. Within a container the group's path is that of the host and may not
/// exist; its root is then the container's own.
fn limit_files(groups: &str) -> Vec<String> {
    let mut files = Vec::new();
    for group in groups.lines() {
        let mut parts = group.splitn(3, ':');
        let (_, controllers, Some(path)) = (parts.next(), parts.next().unwrap_or_default(), parts.next()) else {
            continue;
        };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let above = Path::new(path).ancestors().filter_map(Path::to_str);
        files.extend(above.map(|path| format!("{root}{}/{file}", path.trim_end_matches('/'))));
    }
    files
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_bounded_by_all_above_it() {
        let files = limit_files("0::/a.slice/b.service\n");

        let expected = ["/a.slice/b.service/", "/a.slice/", "/"].map(|path| format!("/sys/fs/cgroup{path}memory.max"));
        assert_eq!(files, expected);
    }

    #[test]
    fn groups_of_the_first_version_are_known_by_their_controller() {
        let files = limit_files("5:cpu,cpuacct:/x\n4:memory:/docker/1\n");

        assert_eq!(files.len(), 3);
        assert_eq!(files[0], "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes");
    }

    #[test]
    fn the_machines_memory_is_read_in_bytes() {
        assert_eq!(total("MemTotal:       24683412 kB\nMemFree: 1 kB\n"), Some(24_683_412 * 1024));
        assert_eq!(total("nonsense"), None);
    }
}

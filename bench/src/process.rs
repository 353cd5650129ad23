//! What the kernel says a proxy has used: CPU time, memory, context switches, over all its processes and threads.
//!
//! CPU time in all is the process's CPU clock (nanoseconds, threads that ended included). Its split into user and
//! system is `/proc/PID/stat`'s: the kernel samples it at its tick, so a share is good to a percent or so of a run of
//! seconds, while the sum is exact.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Counters since a process started, summed over a family of processes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// CPU time in all, nanoseconds.
    pub cpu_ns: u64,
    /// Clock ticks in user and in system mode; only their ratio is used.
    pub user_ticks: u64,
    pub system_ticks: u64,
    /// Voluntary and involuntary context switches of the threads that live.
    pub switches: u64,
}

impl Usage {
    /// What was used between `earlier` and now.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_ns: self.cpu_ns.saturating_sub(earlier.cpu_ns),
            user_ticks: self.user_ticks.saturating_sub(earlier.user_ticks),
            system_ticks: self.system_ticks.saturating_sub(earlier.system_ticks),
            switches: self.switches.saturating_sub(earlier.switches),
        }
    }

    /// Microseconds in user and in system mode.
    pub fn split_us(self) -> (f64, f64) {
        let all = self.cpu_ns as f64 / 1000.0;
        let ticks = self.user_ticks + self.system_ticks;
        let user = if ticks == 0 { 0.0 } else { all * self.user_ticks as f64 / ticks as f64 };
        (user, all - user)
    }
}

/// CPU time by process, nanoseconds.
pub type Each = BTreeMap<i32, u64>;

/// CPU time of `root` and each of its descendants. One that ends meanwhile is left out.
pub fn each(root: i32) -> Result<Each> {
    Ok(family(&[root])?.into_iter().filter_map(|pid| Some((pid, cpu_ns(pid).ok()?))).collect())
}

/// What processes that still live have used since `earlier`, in microseconds.
pub fn used_us(earlier: &Each, now: &Each) -> f64 {
    let used = now.iter().map(|(pid, ns)| ns.saturating_sub(earlier.get(pid).copied().unwrap_or(0)));
    used.sum::<u64>() as f64 / 1000.0
}

/// CPU time of the threads of `roots` that are called `name`, in nanoseconds.
pub fn threads_ns(roots: &[i32], name: &str) -> Result<u64> {
    let mut sum = 0;
    for root in roots {
        for task in fs::read_dir(format!("/proc/{root}/task")).with_context(|| format!("process {root} is gone"))? {
            let path = task?.path();
            let read = |file: &str| fs::read_to_string(path.join(file)).unwrap_or_default();
            if read("comm").trim_end() == name {
                // proc(5): time on the processor, time spent waiting for it, timeslices.
                sum += read("schedstat").split(' ').next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
            }
        }
    }
    Ok(sum)
}

/// Memory of a family of processes, KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Memory {
    /// Resident now.
    pub rss_kb: u64,
    /// Sum of each process's peak.
    pub peak_kb: u64,
}

/// The counters of `roots` and all their descendants.
pub fn usage(roots: &[i32]) -> Result<Usage> {
    let mut sum = Usage::default();
    for pid in family(roots)? {
        let one = usage_of(pid).with_context(|| format!("process {pid} went away while it was measured"))?;
        sum.cpu_ns += one.cpu_ns;
        sum.user_ticks += one.user_ticks;
        sum.system_ticks += one.system_ticks;
        sum.switches += one.switches;
    }
    Ok(sum)
}

/// The memory of `roots` and all their descendants.
pub fn memory(roots: &[i32]) -> Result<Memory> {
    let mut sum = Memory::default();
    for pid in family(roots)? {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        sum.rss_kb += field(&status, "VmRSS:").context("no VmRSS")?;
        sum.peak_kb += field(&status, "VmHWM:").context("no VmHWM")?;
    }
    Ok(sum)
}

/// `roots` and their descendants; a descendant that ends meanwhile is left out.
fn family(roots: &[i32]) -> Result<Vec<i32>> {
    let mut found = roots.to_vec();
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        next += 1;
        let tasks = match fs::read_dir(format!("/proc/{pid}/task")) {
            Ok(tasks) => tasks,
            Err(error) if roots.contains(&pid) => return Err(error).with_context(|| format!("process {pid} is gone")),
            Err(_) => continue,
        };
        for task in tasks {
            let Ok(task) = task else { continue };
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|child| child.parse::<i32>().ok()));
        }
    }
    Ok(found)
}

fn usage_of(pid: i32) -> Result<Usage> {
    let cpu_ns = cpu_ns(pid)?;
    let (user_ticks, system_ticks) =
        parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat"))?).context("stat is not as documented")?;
    let mut switches = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end between the listing and here; its switches are lost, its CPU time is not.
        let status = fs::read_to_string(task?.path().join("status")).unwrap_or_default();
        switches += field(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        switches += field(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    Ok(Usage { cpu_ns, user_ticks, system_ticks, switches })
}

fn cpu_ns(pid: i32) -> Result<u64> {
    let time = clock_getcpuclockid(Pid::from_raw(pid))?.now()?;
    Ok(u64::try_from(time.tv_sec())? * 1_000_000_000 + u64::try_from(time.tv_nsec())?)
}

/// `utime` and `stime` of a `/proc/PID/stat` line (proc_pid_stat(5): fields 14 and 15). The command's name, field 2,
/// may hold blanks and parentheses.
fn parse_stat(line: &str) -> Option<(u64, u64)> {
    let mut fields = line[line.rfind(')')? + 1..].split_whitespace().skip(11);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// The number after `name` at the start of a line of `/proc/PID/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_past_a_name_with_blanks_and_parentheses() {
        let line = "42 (odd ) (name) S 1 42 42 0 -1 4194304 100 0 0 0 17 29 5 6 20 0 1 0 100 1 1";
        assert_eq!(parse_stat(line), Some((17, 29)));
        assert_eq!(parse_stat("42 (short) S 1"), None);
        assert_eq!(parse_stat("garbage"), None);
    }

    #[test]
    fn status_fields_are_matched_from_the_start_of_the_line() {
        let status = "Name:\tx\nVmHWM:\t    1234 kB\nnonvoluntary_ctxt_switches:\t7\nvoluntary_ctxt_switches:\t9\n";
        assert_eq!(field(status, "VmHWM:"), Some(1234));
        assert_eq!(field(status, "voluntary_ctxt_switches:"), Some(9));
        assert_eq!(field(status, "nonvoluntary_ctxt_switches:"), Some(7));
        assert_eq!(field(status, "VmRSS:"), None);
    }

    #[test]
    fn the_split_adds_up_to_the_exact_sum() {
        let usage = Usage { cpu_ns: 10_000_000, user_ticks: 1, system_ticks: 3, switches: 0 };
        assert_eq!(usage.split_us(), (2500.0, 7500.0));
        assert_eq!(Usage { user_ticks: 0, system_ticks: 0, ..usage }.split_us(), (0.0, 10_000.0));
    }

    #[test]
    fn work_done_here_shows_up_in_this_process() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let before = usage(&[pid]).unwrap();
        let started = std::time::Instant::now();
        let mut sum = 0u64;
        while started.elapsed().as_millis() < 50 {
            sum = std::hint::black_box(sum.wrapping_mul(31).wrapping_add(1));
        }
        let used = usage(&[pid]).unwrap().since(before);
        assert!(used.cpu_ns > 5_000_000, "50 ms of work counted as {} ns", used.cpu_ns);
        let memory = memory(&[pid]).unwrap();
        assert!(memory.rss_kb > 100 && memory.peak_kb >= memory.rss_kb, "{memory:?}");
    }

    #[test]
    fn a_threads_work_is_its_own() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let busy = move || {
            let started = std::time::Instant::now();
            while started.elapsed().as_millis() < 50 {
                std::hint::black_box(1);
            }
            threads_ns(&[pid], "busy").unwrap()
        };
        let used = std::thread::Builder::new().name("busy".into()).spawn(busy).unwrap().join().unwrap();
        assert!(used > 5_000_000 && threads_ns(&[pid], "nobody").unwrap() == 0, "50 ms of work counted as {used} ns");
    }

    #[test]
    fn processes_count_from_when_they_were_first_seen() {
        let (earlier, now) = (Each::from([(1, 5_000), (2, 7_000)]), Each::from([(1, 6_000), (3, 4_000)]));
        assert_eq!(used_us(&earlier, &now), 5.0);
    }

    #[test]
    fn children_belong_to_the_family() {
        let mut child = std::process::Command::new("sleep").arg("30").spawn().unwrap();
        let pid = i32::try_from(std::process::id()).unwrap();
        let family = family(&[pid]).unwrap();
        let id = i32::try_from(child.id()).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(family.contains(&id));
    }
}

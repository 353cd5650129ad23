//! Looks into a proxy while it works: system calls a unit (strace) or where the time goes (perf).
//!
//! Either slows the proxy down, so a traced run is never a result.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long strace or perf may take to attach or to write its report.
const TOOL_MAX: Duration = Duration::from_secs(30);
/// Lines of perf's report that are shown.
const PERF_LINES: usize = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tool {
    /// System calls, counted.
    Strace,
    /// Sampled symbols.
    Perf,
}

/// A tool attached to a proxy.
pub struct Trace {
    tool: Tool,
    child: Child,
    file: PathBuf,
}

impl Trace {
    /// Attaches to `pids`; returns once the tool is at work.
    pub fn attach(tool: Tool, pids: &[i32], dir: &Path) -> Result<Trace> {
        let list = pids.iter().map(i32::to_string).collect::<Vec<_>>().join(",");
        let (mut command, file) = match tool {
            Tool::Strace => (Command::new("strace"), dir.join("strace.txt")),
            Tool::Perf => (Command::new("perf"), dir.join("perf.data")),
        };
        match tool {
            Tool::Strace => command.args(["-c", "-f", "-qq", "-U", "calls,name", "-o"]).arg(&file).args(["-p", &list]),
            Tool::Perf => {
                command.args(["record", "--quiet", "-e", "cpu-clock", "-F", "1999", "-o"]).arg(&file);
                command.args(["-p", &list])
            }
        };
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().with_context(|| format!("{tool:?}"))?;
        let trace = Trace { tool, child, file };
        match tool {
            Tool::Strace => wait_until(|| pids.iter().all(|pid| is_traced(*pid)))?,
            Tool::Perf => wait_until(|| trace.file.exists())?,
        }
        Ok(trace)
    }

    /// Detaches and gives the report for `units` of work, ready to print.
    pub fn report(mut self, units: f64, unit: &str) -> Result<String> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGINT)?;
        self.child.wait()?;
        match self.tool {
            Tool::Strace => {
                let calls = parse_strace(&fs::read_to_string(&self.file)?)?;
                Ok(per_unit(&calls, units, unit))
            }
            Tool::Perf => perf_report(&self.file),
        }
    }
}

fn wait_until(ready: impl Fn() -> bool) -> Result<()> {
    let started = Instant::now();
    while !ready() {
        ensure!(started.elapsed() < TOOL_MAX, "the tracer did not attach");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn is_traced(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// Calls by name, from `strace -c -U calls,name`.
fn parse_strace(text: &str) -> Result<BTreeMap<String, u64>> {
    let mut calls = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(Ok(count)), Some(name)) = (words.next().map(str::parse), words.next())
            && name != "total"
        {
            calls.insert(name.to_owned(), count);
        }
    }
    if calls.is_empty() {
        bail!("strace counted nothing");
    }
    Ok(calls)
}

fn per_unit(calls: &BTreeMap<String, u64>, units: f64, unit: &str) -> String {
    let mut sorted: Vec<_> = calls.iter().collect();
    sorted.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
    let all: u64 = calls.values().sum();
    let mut text = format!("{:10.3} system calls a {unit}\n", all as f64 / units);
    for (name, count) in sorted {
        text += &format!("{:10.3} {name}\n", *count as f64 / units);
    }
    text
}

fn perf_report(file: &Path) -> Result<String> {
    let mut command = Command::new("perf");
    command.args(["report", "--stdio", "--no-children", "--percent-limit", "0.5", "--sort", "dso,symbol", "-i"]);
    let output = command.arg(file).stdin(Stdio::null()).output()?;
    ensure!(output.status.success(), "perf report: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    Ok(lines.take(PERF_LINES).map(|line| format!("{line}\n")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_counts_become_calls_a_unit() {
        let text = "    calls syscall\n--------- --------\n     2000 recvfrom\n     2000 sendto\n      200 epoll_wait\n\
                    --------- --------\n     4200 total\n";
        let calls = parse_strace(text).unwrap();
        assert_eq!(calls.len(), 3);
        let expected =
            "     4.200 system calls a query\n     2.000 recvfrom\n     2.000 sendto\n     0.200 epoll_wait\n";
        assert_eq!(per_unit(&calls, 1000.0, "query"), expected);
        assert!(parse_strace("nothing").is_err());
    }
}

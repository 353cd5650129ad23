//! The list of workloads: what is run, what is counted, what is to be reached.

use crate::proxy::{Kind, Pooling};

/// Clients of the pgbench workloads at full load, and the size of every pool.
pub const POOL_SIZE: usize = 16;
/// Clients of the idle workload.
pub const IDLE_CLIENTS: usize = 10_000;
/// Clients of the rotating workload; sixteen of them are active at a time.
pub const ROTATING_CLIENTS: usize = 1_000;

/// One thing to measure.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    /// What CPU time is divided by.
    pub unit: Unit,
    pub load: Load,
    /// Part of the quick run.
    pub quick: bool,
    /// Also measured with two workers.
    pub two_workers: bool,
    pub target: Option<Target>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Transaction,
    /// 10^6 bytes on the wire.
    Megabyte,
    Login,
    /// A client connected, logged in and served one query.
    Client,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Transaction => "transaction",
            Unit::Megabyte => "MB",
            Unit::Login => "login",
            Unit::Client => "client",
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Load {
    Pgbench {
        script: Script,
        protocol: Protocol,
        clients: usize,
    },
    /// Many logged-in clients; each thread serves its share of them in turn, one query each.
    Rotate,
    /// Connect, log in, say goodbye, over and over.
    Login,
    /// A result of 100,000 rows of 100 bytes, over and over.
    Rows,
    CopyOut,
    CopyIn,
    /// Clients that log in, run one query and stay.
    Idle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    SelectOnly,
    TpcB,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Simple,
    Extended,
    Prepared,
}

impl Protocol {
    /// pgbench's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::Simple => "simple",
            Protocol::Extended => "extended",
            Protocol::Prepared => "prepared",
        }
    }
}

/// What pgwarden is to reach with one worker. CPU and memory ratios are medians over rounds.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// CPU a unit, as a multiple of PgBouncer's in the same round.
    OfPgbouncer(f64),
    /// CPU a unit, as a multiple of pgwarden's own in another workload in the same round.
    OfOwn(&'static str, f64),
    /// KiB of resident memory for each idle client.
    IdleKib(f64),
    /// Peak resident memory, KiB.
    PeakKib(f64),
}

impl Workload {
    /// Why `kind` cannot take part, if so.
    pub fn refuses(&self, kind: Kind) -> Option<&'static str> {
        match (self.load, kind) {
            (Load::Idle, Kind::Direct | Kind::Haproxy) => {
                Some("does not pool: every client would need a server connection of its own")
            }
            _ => None,
        }
    }

    /// How `kind` pools here. PgBouncer before 1.21 knows no prepared statements in transaction pooling.
    pub fn pooling(&self, kind: Kind) -> Pooling {
        let prepared = matches!(self.load, Load::Pgbench { protocol: Protocol::Prepared, .. });
        match kind {
            Kind::Direct | Kind::Haproxy => Pooling::None,
            Kind::Pgbouncer if prepared => Pooling::Session,
            Kind::Pgbouncer | Kind::Pgwarden => Pooling::Transaction,
        }
    }
}

const fn pgbench(
    name: &'static str,
    about: &'static str,
    script: Script,
    protocol: Protocol,
    clients: usize,
    target: Option<Target>,
) -> Workload {
    let quick = matches!((script, protocol), (Script::SelectOnly, _) | (Script::TpcB, Protocol::Simple));
    let two_workers = clients > 1 && matches!(script, Script::SelectOnly) && !matches!(protocol, Protocol::Extended);
    let load = Load::Pgbench { script, protocol, clients };
    Workload { name, about, unit: Unit::Transaction, load, quick, two_workers, target }
}

const fn own(
    name: &'static str,
    about: &'static str,
    unit: Unit,
    load: Load,
    two_workers: bool,
    target: Target,
) -> Workload {
    Workload { name, about, unit, load, quick: false, two_workers, target: Some(target) }
}

/// All workloads, in the order in which they run.
pub const WORKLOADS: [Workload; 14] = {
    use Protocol::{Extended, Prepared, Simple};
    use Script::{SelectOnly, TpcB};
    use Target::{IdleKib, OfOwn, OfPgbouncer, PeakKib};
    [
        pgbench(
            "select-simple-16",
            "pgbench -S, simple protocol, 16 clients",
            SelectOnly,
            Simple,
            16,
            Some(OfPgbouncer(1.15)),
        ),
        pgbench("select-extended-16", "pgbench -S, extended protocol, 16 clients", SelectOnly, Extended, 16, None),
        pgbench(
            "select-prepared-16",
            "pgbench -S, prepared statements, 16 clients",
            SelectOnly,
            Prepared,
            16,
            Some(OfOwn("select-simple-16", 1.0)),
        ),
        pgbench(
            "select-simple-1",
            "pgbench -S, simple protocol, 1 client",
            SelectOnly,
            Simple,
            1,
            Some(OfPgbouncer(1.15)),
        ),
        pgbench("select-extended-1", "pgbench -S, extended protocol, 1 client", SelectOnly, Extended, 1, None),
        pgbench(
            "select-prepared-1",
            "pgbench -S, prepared statements, 1 client",
            SelectOnly,
            Prepared,
            1,
            Some(OfOwn("select-simple-1", 1.0)),
        ),
        pgbench(
            "tpcb-simple-16",
            "pgbench TPC-B, simple protocol, 16 clients",
            TpcB,
            Simple,
            16,
            Some(OfPgbouncer(1.10)),
        ),
        pgbench("tpcb-prepared-16", "pgbench TPC-B, prepared statements, 16 clients", TpcB, Prepared, 16, None),
        own(
            "rotate-1000",
            "16 active of 1,000 clients in turn, one simple SELECT each",
            Unit::Transaction,
            Load::Rotate,
            true,
            PeakKib(20_000_000.0 / 1024.0),
        ),
        own("login", "connect, SCRAM login, goodbye; 4 at a time", Unit::Login, Load::Login, true, OfPgbouncer(1.30)),
        own(
            "rows-100k",
            "results of 100,000 rows of 100 bytes, 4 clients",
            Unit::Megabyte,
            Load::Rows,
            false,
            OfPgbouncer(0.75),
        ),
        own("copy-out", "COPY TO STDOUT, 1 client", Unit::Megabyte, Load::CopyOut, false, OfPgbouncer(0.75)),
        own("copy-in", "COPY FROM STDIN, 1 client", Unit::Megabyte, Load::CopyIn, false, OfPgbouncer(0.75)),
        own("idle-10000", "10,000 clients that ran one query and stay", Unit::Client, Load::Idle, false, IdleKib(6.0)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_targets_name_an_earlier_workload() {
        for (index, workload) in WORKLOADS.iter().enumerate() {
            let earlier = &WORKLOADS[..index];
            assert!(earlier.iter().all(|other| other.name != workload.name), "{} twice", workload.name);
            if let Some(Target::OfOwn(name, _)) = workload.target {
                assert!(earlier.iter().any(|other| other.name == name), "{} compares with {name}", workload.name);
            }
        }
    }
}

//! The list of workloads: what is run, what is counted, what is to be reached.

use crate::proxy::{Kind, Pooling};

/// Clients of the pgbench workloads at full load, and the size of every pool.
pub const POOL_SIZE: usize = 16;
/// Clients of the idle workload.
pub const IDLE_CLIENTS: usize = 10_000;
/// Clients of the rotating workload; sixteen of them are active at a time.
pub const ROTATING_CLIENTS: usize = 1_000;
/// Tenants that have rows.
pub const TENANTS: usize = 10_000;

/// One thing to measure.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    pub name: &'static str,
    pub about: &'static str,
    /// What CPU time is divided by.
    pub unit: Unit,
    pub load: Load,
    /// What pgwarden does besides pooling.
    pub duty: Duty,
    /// The workload that this is a variant of: both run in the same rounds, and the other proxies' numbers are its.
    pub base: Option<&'static str>,
    /// Part of the quick run.
    pub quick: bool,
    /// Also measured with two workers.
    pub two_workers: bool,
    /// Rounds of a full run.
    pub rounds: usize,
    pub targets: &'static [Target],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Transaction,
    /// 10^6 bytes on the wire.
    Megabyte,
    Login,
    /// A client connected, logged in and served one query.
    Client,
    /// A thousand rows copied.
    Rows,
}

impl Unit {
    pub fn name(self) -> &'static str {
        match self {
            Unit::Transaction => "transaction",
            Unit::Megabyte => "MB",
            Unit::Login => "login",
            Unit::Client => "client",
            Unit::Rows => "1000 rows",
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
    /// COPY FROM STDIN into a table that keeps the rows.
    CopyRows,
    /// Clients that log in, run one query and stay.
    Idle,
    /// Two clients by turns over one server connection: of one tenant, or of two.
    Turns {
        tenants: usize,
    },
    /// Clients of so many tenants, in random order, eight at a time.
    Spread {
        tenants: usize,
    },
    /// An aggregate over a table that PostgreSQL scans in parallel; a plan that is not parallel fails the run.
    Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// pgbench's own.
    SelectOnly,
    TpcB,
    /// The same statements on tables that tenants share.
    TenantSelect,
    TenantTpcB,
    /// A SELECT of about 51 bytes that nobody has sent before, not even with other literals.
    Unseen,
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

/// What pgwarden does besides pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duty {
    pub tenancy: Tenancy,
    /// The audit's durability, where there is one.
    pub audit: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenancy {
    None,
    /// A writer with a database of its own: policy judges, and nothing else is done.
    Database,
    /// Writers who share protected tables.
    Row(Context),
}

/// How the server learns whose rows a session may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Context {
    Setting,
    Sealed,
}

impl Context {
    /// Its name in the configuration; the database with its tables is called the same.
    pub fn name(self) -> &'static str {
        match self {
            Context::Setting => "setting",
            Context::Sealed => "sealed",
        }
    }
}

/// What pgwarden is to reach with one worker. Ratios and differences are medians over rounds.
#[derive(Debug, Clone, Copy)]
pub enum Target {
    /// CPU a unit, as a multiple of PgBouncer's in the same round.
    OfPgbouncer(f64),
    /// CPU a unit, as a multiple of pgwarden's own in another workload in the same round.
    OfOwn(&'static str, f64),
    /// CPU a unit, in microseconds above pgwarden's own in another workload.
    CpuAbove(&'static str, f64),
    /// The same for user time alone.
    UserAbove(&'static str, f64),
    /// The same as `CpuAbove` without the thread that writes the audit log.
    WorkerAbove(&'static str, f64),
    /// The server's CPU a unit, as a multiple of that in another workload through pgwarden.
    ServerOf(&'static str, f64),
    /// Units a second, at least this share of those in another workload through pgwarden.
    RateOf(&'static str, f64),
    /// KiB of resident memory for each idle client.
    IdleKib(f64),
    /// Peak resident memory, KiB.
    PeakKib(f64),
}

impl Target {
    /// The workload that this one is compared with.
    pub fn other(self) -> Option<&'static str> {
        match self {
            Target::OfOwn(name, _)
            | Target::CpuAbove(name, _)
            | Target::UserAbove(name, _)
            | Target::WorkerAbove(name, _)
            | Target::ServerOf(name, _)
            | Target::RateOf(name, _) => Some(name),
            Target::OfPgbouncer(_) | Target::IdleKib(_) | Target::PeakKib(_) => None,
        }
    }
}

impl Workload {
    /// Whether `kind` is measured here. Variants are pgwarden's alone, and so are tenants, but for the workload that PgBouncer
    /// runs as one of them; where there are very many clients, whoever does not pool would need as many server connections.
    pub fn takes(&self, kind: Kind) -> bool {
        match kind {
            Kind::Pgwarden => true,
            Kind::Pgbouncer => self.duty == POOLING && self.base.is_none() || self.name == AS_ONE_TENANT,
            Kind::Direct | Kind::Haproxy => {
                self.duty == POOLING && self.base.is_none() && !matches!(self.load, Load::Idle)
            }
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

    /// Server connections of pgwarden's pool.
    pub fn pool_size(&self) -> usize {
        if matches!(self.load, Load::Turns { .. }) { 1 } else { POOL_SIZE }
    }

    /// Tables are not as they were when it has run.
    pub fn changes_tables(&self) -> bool {
        let script = |script| matches!(script, Script::TpcB | Script::TenantTpcB);
        matches!(self.load, Load::Pgbench { script: it, .. } if script(it)) || matches!(self.load, Load::CopyRows)
    }

    /// It sends what [`AS_ONE_TENANT`] sends, to the same tables.
    pub fn is_as_one_tenant(&self) -> bool {
        let script = Script::TenantSelect;
        let load = matches!(self.load, Load::Pgbench { script: it, protocol: Protocol::Simple, .. } if it == script);
        load && self.duty.tenancy == Tenancy::Row(Context::Setting)
    }

    /// Workloads that run in the same rounds have the same one.
    pub fn group(&self) -> &'static str {
        self.base.unwrap_or(self.name)
    }
}

/// The workload that PgBouncer runs, too: as one tenant, whose setting its server connections begin with.
pub const AS_ONE_TENANT: &str = "setting-simple-16";

const POOLING: Duty = Duty { tenancy: Tenancy::None, audit: None };
const POLICY: Duty = Duty { tenancy: Tenancy::Database, audit: None };
const SETTING: Duty = Duty { tenancy: Tenancy::Row(Context::Setting), audit: None };
const SEALED: Duty = Duty { tenancy: Tenancy::Row(Context::Sealed), audit: None };

const fn audited(duty: Duty, durability: &'static str) -> Duty {
    Duty { tenancy: duty.tenancy, audit: Some(durability) }
}

/// Rounds of workloads whose target is a narrow ratio, and of the others.
const MANY: usize = 5;
const FEW: usize = 3;

const fn pgbench(
    name: &'static str,
    about: &'static str,
    script: Script,
    protocol: Protocol,
    clients: usize,
    targets: &'static [Target],
) -> Workload {
    let load = Load::Pgbench { script, protocol, clients };
    let rounds = if targets.is_empty() { FEW } else { MANY };
    let workload = own(name, about, Unit::Transaction, load, targets);
    Workload { rounds, ..workload }
}

const fn own(name: &'static str, about: &'static str, unit: Unit, load: Load, targets: &'static [Target]) -> Workload {
    Workload {
        name,
        about,
        unit,
        load,
        duty: POOLING,
        base: None,
        quick: false,
        two_workers: false,
        rounds: FEW,
        targets,
    }
}

impl Workload {
    const fn quick(self) -> Self {
        Self { quick: true, ..self }
    }

    const fn two_workers(self) -> Self {
        Self { two_workers: true, ..self }
    }

    const fn with(self, duty: Duty) -> Self {
        Self { duty, ..self }
    }

    /// A variant of `base` in which pgwarden does more.
    const fn of(self, base: &'static str, duty: Duty) -> Self {
        Self { base: Some(base), duty, ..self }
    }
}

/// All workloads, in the order in which they run; variants follow their base.
pub const WORKLOADS: [Workload; 35] = {
    use Protocol::{Extended, Prepared, Simple};
    use Script::{SelectOnly, TenantSelect, TenantTpcB, TpcB, Unseen};
    use Target::{CpuAbove, IdleKib, OfOwn, OfPgbouncer, PeakKib, RateOf, ServerOf, UserAbove, WorkerAbove};
    const SIMPLE: &str = "select-simple-16";
    const PREPARED: &str = "select-prepared-16";
    [
        pgbench(SIMPLE, "pgbench -S, simple protocol, 16 clients", SelectOnly, Simple, 16, &[OfPgbouncer(1.15)])
            .two_workers()
            .quick(),
        pgbench("policy-simple-16", "the same, judged by policy", SelectOnly, Simple, 16, &[OfOwn(SIMPLE, 1.05)])
            .of(SIMPLE, POLICY),
        pgbench(
            "unseen-simple-16",
            "the same with texts that nobody has sent before, judged by policy",
            Unseen,
            Simple,
            16,
            &[UserAbove("policy-simple-16", 6.0)],
        )
        .of(SIMPLE, POLICY),
        pgbench(
            AS_ONE_TENANT,
            "the same on shared tables, policy on, context by a setting",
            TenantSelect,
            Simple,
            16,
            &[OfOwn(SIMPLE, 1.05), OfPgbouncer(1.20)],
        )
        .of(SIMPLE, SETTING)
        .quick(),
        pgbench(
            "sealed-simple-16",
            "the same on shared tables, policy on, context sealed",
            TenantSelect,
            Simple,
            16,
            &[],
        )
        .of(SIMPLE, SEALED),
        pgbench("relaxed-simple-16", "the same with an audit, relaxed", SelectOnly, Simple, 16, &[])
            .of(SIMPLE, audited(POOLING, "relaxed")),
        pgbench(
            "group-simple-16",
            "the same with an audit, group",
            SelectOnly,
            Simple,
            16,
            &[WorkerAbove(SIMPLE, 1.0), CpuAbove(SIMPLE, 2.0)],
        )
        .of(SIMPLE, audited(POOLING, "group")),
        pgbench("strict-simple-16", "the same with an audit, strict", SelectOnly, Simple, 16, &[])
            .of(SIMPLE, audited(POOLING, "strict")),
        pgbench(
            "whole-simple-16",
            "the same with all of it: policy, context by a setting, audit in group",
            TenantSelect,
            Simple,
            16,
            &[OfPgbouncer(1.30)],
        )
        .of(SIMPLE, audited(SETTING, "group"))
        .quick(),
        pgbench("select-extended-16", "pgbench -S, extended protocol, 16 clients", SelectOnly, Extended, 16, &[])
            .quick(),
        pgbench(
            PREPARED,
            "pgbench -S, prepared statements, 16 clients",
            SelectOnly,
            Prepared,
            16,
            &[OfOwn(SIMPLE, 1.0)],
        )
        .two_workers()
        .quick(),
        pgbench("policy-prepared-16", "the same, judged by policy", SelectOnly, Prepared, 16, &[OfOwn(PREPARED, 1.05)])
            .of(PREPARED, POLICY),
        pgbench(
            "setting-prepared-16",
            "the same on shared tables, policy on, context by a setting",
            TenantSelect,
            Prepared,
            16,
            &[OfOwn(PREPARED, 1.05)],
        )
        .of(PREPARED, SETTING),
        pgbench(
            "sealed-prepared-16",
            "the same on shared tables, policy on, context sealed",
            TenantSelect,
            Prepared,
            16,
            &[ServerOf("setting-prepared-16", 1.30)],
        )
        .of(PREPARED, SEALED),
        pgbench(
            "select-simple-1",
            "pgbench -S, simple protocol, 1 client",
            SelectOnly,
            Simple,
            1,
            &[OfPgbouncer(1.15)],
        )
        .quick(),
        pgbench("select-extended-1", "pgbench -S, extended protocol, 1 client", SelectOnly, Extended, 1, &[]),
        pgbench(
            "select-prepared-1",
            "pgbench -S, prepared statements, 1 client",
            SelectOnly,
            Prepared,
            1,
            &[OfOwn("select-simple-1", 1.0)],
        ),
        pgbench("tpcb-simple-16", "pgbench TPC-B, simple protocol, 16 clients", TpcB, Simple, 16, &[OfPgbouncer(1.10)])
            .quick(),
        pgbench("tpcb-tenant-16", "the same on shared tables, policy on, context sealed", TenantTpcB, Simple, 16, &[])
            .of("tpcb-simple-16", SEALED),
        pgbench("tpcb-prepared-16", "pgbench TPC-B, prepared statements, 16 clients", TpcB, Prepared, 16, &[]),
        own(
            "rotate-1000",
            "16 active of 1,000 clients in turn, one simple SELECT each",
            Unit::Transaction,
            Load::Rotate,
            &[PeakKib(20_000_000.0 / 1024.0)],
        )
        .two_workers(),
        own("login", "connect, SCRAM login, goodbye; 4 at a time", Unit::Login, Load::Login, &[OfPgbouncer(1.30)])
            .two_workers(),
        own(
            "rows-100k",
            "results of 100,000 rows of 100 bytes, 4 clients",
            Unit::Megabyte,
            Load::Rows,
            &[OfPgbouncer(0.75)],
        ),
        own("copy-out", "COPY TO STDOUT, 1 client", Unit::Megabyte, Load::CopyOut, &[OfPgbouncer(0.75)]),
        own("copy-in", "COPY FROM STDIN, 1 client", Unit::Megabyte, Load::CopyIn, &[OfPgbouncer(0.75)]),
        own("copy-rows", "COPY FROM STDIN into a table, 1 client", Unit::Rows, Load::CopyRows, &[]),
        own(
            "copy-rows-tenant",
            "the same under row security",
            Unit::Rows,
            Load::CopyRows,
            &[RateOf("copy-rows", 1.0 / 3.0)],
        )
        .of("copy-rows", SEALED),
        own(
            "turns-same",
            "2 clients of one tenant by turns on one server connection, sealed",
            Unit::Transaction,
            Load::Turns { tenants: 1 },
            &[],
        )
        .with(SEALED),
        own(
            "turns-change",
            "2 clients of two tenants by turns on it, so that each turn enters",
            Unit::Transaction,
            Load::Turns { tenants: 2 },
            &[],
        )
        .of("turns-same", SEALED),
        spread("spread-10", "8 active of 80 clients of 10 tenants in random order, sealed", 10),
        spread("spread-100", "8 active of 800 clients of 100 tenants in random order, sealed", 100),
        spread("spread-10000", "8 active of 10,000 clients of 10,000 tenants in random order, sealed", TENANTS),
        own("setting-scan", "a parallel aggregate as a tenant, setting", Unit::Transaction, Load::Scan, &[])
            .with(SETTING),
        own("sealed-scan", "the same, sealed: its plan is parallel, too", Unit::Transaction, Load::Scan, &[])
            .of("setting-scan", SEALED),
        own("idle-10000", "10,000 clients that ran one query and stay", Unit::Client, Load::Idle, &[IdleKib(6.0)]),
    ]
};

const fn spread(name: &'static str, about: &'static str, tenants: usize) -> Workload {
    own(name, about, Unit::Transaction, Load::Spread { tenants }, &[]).with(SEALED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_others_that_are_named_run_in_an_earlier_place() {
        for (index, workload) in WORKLOADS.iter().enumerate() {
            let earlier = &WORKLOADS[..index];
            assert!(earlier.iter().all(|other| other.name != workload.name), "{} twice", workload.name);
            let others = workload.targets.iter().filter_map(|target| target.other()).chain(workload.base);
            for name in others {
                assert!(earlier.iter().any(|other| other.name == name), "{} compares with {name}", workload.name);
            }
        }
    }

    #[test]
    fn variants_follow_their_base_so_that_they_share_its_rounds() {
        for pair in WORKLOADS.windows(2) {
            let [before, after] = pair else { continue };
            assert!(after.base.is_none() || after.base == Some(before.group()), "{} is astray", after.name);
        }
    }
}

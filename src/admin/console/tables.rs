//! What the console can show, and the shape of each table. Columns shared with PgBouncer's console have its names and its
//! order (<https://www.pgbouncer.org/usage.html>), so that existing dashboards work; pgwarden's own columns follow them.
//!
//! The columns of a topic depend on nothing but the topic: they are described before any data is looked at.

use std::borrow::Cow;

/// A cell's type, by PostgreSQL's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Text,
    Int4,
    Int8,
    Void,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: Cow<'static, str>,
    pub kind: Kind,
}

/// A value; it fits its column's kind. [`Cell::Null`] fits all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    Null,
    Text(Cow<'static, str>),
    Int(i64),
}

pub type Row = Vec<Cell>;

impl Cell {
    /// Takes a count; what does not fit becomes the largest number.
    pub fn count(n: impl TryInto<i64>) -> Self {
        Self::Int(n.try_into().unwrap_or(i64::MAX))
    }

    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(Cow::Owned(text.into()))
    }

    pub const fn word(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    Help,
    Pools,
    Clients,
    Servers,
    Stats,
    StatsTotals,
    StatsAverages,
    Totals,
    Lists,
    Databases,
    Users,
    Tenants,
    Rules,
    Audit,
    Closes,
    Config,
    State,
    Version,
}

impl Topic {
    pub const ALL: [Self; 18] = [
        Self::Help,
        Self::Pools,
        Self::Clients,
        Self::Servers,
        Self::Stats,
        Self::StatsTotals,
        Self::StatsAverages,
        Self::Totals,
        Self::Lists,
        Self::Databases,
        Self::Users,
        Self::Tenants,
        Self::Rules,
        Self::Audit,
        Self::Closes,
        Self::Config,
        Self::State,
        Self::Version,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Help => "HELP",
            Self::Pools => "POOLS",
            Self::Clients => "CLIENTS",
            Self::Servers => "SERVERS",
            Self::Stats => "STATS",
            Self::StatsTotals => "STATS_TOTALS",
            Self::StatsAverages => "STATS_AVERAGES",
            Self::Totals => "TOTALS",
            Self::Lists => "LISTS",
            Self::Databases => "DATABASES",
            Self::Users => "USERS",
            Self::Tenants => "TENANTS",
            Self::Rules => "RULES",
            Self::Audit => "AUDIT",
            Self::Closes => "CLOSES",
            Self::Config => "CONFIG",
            Self::State => "STATE",
            Self::Version => "VERSION",
        }
    }

    /// One line for SHOW HELP.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Help => "this list",
            Self::Pools => "clients and servers of each pool, and who waits",
            Self::Clients => "each client, its server, and why a server is pinned to it",
            Self::Servers => "each connection to a PostgreSQL server",
            Self::Stats => "totals since start and averages of the last minute, by database",
            Self::StatsTotals => "totals since start, by database",
            Self::StatsAverages => "averages of the last minute, by database",
            Self::Totals => "totals and averages over all databases",
            Self::Lists => "how many there are of each thing",
            Self::Databases => "the databases that clients can ask for",
            Self::Users => "the users that can log in",
            Self::Tenants => "the tenants, what they use, and how often they reached a limit",
            Self::Rules => "the policy's rules, and how often each refused something",
            Self::Audit => "the audit log: how far it is, what waits, where it is sent",
            Self::Closes => "how many clients ended, by reason",
            Self::Config => "the configuration in force, without its secrets",
            Self::State => "running, paused, draining",
            Self::Version => "pgwarden's version",
        }
    }

    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::Help => columns(&[(Kind::Text, "command access description")]),
            Self::Pools => columns(&[
                (Kind::Text, "database user"),
                (Kind::Int4, "cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req"),
                (Kind::Int4, "sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login"),
                (Kind::Int4, "maxwait maxwait_us"),
                (Kind::Text, "pool_mode load_balance_hosts"),
                (Kind::Int4, "cl_idle pool_size"),
                (Kind::Text, "shard"),
            ]),
            Self::Clients => {
                [socket_columns(), columns(&[(Kind::Text, "pin"), (Kind::Int4, "worker"), (Kind::Text, "tenant")])]
                    .concat()
            }
            Self::Servers => [socket_columns(), columns(&[(Kind::Text, "shard"), (Kind::Int4, "worker")])].concat(),
            Self::Stats => [
                columns(&[(Kind::Text, "database")]),
                prefixed("total", TOTALS),
                prefixed("avg", AVERAGES),
                columns(&[(Kind::Int8, "total_errors total_refusals")]),
            ]
            .concat(),
            Self::StatsTotals => columns(&[(Kind::Text, "database"), (Kind::Int8, STATS_TOTALS)]),
            Self::StatsAverages => columns(&[(Kind::Text, "database"), (Kind::Int8, STATS_AVERAGES)]),
            Self::Totals => columns(&[(Kind::Text, "name"), (Kind::Int8, "value")]),
            Self::Lists => columns(&[(Kind::Text, "list"), (Kind::Int8, "items")]),
            Self::Databases => columns(&[
                (Kind::Text, "name host"),
                (Kind::Int4, "port"),
                (Kind::Text, "database force_user"),
                (Kind::Int4, "pool_size min_pool_size reserve_pool_size server_lifetime"),
                (Kind::Text, "pool_mode load_balance_hosts"),
                (Kind::Int4, "max_connections current_connections"),
                (Kind::Int4, "max_client_connections current_client_connections paused disabled"),
                (Kind::Text, "shard"),
            ]),
            Self::Users => columns(&[
                (Kind::Text, "name"),
                (Kind::Int4, "pool_size reserve_pool_size"),
                (Kind::Text, "pool_mode"),
                (Kind::Int4, "max_user_connections current_connections"),
                (Kind::Int4, "max_user_client_connections current_client_connections"),
                (Kind::Text, "server_user session_state valid_until"),
            ]),
            Self::Tenants => columns(&[
                (Kind::Text, "tenant database isolation"),
                (Kind::Int4, "enabled connections transactions waiting"),
                (Kind::Int8, "statements refused"),
                (Kind::Int8, "connections_limited rate_limited statement_time_limited transaction_time_limited"),
                (Kind::Int8, "idle_in_transaction_time_limited rows_limited bytes_limited"),
                (Kind::Text, "limits"),
            ]),
            Self::Rules => {
                columns(&[(Kind::Text, "rule sqlstate"), (Kind::Int8, "refusals"), (Kind::Text, "description")])
            }
            Self::Audit => columns(&[(Kind::Text, "key value")]),
            Self::Closes => columns(&[(Kind::Text, "reason"), (Kind::Int8, "count")]),
            Self::Config => columns(&[(Kind::Text, "key value default changeable")]),
            Self::State => columns(&[(Kind::Text, "key value")]),
            Self::Version => columns(&[(Kind::Text, "version")]),
        }
    }
}

/// SHOW STATS without its prefixes, in PgBouncer's order; `show::totals` and `show::averages` give the cells.
const TOTALS: &str = "server_assignment_count xact_count query_count received sent xact_time query_time wait_time \
                      client_parse_count server_parse_count bind_count";
const AVERAGES: &str = "server_assignment_count xact_count query_count recv sent xact_time query_time wait_time \
                        client_parse_count server_parse_count bind_count";
const STATS_TOTALS: &str = "server_assignment_count xact_count query_count bytes_received bytes_sent xact_time \
                            query_time wait_time client_parse_count server_parse_count bind_count";
const STATS_AVERAGES: &str = STATS_TOTALS;

fn socket_columns() -> Vec<Column> {
    columns(&[
        (Kind::Text, "type user database replication state addr"),
        (Kind::Int4, "port"),
        (Kind::Text, "local_addr"),
        (Kind::Int4, "local_port"),
        (Kind::Text, "connect_time request_time"),
        (Kind::Int4, "wait wait_us close_needed"),
        (Kind::Text, "ptr link"),
        (Kind::Int4, "remote_pid"),
        (Kind::Text, "tls application_name"),
        (Kind::Int4, "prepared_statements"),
        (Kind::Int8, "id"),
    ])
}

fn columns(groups: &[(Kind, &'static str)]) -> Vec<Column> {
    let column = |kind| move |name| Column { name: Cow::Borrowed(name), kind };
    groups.iter().flat_map(|(kind, names)| names.split_whitespace().map(column(*kind))).collect()
}

fn prefixed(prefix: &str, names: &'static str) -> Vec<Column> {
    names.split_whitespace().map(|name| Column { name: format!("{prefix}_{name}").into(), kind: Kind::Int8 }).collect()
}

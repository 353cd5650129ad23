//! The tour as a table: each step says what it does, what must come, and how to find out.
//!
//! A step judges only what it saw; it neither prints nor ends the tour.

mod audit;
mod operations;
mod pooling;
mod sessions;
mod tenants;
mod troubles;

use std::future::Future;
use std::pin::Pin;

use super::screen::Table;
use super::stage::{Stage, StepError};

/// What a step found.
#[derive(Debug)]
pub struct Came {
    pub verdict: Verdict,
    pub text: String,
    pub table: Option<Table>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    AsExpected,
    Different,
}

impl Came {
    /// As expected exactly when all of `conditions` hold.
    fn judged<const N: usize>(conditions: [bool; N], text: String) -> Self {
        let verdict = if conditions.into_iter().all(|holds| holds) { Verdict::AsExpected } else { Verdict::Different };
        Self { verdict, text, table: None }
    }

    fn with(self, table: Table) -> Self {
        Self { table: Some(table), ..self }
    }
}

pub type Running<'a> = Pin<Box<dyn Future<Output = Result<Came, StepError>> + 'a>>;

#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub title: &'static str,
    pub did: &'static str,
    pub expected: &'static str,
    pub run: for<'a> fn(&'a Stage) -> Running<'a>,
}

/// Steps about one subject.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    pub title: &'static str,
    pub steps: &'static [Step],
}

/// The tour, in order.
pub const TOUR: &[Chapter] = &[
    Chapter { title: "Tenants: the database billing, whose tenants share its tables", steps: TENANTS },
    Chapter { title: "Audit: what was asked, and the proof that this is all", steps: AUDIT },
    Chapter { title: "Pooling: the database sandbox, a copy without tenants", steps: POOLING },
];

const TENANTS: &[Step] = &[
    Step {
        title: "A shared database is made safe",
        did: "pgwarden doctor, then pgwarden protect --apply, then pgwarden doctor again, before the proxy was started.",
        expected: "Holes at first, because the application's role sees all rows; then none.",
        run: |stage| Box::pin(tenants::protected(stage)),
    },
    Step {
        title: "One text, each tenant's own rows",
        did: "harbor and lumen sent the same SELECT count(*) for each table, over the same backends; the server's superuser \
              counted too.",
        expected: "Each gets the count of its own tenant.",
        run: |stage| Box::pin(tenants::own_rows(stage)),
    },
    Step {
        title: "Allowed: ordinary work",
        did: "harbor inserted a customer without naming a tenant, changed and read it; lumen looked for it by its id.",
        expected: "The row is harbor's by the column's default; lumen sees and changes 0 rows.",
        run: |stage| Box::pin(tenants::allowed(stage)),
    },
    Step {
        title: "Rewritten: the tenant's predicate for the planner",
        did: "lumen counted a week of usage_events, a partitioned table that the configuration lists in rewrite_tables; the \
              superuser looked at the text that the server had got.",
        expected: "The server got a text with the tenant's key in it; the count is lumen's own, as without the rewriting.",
        run: |stage| Box::pin(tenants::rewritten(stage)),
    },
    Step {
        title: "Refused: what would reach beyond the tenant",
        did: "harbor tried to change its context, to read a file, to write another tenant's rows, to run code.",
        expected: "Each is refused with 42501, and says why and what to do instead; the session works on.",
        run: |stage| Box::pin(tenants::refused(stage)),
    },
    Step {
        title: "The database's wall alone",
        did: "The role that tenants share logged in to the server itself, around the proxy, and asked for invoices.",
        expected: "Not one row: without a token from the proxy it is nobody, and it cannot make one.",
        run: |stage| Box::pin(tenants::wall_alone(stage)),
    },
    Step {
        title: "An operator names a tenant",
        did: "support logged in as support@harbor and as support@lumen, tried to write, and logged in without a tenant.",
        expected: "Reads as the tenant that it names; writing is refused (42501), and so is a login without a tenant (28000).",
        run: |stage| Box::pin(tenants::operator(stage)),
    },
    Step {
        title: "A tenant is switched off",
        did: "enabled = false for lumen in the file, and RELOAD; then back again.",
        expected: "lumen's session ends (57P01) and its logins are refused (28000); harbor notices nothing. Then lumen is back.",
        run: |stage| Box::pin(tenants::switched_off(stage)),
    },
];

const AUDIT: &[Step] = &[
    Step {
        title: "On record: allowed, rewritten, refused",
        did: "harbor and lumen sent a statement of each kind; then the log's file was read.",
        expected: "A record of each before it was run, with who, what and the verdict; what came of it in another.",
        run: |stage| Box::pin(audit::on_record(stage)),
    },
    Step {
        title: "The log proves that it is whole",
        did: "pgwarden audit verify of the log, with its public key; pgwarden audit prove of the record above; then verify of \
              copies in which that record was edited.",
        expected: "The log is intact and the record proven; each edit is tampering, and found at its place.",
        run: |stage| Box::pin(audit::proven(stage)),
    },
];

const POOLING: &[Step] = &[
    Step {
        title: "Two users log in",
        did: "Logged in as north and as south, then with a wrong password, then as a user that does not exist.",
        expected: "Both reach the server under the one role sandbox_app. The two failures are the same: 28P01, one text.",
        run: |stage| Box::pin(pooling::log_in(stage)),
    },
    Step {
        title: "Twenty clients, four backends",
        did: "10 clients of each user at once, 25 transactions each: every second one of a single statement, the others BEGIN, \
              INSERT, SELECT, COMMIT.",
        expected: "500 answers, no transaction split over backends, every row there, and never more than 4 backends.",
        run: |stage| Box::pin(pooling::twenty_clients(stage)),
    },
    Step {
        title: "The console",
        did: "With 20 clients connected and idle: SHOW POOLS, on the database pgwarden.",
        expected: "One pool for both users, at most 4 servers, nobody waiting.",
        run: |stage| Box::pin(pooling::show_pools(stage)),
    },
    Step {
        title: "Waiting for a backend",
        did: "Opened a transaction on each of the 4 backends, sent a fifth client's query, then committed one transaction.",
        expected: "The fifth waits (the console counts it) and is answered once a backend is free.",
        run: |stage| Box::pin(pooling::fifth_waits(stage)),
    },
    Step {
        title: "Settings follow the session",
        did: "north SET TimeZone to Asia/Tokyo, south to America/New_York; 40 transactions each while others kept the pool busy.",
        expected: "Each sees its own time zone every time, on more than one backend.",
        run: |stage| Box::pin(sessions::settings_follow(stage)),
    },
    Step {
        title: "Settings go back with ROLLBACK",
        did: "SET statement_timeout in a transaction that is rolled back; in a savepoint that is rolled back; by SET LOCAL.",
        expected: "The value before each: 0, then 4s, then 4s again, whichever backend answers.",
        run: |stage| Box::pin(sessions::settings_revert(stage)),
    },
    Step {
        title: "One user's settings are not another's",
        did: "4 sessions of north SET work_mem and search_path; 4 sessions of south asked for theirs, on the same backends.",
        expected: "north always sees 77MB and its schema; south always sees the server's own values.",
        run: |stage| Box::pin(sessions::settings_stay_apart(stage)),
    },
    Step {
        title: "Prepared statements in transaction mode",
        did: "Each user prepared a statement once and executed it 40 times while others kept the pool busy.",
        expected: "40 right answers each, from more than one backend: the proxy prepares a statement where it is missing.",
        run: |stage| Box::pin(sessions::prepared_statements(stage)),
    },
    Step {
        title: "What cannot follow stays with its backend",
        did: "north LISTENs on a channel, south NOTIFYs it.",
        expected: "The notification arrives, and SHOW CLIENTS says why north keeps a backend; after UNLISTEN it keeps none.",
        run: |stage| Box::pin(sessions::listen_pins(stage)),
    },
    Step {
        title: "COPY, both ways",
        did: "COPY a day of usage_events out; COPY 1,000 rows in, in a transaction that is rolled back.",
        expected: "As many lines as the table has rows; 1,000 rows inside the transaction, none after it.",
        run: |stage| Box::pin(sessions::copy(stage)),
    },
    Step {
        title: "Errors are PostgreSQL's own",
        did: "Divided by zero in a transaction and went on in it; wrote where it may only read; broke a unique key.",
        expected: "22012, 25P02, 42501, 23505; in between and after, the session works.",
        run: |stage| Box::pin(troubles::errors(stage)),
    },
    Step {
        title: "Cancel",
        did: "Two clients run pg_sleep; the one that would sleep for 30 s is cancelled after 0.2 s.",
        expected: "It gets 57014 at once and can go on; the other client's query runs to its end.",
        run: |stage| Box::pin(troubles::cancel(stage)),
    },
    Step {
        title: "A backend that died is not handed out",
        did: "The server's administrator ended all backends while their clients were between transactions.",
        expected: "The clients notice nothing: their next queries run on new backends, with their settings.",
        run: |stage| Box::pin(troubles::backends_die(stage)),
    },
    Step {
        title: "A configuration applies whole or not at all",
        did: "RELOAD with a mistyped key in the file; then RELOAD with a new user in it instead.",
        expected: "The first is refused, with the key's name, and everyone goes on; after the second the new user logs in.",
        run: |stage| Box::pin(operations::reload(stage)),
    },
];

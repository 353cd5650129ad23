//! A plan as one transaction of SQL: what is printed is what is run, but for secrets.

use std::fmt::Write as _;

use super::{Plan, Statement, Undo};
use crate::guard::quote::{comment, literal};
use crate::guard::seal::OWNER;

/// Whether keys and verifiers are in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    Show,
    Hide,
}

/// What holds for the transaction, whatever the session has set.
pub(super) const PREAMBLE: &str = "BEGIN;\nSET LOCAL search_path = pg_catalog;\nSET LOCAL standard_conforming_strings = on;\n\
                                   SET LOCAL lock_timeout = '10s';\n";

/// The plan as SQL; empty where there is nothing to do.
pub fn script(plan: &Plan, secrets: Secrets) -> String {
    if plan.changes.is_empty() {
        return String::new();
    }
    let mut out = PREAMBLE.to_owned();
    let mut as_owner = false;
    for (number, change) in plan.changes.iter().enumerate() {
        if let Some(join) = plan.join.as_ref().filter(|join| join.before == number) {
            let _ = writeln!(out, "\n-- Whoever runs this acts as the owner for the moment.\n{};", join.grant);
        }
        become_owner(&mut out, &mut as_owner, change.as_owner);
        let _ = writeln!(out, "\n-- {}", comment(&change.what));
        for statement in &change.sql {
            match (statement, secrets) {
                (Statement::Plain(sql), _) | (Statement::Secret { sql, .. }, Secrets::Show) => {
                    let _ = writeln!(out, "{sql};");
                }
                (Statement::Secret { shown, .. }, Secrets::Hide) => {
                    let _ = writeln!(out, "{shown}");
                }
            }
        }
    }
    // Read from the last to the first: of one step, what is to run first comes last.
    let back: Vec<&Undo> = plan.changes.iter().flat_map(|change| change.undo.iter().rev()).collect();
    if !back.is_empty() {
        become_owner(&mut out, &mut as_owner, true);
        let value = |undo: &&Undo| {
            let relation = undo.relation.as_deref().map_or("NULL".to_owned(), literal);
            format!("  ({relation}, {})", literal(&undo.sql))
        };
        let values: Vec<String> = back.iter().map(value).collect();
        let _ = writeln!(
            out,
            "\n-- The way back, for protect --undo\nINSERT INTO pgwarden.journal (relation, undo) VALUES\n{};",
            values.join(",\n")
        );
    }
    become_owner(&mut out, &mut as_owner, false);
    if let Some(join) = &plan.join {
        let _ = writeln!(out, "\n{};", join.revoke);
    }
    out.push_str("COMMIT;\n");
    out
}

fn become_owner(out: &mut String, is_owner: &mut bool, wanted: bool) {
    if *is_owner != wanted {
        let _ = if wanted { writeln!(out, "\nSET LOCAL ROLE {OWNER};") } else { writeln!(out, "\nRESET ROLE;") };
        *is_owner = wanted;
    }
}

//! The known attacks as data: `corpus.jsonl`, a row a line.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    pub id: String,
    pub group: String,
    /// What it was found against: a and b are shared tables, c is a schema for each tenant.
    pub mode: String,
    /// Texts of one session; `\c` is a new connection.
    #[serde(default)]
    pub steps: Vec<String>,
    /// Texts of a session, and of another tenant's that follows on the same server connection. `{a}` is the first one's
    /// tenant.
    #[serde(default)]
    pub first: Vec<String>,
    #[serde(default)]
    pub then: Vec<String>,
    /// A text as bytes, under a client encoding.
    #[serde(default)]
    pub hex: String,
    #[serde(default)]
    pub encoding: String,
    /// A conversation of its own, by its name in `wire`.
    #[serde(default)]
    pub wire: String,
    /// Why it is not run.
    #[serde(default)]
    pub not_run: String,
}

impl Row {
    pub fn all() -> Vec<Self> {
        let lines = include_str!("corpus.jsonl").lines();
        lines.map(|line| serde_json::from_str(line).expect("a row")).collect()
    }

    pub fn is_of_schemas(&self) -> bool {
        self.mode.contains('c')
    }
}

/// The texts of a script; `@repeat X N` is X, N times, around a 1.
pub fn spoken(steps: &[String]) -> Vec<String> {
    let speak = |step: &String| match step.strip_prefix("@repeat ").and_then(|rest| rest.split_once(' ')) {
        Some((what, count)) => {
            let count = count.parse().expect("a count");
            format!("SELECT {}1{}", what.repeat(count), ")".repeat(count))
        }
        None => step.clone(),
    };
    steps.iter().map(speak).collect()
}

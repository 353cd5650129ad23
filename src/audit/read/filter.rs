//! Which records are wanted.

use std::collections::BTreeSet;

use memchr::memmem::Finder;
use serde_json::Value;

use crate::chain::Time;
use crate::record::quoted;

/// What a record has to be. A list that is empty asks for nothing; of others one has to fit, of each list.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// From this moment on, and before that one.
    pub since: Option<Time>,
    pub until: Option<Time>,
    pub tenants: Vec<String>,
    pub users: Vec<String>,
    pub kinds: Vec<String>,
    pub verdicts: Vec<String>,
    pub sqlstates: Vec<String>,
    /// Read, written or named; a name without a schema is of any.
    pub relations: Vec<String>,
    pub sessions: Vec<u64>,
}

/// A filter at work. The outcome of a statement that was chosen is chosen too, where it is a record of its own.
pub struct Selection<'f> {
    filter: &'f Filter,
    /// Fields and what they may be: a record without any of these bytes is not read.
    fields: Vec<(&'static str, &'f [String], Vec<Finder<'static>>)>,
    /// Statements that were chosen and have not ended.
    open: BTreeSet<u64>,
}

/// Statements under way, at most; more than any proxy has.
const OPEN_MAX: usize = 1 << 20;

impl Filter {
    pub fn selection(&self) -> Selection<'_> {
        let fields = [
            ("tenant", &self.tenants),
            ("user", &self.users),
            ("kind", &self.kinds),
            ("verdict", &self.verdicts),
            ("sqlstate", &self.sqlstates),
        ];
        let fields = fields.into_iter().filter(|(_, wanted)| !wanted.is_empty()).map(|(name, wanted)| {
            let bytes = |value: &String| format!("\"{name}\":{}", quoted(value)).into_bytes();
            let finders = wanted.iter().map(|value| Finder::new(&bytes(value)).into_owned()).collect();
            (name, wanted.as_slice(), finders)
        });
        Selection { filter: self, fields: fields.collect(), open: BTreeSet::new() }
    }

    fn takes_kind(&self, kind: &str) -> bool {
        self.kinds.is_empty() || self.kinds.iter().any(|wanted| wanted == kind)
    }
}

impl Selection<'_> {
    /// The record, if it is wanted.
    ///
    /// # Errors
    /// The line is no JSON object.
    pub fn take(&mut self, line: &[u8]) -> Result<Option<Value>, serde_json::Error> {
        let may_fit = self.fields.iter().all(|(_, _, finders)| finders.iter().any(|it| it.find(line).is_some()));
        let may_follow = !self.open.is_empty() && memchr::memmem::find(line, b"\"of\":").is_some();
        if !may_fit && !may_follow {
            return Ok(None);
        }
        let record: serde_json::Map<String, Value> = serde_json::from_slice(line)?;
        let record = Value::Object(record);
        let follows = record["of"].as_u64().is_some_and(|of| self.open.remove(&of));
        let chosen = self.is_in_time(&record) && (self.fits(&record) || follows && self.filter.takes_kind("outcome"));
        if chosen
            && record["kind"] == "statement"
            && record["outcome"].is_null()
            && self.open.len() < OPEN_MAX
            && let Some(seq) = record["seq"].as_u64()
        {
            self.open.insert(seq);
        }
        Ok(chosen.then_some(record))
    }

    fn is_in_time(&self, record: &Value) -> bool {
        let Filter { since, until, .. } = self.filter;
        if since.is_none() && until.is_none() {
            return true;
        }
        let time: Option<Time> = record["time"].as_str().and_then(|time| time.parse().ok());
        time.is_some_and(|time| since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until))
    }

    fn fits(&self, record: &Value) -> bool {
        let is = |name: &str, wanted: &[String]| {
            record[name].as_str().is_some_and(|it| wanted.iter().any(|want| want == it))
        };
        let Filter { relations, sessions, .. } = self.filter;
        self.fields.iter().all(|(name, wanted, _)| is(name, wanted))
            && (sessions.is_empty() || record["session"].as_u64().is_some_and(|it| sessions.contains(&it)))
            && (relations.is_empty() || names(record).any(|name| relations.iter().any(|it| is_relation(name, it))))
    }
}

fn names(record: &Value) -> impl Iterator<Item = &str> {
    let lists = ["reads", "writes", "names"].into_iter().filter_map(|list| record[list].as_array());
    lists.flatten().filter_map(Value::as_str)
}

fn is_relation(name: &str, wanted: &str) -> bool {
    name == wanted || name.strip_suffix(wanted).is_some_and(|schema| schema.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: [&str; 7] = [
        r#"{"seq":0,"time":"2026-01-01T00:00:00.000000Z","kind":"start"}"#,
        r#"{"seq":1,"kind":"statement","time":"2026-01-01T00:00:01.000000Z","session":1,"tenant":"a","user":"x","verdict":"allow","reads":["public.t"]}"#,
        r#"{"seq":2,"kind":"statement","time":"2026-01-01T00:00:01.000001Z","session":2,"tenant":"b","user":"x","verdict":"rewrite","writes":["t2"],"text":"\"tenant\":\"a\""}"#,
        r#"{"seq":3,"kind":"outcome","time":"2026-01-01T00:00:02.000000Z","session":2,"tenant":"b","user":"x","of":2,"sqlstate":"23505"}"#,
        r#"{"seq":4,"kind":"outcome","time":"2026-01-01T00:00:03.000000Z","session":1,"tenant":"a","user":"x","of":1}"#,
        r#"{"seq":5,"kind":"refused","time":"2026-01-01T00:00:03.000000Z","session":1,"tenant":"a","user":"x","verdict":"refuse","sqlstate":"42501"}"#,
        r#"{"seq":6,"kind":"disconnect","time":"2026-01-01T00:00:04.000000Z","session":2,"tenant":"b","user":"quote\"d"}"#,
    ];

    fn check(filter: &Filter, expected: &[u64]) {
        let mut selection = filter.selection();
        let chosen = LOG.iter().filter_map(|line| selection.take(line.as_bytes()).expect("JSON"));
        let seqs: Vec<u64> = chosen.map(|record| record["seq"].as_u64().expect("a number")).collect();
        assert_eq!(seqs, expected, "{filter:?}");
    }

    #[test]
    fn records_are_chosen_by_what_they_are() {
        let texts = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        let none = Filter::default;
        check(&none(), &[0, 1, 2, 3, 4, 5, 6]);
        check(&Filter { tenants: texts(&["a"]), ..none() }, &[1, 4, 5]);
        check(&Filter { users: texts(&["quote\"d"]), ..none() }, &[6]);
        check(&Filter { kinds: texts(&["start", "refused"]), ..none() }, &[0, 5]);
        check(&Filter { verdicts: texts(&["rewrite"]), ..none() }, &[2, 3]);
        check(&Filter { verdicts: texts(&["rewrite"]), kinds: texts(&["statement"]), ..none() }, &[2]);
        check(&Filter { sqlstates: texts(&["23505", "42501"]), ..none() }, &[3, 5]);
        check(&Filter { relations: texts(&["t"]), ..none() }, &[1, 4]);
        check(&Filter { relations: texts(&["public.t", "t2"]), ..none() }, &[1, 2, 3, 4]);
        check(&Filter { sessions: vec![2], tenants: texts(&["a", "b"]), ..none() }, &[2, 3, 6]);
        let time = |text: &str| text.parse().ok();
        check(&Filter { since: time("2026-01-01T00:00:03.000000Z"), ..none() }, &[4, 5, 6]);
        check(&Filter { until: time("2026-01-01T00:00:01.000001Z"), ..none() }, &[0, 1]);
        assert!(none().selection().take(b"[1]").is_err());
    }

    /// However many there are: it has its outcome, and no other is waited for.
    #[test]
    fn a_statement_that_has_ended_is_not_remembered() {
        let filter = Filter { sqlstates: vec!["23505".to_owned()], ..Filter::default() };
        let mut selection = filter.selection();
        let line = br#"{"seq":1,"kind":"statement","outcome":"failed","sqlstate":"23505"}"#;
        assert!(selection.take(line).expect("JSON").is_some() && selection.open.is_empty());
        let mut selection = filter.selection();
        assert!(selection.take(LOG[2].as_bytes()).expect("JSON").is_none());
        assert!(selection.take(LOG[3].as_bytes()).expect("JSON").is_some());
    }
}

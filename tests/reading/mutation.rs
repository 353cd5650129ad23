//! Texts of the grammar with some of their tokens deleted, doubled, exchanged or replaced.

use super::generator::{Generator, Grammar, Random};

pub fn mutate(grammar: &Grammar, seed: u64) -> String {
    let mut random = Random::new(seed ^ 0x5bd1_e995);
    let text = Generator::new(grammar, seed).text().text;
    let mut tokens = tokens(&text);
    let other = match random.below(3) {
        0 => Generator::new(grammar, seed.wrapping_add(0xabcd_ef01)).text().text,
        _ => text.clone(),
    };
    let others = self::tokens(&other);
    for _ in 0..1 + random.below(2) {
        let (at, with) = (random.below(tokens.len()), random.below(others.len()));
        let last = tokens.len() - 1;
        match random.below(10) {
            0 => drop(tokens.remove(at)),
            1 => tokens.insert(at, tokens[at]),
            2 => tokens.swap(at, (at + 1).min(last)),
            3 => tokens[at] = others[with],
            4 => tokens.insert(at, others[with]),
            5 => tokens[at] = random.pick(&WORDS),
            6 | 7 => tokens.insert(at, random.pick(&WORDS)),
            // A stretch of another text, in the place of one of its own.
            8 => drop(tokens.splice(at..(at + random.below(6)).min(last), others[with..].iter().take(6).copied())),
            _ => {
                tokens.truncate(at + 1);
                tokens.extend(&others[with..]);
            }
        }
        if tokens.is_empty() {
            break;
        }
    }
    tokens.concat()
}

/// Words, quoted stretches, spaces and single characters; together they are the text.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' | '"' => rest[1..].find(first).map_or(rest.len(), |at| at + 2),
            _ if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            _ => first.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What changes how the rest is read.
const WORDS: [&str; 64] = [
    ";",
    "--",
    "/*",
    "*/",
    "'",
    "\"",
    "$$",
    "$q$",
    "$1",
    "E'",
    "U&\"",
    "U&'",
    "::",
    "(",
    ")",
    ",",
    ".",
    "*",
    "[",
    "]",
    "\n",
    "\t",
    "\u{a0}",
    " AS ",
    " ONLY ",
    " TABLE ",
    " TABLE r1 ",
    " UNION ",
    " end ",
    " like ",
    " and ",
    " from ",
    " FROM s.r5 ",
    " end; ",
    " in ",
    " with ",
    " into ",
    " by ",
    " isnull ",
    " collate ",
    " f1(1) ",
    " (s.f3) ",
    " set ",
    " returning ",
    " over ",
    " filter ",
    ":=",
    "=>",
    "&>",
    "->",
    "1",
    "1.",
    ".5e1",
    "0x1f",
    "1_0",
    "b'1'",
    "x'f'",
    " only (",
    " lateral ",
    " recursive ",
    " not ",
    " operator ",
    " values ",
    "pg_catalog.",
];

//! Names and values as SQL, quoted. For `standard_conforming_strings = on`.

/// An identifier, always in quotes.
pub fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A relation by schema and name.
pub fn relation(schema: &str, name: &str) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// A text value.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An array of texts.
pub fn array<T: AsRef<str>>(texts: &[T]) -> String {
    let items: Vec<String> = texts.iter().map(|text| literal(text.as_ref())).collect();
    format!("ARRAY[{}]::pg_catalog.text[]", items.join(", "))
}

/// A role of GRANT and REVOKE; the empty name is PUBLIC.
pub fn grantee(role: &str) -> String {
    if role.is_empty() { "PUBLIC".to_owned() } else { ident(role) }
}

/// A text for a comment line: no line ends.
pub fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_doubled() {
        assert_eq!(relation("a\"b", "c"), "\"a\"\"b\".\"c\"");
        assert_eq!(literal("o'b\\"), "'o''b\\'");
        assert_eq!(array(&["a", "b'"]), "ARRAY['a', 'b''']::pg_catalog.text[]");
        assert_eq!(comment("a\nDROP TABLE t;"), "a DROP TABLE t;");
    }
}
